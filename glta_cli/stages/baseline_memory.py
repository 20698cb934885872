"""Whether the fit of a baseline fits the machine: refused beforehand where it says what it takes."""

from __future__ import annotations

from glta_cli.core.counts import counted
from glta_cli.core.errors import GltaError, InputError
from glta_cli.core.process_memory import available_memory
from glta_cli.data.prepared import PreparedDataset
from glta_cli.plugin.registry import installed
from glta_cli.stages.fitted_baselines import STAGE, MadeBaseline, fitting_settings, made_baseline
from glta_cli.workspace.artefact import Artefact
from glta_cli.workspace.workspace import Workspace


def bytes_to_fit(made: MadeBaseline, user_count: int, item_count: int) -> int | None:
    """What the fit of a baseline takes for so many users and items; None where it does not say."""
    count = getattr(made.baseline, "bytes_to_fit", None)
    return None if count is None else int(count(user_count, item_count))


def require_memory(made: MadeBaseline, prepared: PreparedDataset, workspace: Workspace) -> None:
    """Raise `GltaError` where a baseline is yet to be fitted, and takes more memory than is free."""
    needed, free = bytes_to_fit(made, prepared.user_count, prepared.item_count), available_memory()
    if needed is None or free is None or needed <= free or _was_fitted(made, prepared, workspace):
        return
    raise GltaError(
        f"{made.name} takes {gigabytes(needed)} GB while it is fitted to {counted(prepared.item_count, 'item')}, and "
        f"{gigabytes(free)} GB are free",
        hint=_smaller(made, prepared, free) or "leave it out",
    )


def _smaller(made: MadeBaseline, prepared: PreparedDataset, free: int) -> str:
    """The row it names for catalogues it is too large for, and what that takes; "" where that is not free either."""
    name = getattr(made.baseline, "smaller", None)
    if name is None or all(component.name != name for component in installed().of_kind("baseline")):
        return ""
    try:
        needed = bytes_to_fit(made_baseline(name, {}), prepared.user_count, prepared.item_count)
    except InputError:
        return ""
    if needed is not None and needed > free:
        return ""
    return f"{name} in its place" + ("" if needed is None else f" takes {gigabytes(needed)} GB")


def _was_fitted(made: MadeBaseline, prepared: PreparedDataset, workspace: Workspace) -> bool:
    """Whether it was fitted to this dataset with these settings, be it by other texts."""
    for path in (workspace.root / "stages" / STAGE).glob("*/manifest.json"):
        try:
            found = Artefact(path.parent).manifest
        except GltaError:  # damaged, and said where it is used
            continue
        settings, inputs = found["settings"], found["inputs"]
        if (settings["baseline"], settings["options"]) == (made.name, fitting_settings(made)) and inputs[
            "prepare"
        ] == prepared.artefact.fingerprint:
            return True
    return False


def gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f}"
