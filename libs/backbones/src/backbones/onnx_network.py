"""EfficientNet-Lite0 by ONNX Runtime: on CPUs."""

import os
from typing import Final

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as onnx_errors

from backbones import onnx_graph
from backbones.errors import BackboneError
from backbones.weights import Numbers, Weights

_OUT_OF_MEMORY: Final = ("bad_alloc", "bad allocation", "failed to allocate", "not enough memory")

_ERRORS: Final = (onnx_errors.Fail, onnx_errors.RuntimeException, onnx_errors.EPFail)


class OnnxNetwork:
    """Pictures as numbers in, features and logits out. Raises MemoryError and BackboneError.

    Half as fast again as torch on the same CPU, and torch need not be imported; the same
    probabilities within 1e-6.
    """

    device: Final = "cpu"

    def __init__(self, weights: Weights, threads: int) -> None:
        """`threads`: 0 for OMP_NUM_THREADS, else all cores."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or _threads_of_openmp()
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Waiting threads would else turn in circles and take the other processes' time.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            onnx_graph.model(weights), options, providers=["CPUExecutionProvider"]
        )

    def __call__(self, batch: Numbers) -> tuple[Numbers, Numbers]:
        """(n, 3, 224, 224) → (n, 1280), (n, 1000)."""
        try:
            features, logits = self._session.run(
                list(onnx_graph.OUTPUTS), {onnx_graph.INPUT: batch}
            )
        except _ERRORS as error:
            if any(sign in str(error).lower() for sign in _OUT_OF_MEMORY):
                raise MemoryError(str(error)) from error
            raise BackboneError(str(error)) from error
        return features, logits


def _threads_of_openmp() -> int:
    """What OMP_NUM_THREADS says of the outermost loop; 0 where it says nothing."""
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(first) if first.isdecimal() else 0
