"""What `auto` means to a service that can use SigLIP: decided by what is on this machine.

Never asks a model hub, so that nobody waits, and the same machine decides the same with and without
a network.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final, TypeVar

from backbones import cuda
from backbones.checkpoints import Checkpoint, CheckpointError, Policy, find

DEFAULT_SIGLIP: Final = "google/siglip2-base-patch16-224@main"
"""Taken on CUDA, where it has been fetched to this machine before."""

T = TypeVar("T")


def siglip(
    setting: str, device: str, policy: Policy, load: Callable[[Checkpoint], T]
) -> tuple[T | None, str]:
    """What `load` makes of SigLIP's weights, and why these; or None, and why not.

    The checkpoint that `setting` names is taken if it loads. Without one, the default is taken if
    it lies in the hub's cache and there is CUDA: a CPU needs 35 times as long for it as for
    EfficientNet-Lite0 (0.42 and 0.012 s of one core, measured).
    """
    if not setting and not cuda.meant(device):
        return None, "there is no CUDA, and no checkpoint is named"
    here = replace(policy, download=False, allow_names=policy.allow_names or not setting)
    reference = setting or DEFAULT_SIGLIP
    try:
        made = load(find(reference, here))
    except CheckpointError as error:
        return None, f"{reference} can't be had offline: {error}"
    reason = "the setting names it" if setting else "there is CUDA, and it lies in the hub's cache"
    return made, f"{reference} loads: {reason}"
