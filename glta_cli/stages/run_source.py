"""Where a run's source is read from: its recipe names one, and an update may have been named another since."""

from __future__ import annotations

from pathlib import Path

from rich.markup import escape

from glta_cli.core.downloads import is_url, shown_url
from glta_cli.core.errors import InputError
from glta_cli.core.terminal import say
from glta_cli.data.growth import grown_source
from glta_cli.data.prepared import PreparedDataset
from glta_cli.recipe.schema import DatasetSettings
from glta_cli.stages.lineage import SERVING
from glta_cli.workspace.artefact import Artefact
from glta_cli.workspace.run import Run
from glta_cli.workspace.workspace import Workspace

PATTERN = "*?["


def run_source(
    run: Run,
    settings: DatasetSettings,
    source: str | None,
    workspace: Workspace | None = None,
    *,
    once: bool = False,
) -> DatasetSettings:
    """The dataset's settings with the source as it can be found from anywhere.

    Args:
        workspace: of the run, to look where an update last read it.
        once: whether the source keeps a log that was piped in: its items stay those beside the source of the run.

    Raises:
        InputError: it is not there any more, or is an address.
    """
    last = _last_read(run, workspace) if source is None else Path(source).expanduser()
    named = settings.source if last is None else str(last) if source is None else source
    if named is None:
        return settings
    if is_url(named):
        raise InputError(
            "was fetched, and is kept as it came: it never says anything new",
            location=shown_url(named),
            hint="fetch what it says now, and name the file with --source FILE",
        )
    path = _recorded(run, Path(named).expanduser()) if last is None else last
    if not path.exists() and not set(named) & set(PATTERN):
        raise InputError(
            "is not there, and run " + run.name + " goes on answering from what it took in before",
            location=str(path.absolute()),
            hint="name the log with --source FILE",
        )
    found = settings.model_copy(update={"source": str(path.absolute())})
    return _with_own_items(found, run, settings.source, workspace) if once else found


def refreshed_source(run: Run, settings: DatasetSettings, workspace: Workspace) -> str | None:
    """The source an update was last named, said on stderr; None where the recipe's own is to be read.

    Args:
        settings: what is to be read; a source other than the run's own was asked for, and is what counts.

    Raises:
        InputError: it is not there any more.
    """
    section = run.recipe.get("dataset")
    named = section.get("source") if isinstance(section, dict) else None
    found = _last_read(run, workspace)
    if settings.source != named or found is None:
        return None
    own = None if named is None or is_url(named) else Path(named).expanduser().absolute()
    if found == own:
        return None
    if not found.exists() and not set(str(found)) & set(PATTERN):
        raise InputError(
            f"is not there, and run {run.name} was brought up to date from it",
            location=str(found),
            hint=f"glta update --run {run.name} --source FILE names where the log is by now",
        )
    say(f"reading {escape(str(found))}, as the last update of run {escape(run.name)}, and not what its recipe names")
    return str(found)


def _with_own_items(
    piped: DatasetSettings, run: Run, named: str | None, workspace: Workspace | None
) -> DatasetSettings:
    """Settings in which a file of items that is named by its place beside the log is the one of the run.

    Args:
        named: the source as the recipe says it.
    """
    items, own = piped.options.get("items"), _last_read(run, workspace)
    if own is None and named is not None and not is_url(named):
        own = _recorded(run, Path(named).expanduser())
    if not isinstance(items, str) or own is None or Path(items).expanduser().is_absolute():
        return piped
    place = (own if own.is_dir() else own.parent).absolute() / items
    return piped.model_copy(update={"options": {**piped.options, "items": str(place)}}) if place.is_file() else piped


def _last_read(run: Run, workspace: Workspace | None) -> Path | None:
    """What the run was last brought up to date from, as far as an update was named it; absolute."""
    if run.read_from is not None:
        return Path(run.read_from)
    served = None if workspace is None else workspace.published(SERVING, run.stages.get(SERVING, ""))
    taken_in = None if served is None else grown_source(PreparedDataset(Artefact(served.parent("prepare"))))
    return taken_in if taken_in is not None and taken_in.exists() else None


def _recorded(run: Run, named: Path) -> Path:
    """Where what the recipe names was when the run was made, from wherever it is asked."""
    if named.is_absolute():
        return named
    for file in map(Path, run.sources):
        if set(named.name) & set(PATTERN):
            return file.parent / named.name
        for place in (file, file.parent):
            if place.name == named.name and place.exists():
                return place
    return named
