"""The device that computes."""

from __future__ import annotations

import os

import torch

from glta_cli.core.errors import GltaError
from glta_cli.core.world import World, launched

# What accelerate takes a device from, whatever there is.
NAMED_ELSEWHERE = "ACCELERATE_TORCH_DEVICE"


def pick_device(name: str | None) -> torch.device:
    """The device of that name; without a name (or with `auto`) the one accelerate finds.

    Of several processes of a command each has a GPU of its own, by its number on the machine, or all the processor.

    Raises:
        GltaError: the machine has no such device, or not as many as processes.
    """
    if launched().size > 1:
        return _own_device(name, launched())
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


def _own_device(name: str | None, world: World) -> torch.device:
    """The device of one of several processes; finding it starts no group, as accelerate would."""
    kind = ("cuda" if torch.cuda.is_available() else "cpu") if name in (None, "auto") else str(name)
    if kind == "cpu":
        return torch.device("cpu")
    if kind != "cuda":
        raise GltaError(
            f"{world.size} processes cannot share one device",
            location=f"--device {name}",
            hint="--device cuda gives each a GPU of its own, --device cpu all of them the processor",
        )
    count = torch.cuda.device_count()
    if world.local_size > count or world.local_rank >= count:
        raise GltaError(
            f"{world.local_size} processes on this machine, and GPUs: {count}",
            location="--device cuda",
            hint=f"--processes {count}" if count > 1 else "leave out --processes, or --device cpu",
        )
    torch.cuda.set_device(world.local_rank)
    return torch.device("cuda", world.local_rank)
