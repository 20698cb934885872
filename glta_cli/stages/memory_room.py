"""Whether a stage will fit the machine: said before it starts, with the settings under which it takes less."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import torch
from rich.markup import escape

from glta_cli.core.errors import GltaError
from glta_cli.core.process_memory import available_memory, machine_memory
from glta_cli.core.terminal import say
from glta_cli.core.world import World
from glta_cli.plugin.interactions import Interactions
from glta_cli.recipe.schema import Recipe
from glta_cli.stages.memory_estimates import DEVICE, HOST, MemoryEstimate, memory_of
from glta_cli.stages.memory_moments import Sizes
from glta_cli.stages.stage_costs import AGAIN
from glta_cli.stages.workloads import CountedData

GIBIBYTE: Final = 1 << 30
# Parts that follow from shapes alone, without which there is no stage.
CERTAIN: Final = ("weights", "trained")
MOST_TOLD: Final = 2
# What a setting has to save, at least, to be worth naming.
LESS: Final = 0.95

ALONE: Final = World()
Change = Callable[[Recipe], Any]


def _half(section: str, *names: str) -> tuple[str, Change]:
    """The key of a size, and half of it."""
    path = (section, *names)

    def halved(recipe: Recipe) -> Any:
        size = _value(recipe, path)
        return size // 2 if size is not None and size > 1 else None

    return ".".join(path), halved


def _set(key: str, value: Any) -> tuple[str, Change]:
    """A key that helps at a value, unless it has it already."""
    return key, lambda recipe: None if _value(recipe, key.split(".")) == value else value


LAYERS = ("backbone.layers", lambda recipe: None if recipe.backbone.layers == 4 else 4)
NARROW = _set("backbone.dtype", "bfloat16")
AGAIN_COMPUTED = _set("backbone.gradient_checkpointing", True)
# What lowers a stage's memory, in the order it is looked at.
LOWER: Final[Mapping[str, tuple[tuple[str, Change], ...]]] = {
    "encode-items": (_half("text", "batch_size"), LAYERS, NARROW, _set("text.backbone", "minilm")),
    "pretrain-graph": (
        _half("graph", "training", "batch_size"),
        _set("graph.edges", "disk"),
        _set("graph.training.moments", "bfloat16"),
        _set("graph.softmax_items", 512),
        _set("graph.alignment_holdout", 0.0),
        ("graph.options.dimension", lambda recipe: 32),
    ),
    "fit-linear": (_set("fusion.terms", ("elsa", "encoder", "llm")),),
    "align": (
        _half("align", "training", "batch_size"),
        _half("align", "description_tokens"),
        LAYERS,
        NARROW,
        _set("align.training.moments", "bfloat16"),
    ),
    "describe-users": (_half("interests", "batch_size"), _half("interests", "items"), NARROW),
    "finetune": (
        _half("finetune", "training", "batch_size"),
        AGAIN_COMPUTED,
        _half("evaluate", "batch_size"),
        LAYERS,
        NARROW,
        _set("finetune.softmax_items", 10_000),
        _set("finetune.training.moments", "bfloat16"),
    ),
    "index": (_half("evaluate", "batch_size"), LAYERS, NARROW),
}


def tell_of_room(
    stage: str,
    recipe: Recipe,
    prepared: CountedData,
    device: torch.device,
    world: World = ALONE,
    train: Interactions | None = None,
) -> None:
    """Warn where a stage is estimated to take more memory than is free, and say what would lower it.

    Args:
        world: the processes among which it is divided, of which those of this machine share its memory.
        train: the training interactions, where they are there already.

    Raises:
        GltaError: weights and what is trained alone are more than the machine has at all.
    """

    def estimated(changed: Recipe) -> MemoryEstimate | None:
        sizes = Sizes(changed, prepared, device, processes=world.size, train=train)
        return memory_of(stage, sizes, files=False)

    estimate = estimated(recipe)
    for place in () if estimate is None else estimate.places:
        assert estimate is not None
        needed, free, there = _needed(estimate, place, world), _free(place, device), _there(place, device)
        if free is None or needed <= free:
            continue

        def takes(changed: Recipe, place: str = place, otherwise: int = needed) -> int:
            found = estimated(changed)
            return otherwise if found is None else _needed(found, place, world)

        lower = _lower(stage, recipe, takes, free, needed)
        certain = sum(estimate.places[place].get(part, 0) for part in CERTAIN) * needed // estimate.own(place)
        where = "" if place == HOST else f" on the {device.type} device"
        if there is not None and certain > there:
            raise GltaError(
                f"{stage} cannot fit{where}: its weights and what is trained take {shown(certain)}, and there are "
                f"{shown(there)} in all",
                hint="; ".join(lower) or "take a smaller model, or a machine with more memory",
            )
        say(f"  [yellow]warning[/]: {stage} takes about {shown(needed)}{where}, and {shown(free)} are free")
        for each in lower[:MOST_TOLD]:
            say(f"    {escape(each)}")


def _lower(stage: str, recipe: Recipe, takes: Callable[[Recipe], int], most: int, needed: int) -> list[str]:
    """Settings under which the stage takes less: first those that make it fit into `most` bytes, in their order."""
    found = []
    for key, change in LOWER.get(stage.removeprefix(AGAIN), ()):
        value = change(recipe)
        if value is None:
            continue
        size = takes(_with(recipe, key.split("."), value))
        if size < LESS * needed:
            found.append((size > most, f"--set {key}={_written(value)} takes about {shown(size)}"))
    return [told for _, told in sorted(found, key=lambda each: each[0])]


def _needed(estimate: MemoryEstimate, place: str, world: World) -> int:
    """Beside what the processes of this machine have already; each has a GPU of its own."""
    return estimate.own(place) * (world.local_size if place == HOST else 1)


def _free(place: str, device: torch.device) -> int | None:
    if place != DEVICE:
        return available_memory()
    return int(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else None


def _there(place: str, device: torch.device) -> int | None:
    if place != DEVICE:
        return machine_memory()
    return int(torch.cuda.mem_get_info(device)[1]) if device.type == "cuda" else None


def _value(recipe: Recipe, path: Any) -> Any:
    found: Any = recipe
    for name in path:
        found = found.get(name) if isinstance(found, dict) else getattr(found, name)
    return found


def _with(settings: Any, path: list[str], value: Any) -> Any:
    """Settings with another value at a path; they are not checked again."""
    name, *rest = path
    if isinstance(settings, dict):
        return {**settings, name: _with(settings.get(name), rest, value) if rest else value}
    return settings.model_copy(update={name: _with(getattr(settings, name), rest, value) if rest else value})


def _written(value: Any) -> str:
    """A value as `--set` takes it."""
    if isinstance(value, tuple):
        return f"[{','.join(value)}]"
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def shown(size: int) -> str:
    return f"{size / GIBIBYTE:.1f} GiB"
