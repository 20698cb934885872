"""The stage `prepare`: locate a dataset's files, clean, split, and publish what the later stages read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from glta_cli.core.downloads import Downloads, is_url, shown_url
from glta_cli.core.errors import GltaError, InputError
from glta_cli.core.files import (
    file_sha256,
    fingerprint,
    read_sealed_json,
    set_aside,
    stamp,
    write_sealed_json,
)
from glta_cli.core.storage import storage_errors
from glta_cli.core.terminal import nothing_on_stdout
from glta_cli.data.dataset_files import write_dataset
from glta_cli.data.loader_outputs import check_files
from glta_cli.data.prepared import PreparedDataset
from glta_cli.plugin import DatasetLoader
from glta_cli.plugin.component import OWN_DISTRIBUTION, Component
from glta_cli.plugin.identity import OWN_RESULTS_SINCE, component_identity
from glta_cli.plugin.registry import installed
from glta_cli.recipe.schema import DatasetSettings, Recipe
from glta_cli.recipe.selection import component_options
from glta_cli.workspace.artefact import SCHEMA_VERSION, Artefact
from glta_cli.workspace.workspace import Workspace

STAGE: Final = "prepare"
# Settings that say whether something is prepared, but not what.
_NOT_DECIDING: Final = frozenset({"most_dropped"})
POINTER_KEYS: Final = ("fingerprint", "source", "loader")


@nothing_on_stdout()
def prepare(settings: DatasetSettings, workspace: Workspace, *, again: bool = False) -> tuple[PreparedDataset, bool]:
    """Prepare a dataset, or find it prepared already.

    Without a source, a dataset prepared before from the same settings is taken as it is, whichever source it
    came from and without a look at the network. With a source, its files are hashed: if nothing changed, the
    dataset is up to date.

    Args:
        again: whether it is made once more although it is up to date, and put in the place of what was there: what an
            earlier version prepared may lack files, such as the columns of the items.

    Returns:
        The dataset, and whether it was up to date.

    What is up to date is found without a lock and without a write, so that it can lie in a read-only folder.

    Raises:
        InputError: files missing or not in the dataset's format, or nothing left after the filters.
        GltaError: a download failed, a file was written to while it was read, or the folder is read-only or has no
            room for the dataset.
        BusyError: another process prepares the same dataset.
    """
    component = installed().find("dataset", settings.name)
    loader = loader_of(settings)
    pointer = _pointer(settings, loader, workspace)
    if settings.source is None and not again:
        known = _known(pointer, component, workspace)
        if known is not None:
            return known, True
    with component.named():
        files = located(loader, settings.source, Downloads(workspace.folder("downloads")))
        check_files(files)
    stamps = {role: stamp(path) for role, path in files.items()}
    inputs = {role: {"file": path.name, "sha256": file_sha256(path)} for role, path in sorted(files.items())}
    identity = _identity(settings, inputs, component)

    def write(folder: Path) -> dict[str, Any]:
        return write_dataset(settings, component, loader, files, folder, require_unchanged)

    def require_unchanged() -> None:
        for role, path in files.items():
            _require_unchanged(path, stamps[role], inputs[role]["sha256"])

    def publish() -> Artefact:
        return workspace.publish(
            STAGE,
            identity,
            write,
            settings=settings.model_dump(mode="json"),
            inputs=inputs,
            seed=settings.split.seed,
        )

    if again:
        with workspace.locked(f"{STAGE}-{identity}"):
            artefact, up_to_date = publish(), False
    else:
        artefact, up_to_date = workspace.published_or_made(STAGE, identity, publish)
    content = {"fingerprint": identity, "source": _absolute(settings.source), "loader": _loader_identity(component)}
    _point(pointer, content, may_fail=up_to_date)
    return PreparedDataset(artefact, stamps), up_to_date


def _require_unchanged(path: Path, before: list[int], sha256: str) -> None:
    """Raise `GltaError` where a file is no more what it was when it was hashed, so that nobody knows what was read."""
    try:
        if stamp(path) == before or file_sha256(path) == sha256:
            return
        grew = file_sha256(path, before[0]) == sha256
    except FileNotFoundError:
        grew = False
    raise GltaError(
        f"{'grew' if grew else 'was changed'} while it was read",
        location=str(path),
        hint="run it again once it is whole; a log that grows all the time, copy first, and name the copy",
    )


def prepared_before(settings: DatasetSettings, workspace: Workspace) -> PreparedDataset | None:
    """The dataset these settings last led to, or None; looks at no source and no network."""
    component = installed().find("dataset", settings.name)
    return _known(_pointer(settings, loader_of(settings), workspace), component, workspace)


def source_files(prepared: PreparedDataset, settings: DatasetSettings, workspace: Workspace) -> dict[str, list[Any]]:
    """The files a dataset was just prepared from, by absolute path: size, time of writing and the SHA-256 as read.

    None where they are fetched: what was downloaded is kept as it came.
    """
    if settings.source is None or is_url(settings.source):
        return {}
    with installed().find("dataset", settings.name).named():
        files = located(loader_of(settings), settings.source, Downloads(workspace.folder("downloads")))
    inputs = prepared.artefact.manifest["inputs"]
    return {
        # A log may have grown since: as it is now, nobody has read it.
        str(path.absolute()): [*(prepared.stamps.get(role) or stamp(path)), inputs[role]["sha256"]]
        for role, path in sorted(files.items())
        if role in inputs
    }


def loader_of(settings: DatasetSettings) -> DatasetLoader:
    """The loader the settings select, with its own settings checked."""
    options = component_options(Recipe.model_validate({"dataset": settings}), "dataset")
    loader: DatasetLoader = installed().find("dataset", settings.name).build(settings.name, options)
    return loader


def needs_source(loader: DatasetLoader) -> bool:
    """Whether a loader can fetch nothing; it then has a true attribute `needs_source`."""
    return bool(getattr(loader, "needs_source", False))


# ------------------------------------------------------------------------------------------------ identity


def _pointer(settings: DatasetSettings, loader: DatasetLoader, workspace: Workspace) -> Path:
    """The file that leads from settings to the dataset they were last prepared into.

    Where nothing can be fetched, the source is what tells one dataset from another. Elsewhere a local copy
    stands for the download.
    """
    key = settings.model_dump(mode="json", exclude=set(_NOT_DECIDING))
    if not needs_source(loader):
        del key["source"]
    return workspace.folder("datasets") / f"{fingerprint(key)}.json"


def _pointed_at(pointer: Path) -> dict[str, Any] | None:
    """What a pointer says; None where there is none, or a damaged one: it says so, and the source is read instead."""
    if not pointer.is_file():
        return None
    try:
        known = read_sealed_json(pointer, POINTER_KEYS)
        if not isinstance(known.get("fingerprint"), str):
            raise GltaError("is damaged: it names no dataset")
    except GltaError as error:
        set_aside(pointer, error.problem, "the source is looked at again")
        return None
    return known


def _point(pointer: Path, content: Mapping[str, Any], *, may_fail: bool) -> None:
    """Write a pointer that says something new.

    Args:
        may_fail: whether a folder that cannot be written to is passed over: the dataset is there, and found again.

    Raises:
        GltaError: the folder is read-only, or its disk is full.
    """
    if _pointed_at(pointer) == content:
        return
    try:
        with storage_errors(pointer.parent):
            write_sealed_json(pointer, content)
    except GltaError:
        if not may_fail:
            raise


def _known(pointer: Path, component: Component, workspace: Workspace) -> PreparedDataset | None:
    """What a pointer leads to, unless the loader reads something else since."""
    known, loader = _pointed_at(pointer), _loader_identity(component)
    if known is None:
        return None
    # Whatever one of glta's own prepared that reads what it always has stays found, in whatever form it was noted.
    unchanged = component.origin.distribution == OWN_DISTRIBUTION and loader[-1] == OWN_RESULTS_SINCE
    if not unchanged and known.get("loader") != loader:
        return None
    artefact = workspace.published(STAGE, known["fingerprint"])
    return None if artefact is None else PreparedDataset(artefact)


def _identity(settings: DatasetSettings, inputs: Mapping[str, Mapping[str, str]], component: Component) -> str:
    return fingerprint(
        {
            "stage": STAGE,
            "schema_version": SCHEMA_VERSION,
            "settings": settings.model_dump(mode="json", exclude={"source", *_NOT_DECIDING}),
            "inputs": {role: content["sha256"] for role, content in inputs.items()},
            "loader": _loader_identity(component),
        }
    )


def _loader_identity(component: Component) -> list[str]:
    """As of any component; glta's own loaders go without the distribution, so that what they prepared stays found."""
    return [part for part in component_identity(component) if part != OWN_DISTRIBUTION]


def located(loader: DatasetLoader, source: str | None, downloads: Downloads) -> Mapping[str, Path]:
    """The files of a dataset by role; raises `InputError` where the source is not there or lacks one."""
    if source is None:
        return loader.locate(None, downloads)
    if is_url(source):
        return loader.locate(downloads.url(source), downloads)
    if not source.strip():
        raise InputError("the source has no name", location="dataset.source", hint="--source takes a file or a folder")
    path = Path(source).expanduser()
    if getattr(loader, "takes_patterns", False) and set(source) & set("*?[") and not path.exists():
        return loader.locate(path, downloads)
    try:
        path.stat()
    except (OSError, ValueError) as error:
        # Not there, or a name no file can have; an address of another kind may hold a password.
        reason = "" if isinstance(error, FileNotFoundError) else f": {getattr(error, 'strerror', None) or error}"
        hint = "--source takes a file, a folder or an address that starts with http:// or https://"
        raise InputError(f"no such file or folder{reason}", location=shown_url(source)[:300], hint=hint) from error
    if not (path.is_file() or path.is_dir()):
        raise InputError(
            "is a pipe or a device, and a source is read more than once",
            location=source,
            hint="write it to a file first, and name that file with --source",
        )
    try:
        return loader.locate(path, downloads)
    except OSError as error:
        raise InputError(
            f"cannot be read: {error.strerror or error}",
            location=str(error.filename or source),
            hint="look at its rights",
        ) from error


def _absolute(source: str | None) -> str | None:
    return source if source is None or is_url(source) else str(Path(source).expanduser().absolute())
