"""The device that computes."""

from __future__ import annotations

import os

import torch

from glta_cli.core.errors import GltaError

# What accelerate takes a device from, whatever there is.
NAMED_ELSEWHERE = "ACCELERATE_TORCH_DEVICE"


def pick_device(name: str | None) -> torch.device:
    """The device of that name; without a name (or with `auto`) the one accelerate finds.

    Raises:
        GltaError: the machine has no such device.
    """
    if name in (None, "auto"):
        return _found()
    try:
        device = torch.device(str(name))
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise GltaError(f"cannot be used: {reason}", location=f"--device {name}", hint="try --device cpu") from error
    return device


def _found() -> torch.device:
    """What accelerate finds; that there is but the CPU is known without it, which takes long to import."""
    if not torch.accelerator.is_available() and NAMED_ELSEWHERE not in os.environ:
        return torch.device("cpu")
    from accelerate import Accelerator

    return Accelerator().device
