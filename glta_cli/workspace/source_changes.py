"""Whether the files a run was made from are still what was read, told without reading what was not written since."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from glta_cli.core.errors import GltaError
from glta_cli.core.files import remembered_sha256, stamp
from glta_cli.core.printable import shell_word
from glta_cli.workspace.run import Run
from glta_cli.workspace.workspace import Workspace


def changed_sources(run: Run, workspace: Workspace) -> list[Path]:
    """The files a run's dataset was read from whose bytes are others by now; one that is gone is none of them.

    A file with the size and time of writing it had is taken for the one that was read. Only one of the same size that
    was written since is hashed, and that once.
    """
    return [path for path, size, written, sha256 in _sources(run, workspace) if _changed(path, size, written, sha256)]


def _changed(path: Path, size: int | None, written: int | None, sha256: str) -> bool:
    try:
        now = stamp(path)
        if size is not None and (now[0] != size or now[1] == written):
            return now[0] != size
        return remembered_sha256(path) != sha256
    except OSError:
        return False  # a run answers without its source, so one that cannot be looked at is no change


def _sources(run: Run, workspace: Workspace) -> Iterator[tuple[Path, int | None, int | None, str]]:
    """Each file with its size, time of writing in nanoseconds and SHA-256; a run of 0.1 knows the hashes alone."""
    if run.sources:
        yield from ((Path(path), size, written, sha256) for path, (size, written, sha256) in run.sources.items())
        return
    dataset = run.recipe.get("dataset")
    named = dataset.get("source") if isinstance(dataset, dict) else None
    artefact = workspace.published("prepare", run.stages.get("prepare", ""))
    if not isinstance(named, str) or artefact is None:
        return
    source = Path(named).expanduser()
    folder = source if source.is_dir() else source.parent
    try:
        inputs = artefact.manifest["inputs"].values()
    except GltaError:
        return  # damaged; whoever reads the dataset says so
    for read in inputs:
        path = folder / read["file"]
        if path.is_file():
            yield path, None, None, read["sha256"]


def tell_changed_sources(run: Run, workspace: Workspace, *, named: bool = False, data_dir: Path | None = None) -> None:
    """Say on stderr, in one line, that the files changed since, and what takes them in.

    Args:
        named: whether the run was named, as it then has to be in the command that does.
        data_dir: as it was given, for the same reason.
    """
    changed = changed_sources(run, workspace)
    if changed:
        from rich.markup import escape

        from glta_cli.core.terminal import say

        files = ", ".join(map(str, changed))
        words = ["glta", "update", *(["--run", run.name] if named else [])]
        words += [] if data_dir is None else ["--data-dir", str(data_dir)]
        update = " ".join(map(shell_word, words))
        told = f"{update} answers from what it says now, --refresh trains on it anew"
        text = f"{files} changed since run {run.name} was made from it; {told}"
        say(f"[yellow]warning[/]: {escape(text)}")
