"""Tiny checkpoints of object detection, see tiny_checkpoints."""

from pathlib import Path
from typing import Any

import torch

from tiny_checkpoints import save, towers


def detr(folder: Path) -> Path:
    """DETR on a ResNet of transformers' own."""
    from transformers import DetrConfig, DetrForObjectDetection, DetrImageProcessor

    torch.manual_seed(3)
    config = DetrConfig(**_detr(), **_things())
    save(_surer(DetrForObjectDetection(config)), folder)
    DetrImageProcessor(size={"shortest_edge": 64, "longest_edge": 96}).save_pretrained(folder)
    return folder


def conditional_detr(folder: Path) -> Path:
    """Conditional DETR."""
    from transformers import (
        ConditionalDetrConfig,
        ConditionalDetrForObjectDetection,
        ConditionalDetrImageProcessor,
    )

    torch.manual_seed(8)
    config = ConditionalDetrConfig(**_detr(), **_things())
    save(_surer(ConditionalDetrForObjectDetection(config)), folder)
    processor = ConditionalDetrImageProcessor(size={"shortest_edge": 64, "longest_edge": 96})
    processor.save_pretrained(folder)
    return folder


def yolos(folder: Path) -> Path:
    """YOLOS, a transformer without a ResNet before it."""
    from transformers import YolosConfig, YolosForObjectDetection, YolosImageProcessor

    torch.manual_seed(9)
    _, vision = towers(0)
    own = {"image_size": [64, 96], "num_detection_tokens": 12}
    config = YolosConfig(**vision | own, **_things())
    save(_surer(YolosForObjectDetection(config)), folder)
    YolosImageProcessor(size={"shortest_edge": 64, "longest_edge": 96}).save_pretrained(folder)
    return folder


def rt_detr_v2(folder: Path) -> Path:
    """RT-DETRv2."""
    from transformers import RTDetrV2Config, RTDetrV2ForObjectDetection

    torch.manual_seed(10)
    config = RTDetrV2Config(backbone_config=_rt_resnet(), **_real_time(), **_things())
    return _with_squares(RTDetrV2ForObjectDetection(config), folder)


def rt_detr(folder: Path) -> Path:
    """RT-DETR."""
    from transformers import RTDetrConfig, RTDetrForObjectDetection

    torch.manual_seed(4)
    config = RTDetrConfig(backbone_config=_rt_resnet(), **_real_time(), **_things())
    return _with_squares(RTDetrForObjectDetection(config), folder)


def d_fine(folder: Path) -> Path:
    """D-FINE."""
    from transformers import DFineConfig, DFineForObjectDetection

    torch.manual_seed(5)
    config = DFineConfig(backbone_config=_rt_resnet(), **_real_time(), **_things())
    return _with_squares(DFineForObjectDetection(config), folder)


def _surer(model: Any) -> Any:
    """Detectors begin with scores near zero or equal ones."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                parameter.normal_(0.0, 0.2)
            elif "class" in name or "score" in name:
                parameter.normal_(0.0, 1.0)
    return model


def _layers(*told: str) -> dict[str, Any]:
    """Of a ResNet: the stages that are `told` to what stands behind it."""
    return {
        "embedding_size": 8,
        "hidden_sizes": [8, 8, 16, 16],
        "depths": [1, 1, 1, 1],
        "layer_type": "basic",
        "out_features": list(told),
    }


def _resnet() -> Any:
    from transformers import ResNetConfig

    return ResNetConfig(**_layers("stage4"))


def _rt_resnet() -> Any:
    from transformers import RTDetrResNetConfig

    return RTDetrResNetConfig(**_layers("stage2", "stage3", "stage4"))


def _detr() -> dict[str, Any]:
    return {
        "use_timm_backbone": False,
        "backbone": None,
        "use_pretrained_backbone": False,
        "backbone_config": _resnet(),
        "num_queries": 12,
        "d_model": 16,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "encoder_ffn_dim": 16,
        "decoder_ffn_dim": 16,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
    }


def _real_time() -> dict[str, Any]:
    return {
        "encoder_hidden_dim": 16,
        "encoder_in_channels": [8, 16, 16],
        "encoder_ffn_dim": 16,
        "encoder_attention_heads": 2,
        "d_model": 16,
        "num_queries": 12,
        "decoder_in_channels": [16, 16, 16],
        "decoder_ffn_dim": 16,
        "decoder_layers": 2,
        "decoder_attention_heads": 2,
        "hidden_expansion": 0.5,
        "num_denoising": 0,
        "anchor_image_size": None,
    }


def _things() -> dict[str, Any]:
    names = ("cat", "dog", "car", "tree")
    return {"id2label": dict(enumerate(names)), "label2id": {it: at for at, it in enumerate(names)}}


def _with_squares(model: Any, folder: Path) -> Path:
    from transformers import RTDetrImageProcessor

    save(_surer(model), folder)
    RTDetrImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder
