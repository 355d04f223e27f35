"""EfficientNet-Lite0 as a model of ONNX, made in memory when it is loaded.

The numbers of fields are those of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto; written
here, because the package that writes them brings a compiler's worth of code for nine messages.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from backbones.architecture import SIDE, Block, Convolution, blocks
from backbones.protobuf import Value, message
from backbones.weights import Layer, Numbers, Weights

INPUT: Final = "pixels"
OUTPUTS: Final = ("features", "logits")

_IR_VERSION: Final = 8
_OPERATORS: Final = 17
"""Version of the set of operators; Clip, Conv and Gemm have not changed their meaning since 13."""

_FLOAT: Final = 1
_KIND_INT: Final = 2
_KIND_INTS: Final = 7


class _Graph:
    """Nodes and constants, as they are added."""

    def __init__(self) -> None:
        self.nodes: list[bytes] = []
        self.constants = [_tensor("zero", np.float32(0)), _tensor("six", np.float32(6))]

    def add(
        self, operator: str, inputs: Sequence[str], output: str, **attributes: int | Sequence[int]
    ) -> str:
        """One more node; gives `output` back."""
        fields: list[tuple[int, Value]] = [(1, name) for name in inputs]
        fields += [(2, output), (3, output), (4, operator)]
        fields += [(5, _attribute(name, value)) for name, value in attributes.items()]
        self.nodes.append(message(*fields))
        return output

    def layer(self, name: str, layer: Layer) -> tuple[str, str]:
        """The constants of a layer; their names."""
        names = f"{name}.weight", f"{name}.bias"
        values = layer.weight, layer.bias
        self.constants += [_tensor(*each) for each in zip(names, values, strict=True)]
        return names


def model(weights: Weights) -> bytes:
    """The model: INPUT (n, 3, 224, 224) → OUTPUTS (n, 1280) and (n, 1000), all float32."""
    graph = _Graph()
    layers = iter(weights.convolutions)
    last = INPUT
    for number, block in enumerate(blocks()):
        last = _block(graph, block, layers, last, f"block{number}")
    pooled = graph.add("GlobalAveragePool", [last], "pooled")
    features = graph.add("Flatten", [pooled], OUTPUTS[0], axis=1)
    classifier = graph.layer("classifier", weights.classifier)
    graph.add("Gemm", [features, *classifier], OUTPUTS[1], transB=1)
    fields: list[tuple[int, Value]] = [(1, node) for node in graph.nodes]
    fields += [(2, "efficientnet-lite0"), *((5, constant) for constant in graph.constants)]
    fields += [(11, _value(INPUT, (3, SIDE, SIDE)))]
    widths = (len(weights.classifier.weight[0]), len(weights.classifier.bias))
    fields += [(12, _value(name, (width,))) for name, width in zip(OUTPUTS, widths, strict=True)]
    operators = message((1, ""), (2, _OPERATORS))
    return message((1, _IR_VERSION), (2, "darkroom"), (7, message(*fields)), (8, operators))


def _block(graph: _Graph, block: Block, layers: Iterator[Layer], source: str, name: str) -> str:
    last = source
    for number, convolution in enumerate(block.convolutions):
        last = _convolution(graph, convolution, next(layers), last, f"{name}.{number}")
    return graph.add("Add", [source, last], f"{name}.sum") if block.residual else last


def _convolution(
    graph: _Graph, convolution: Convolution, layer: Layer, source: str, name: str
) -> str:
    before, behind = convolution.padding
    last = graph.add(
        "Conv",
        [source, *graph.layer(name, layer)],
        name,
        kernel_shape=[convolution.kernel] * 2,
        strides=[convolution.stride] * 2,
        pads=[before, before, behind, behind],
        group=convolution.groups,
    )
    if not convolution.active:
        return last
    return graph.add("Clip", [last, "zero", "six"], f"{name}.active")


def _tensor(name: str, values: Numbers | np.float32) -> bytes:
    numbers = np.asarray(values, dtype="<f4")
    sides = [(1, side) for side in numbers.shape]
    return message(*sides, (2, _FLOAT), (8, name), (9, numbers.tobytes()))


def _attribute(name: str, value: int | Sequence[int]) -> bytes:
    if isinstance(value, int):
        return message((1, name), (3, value), (20, _KIND_INT))
    return message((1, name), *((8, each) for each in value), (20, _KIND_INTS))


def _value(name: str, shape: Sequence[int]) -> bytes:
    """An input or output: any number of rows of that shape."""
    sides = [message((2, "n")), *(message((1, side)) for side in shape)]
    dimensions = message(*((1, side) for side in sides))
    return message((1, name), (2, message((1, message((1, _FLOAT), (2, dimensions))))))
