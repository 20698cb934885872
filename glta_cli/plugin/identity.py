"""What results depend on besides data and settings: the code of the component that made them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from glta_cli.core.files import file_sha256
from glta_cli.plugin.component import OWN_DISTRIBUTION, Component

# The release since which the shipped components compute what they do: an upgrade finds again whatever was published
# since. A change that makes one of them compute something else for what worked before gives its target a release of its
# own, the one that brings the change; a change of all of them raises the default.
OWN_RESULTS_SINCE = "0.1.0"
OWN_RESULTS_SINCE_BY_TARGET: Mapping[str, str] = {
    # Ids without blanks and points, times each by its size, texts that say there is none.
    "glta_datasets.table:Table": "0.2.0",
}


def component_identity(component: Component) -> list[str]:
    """Target and distribution; of glta's own the release their results go back to; of others' version and sources.

    An author who installed a plugin with `pip install -e` changes its code and keeps its version.
    """
    target, origin = component.declaration.target, component.origin
    if origin.distribution == OWN_DISTRIBUTION:
        return [target, origin.distribution, OWN_RESULTS_SINCE_BY_TARGET.get(target, OWN_RESULTS_SINCE)]
    digest = source_digest(target.partition(":")[0].partition(".")[0])
    return [target, origin.distribution, origin.version, digest]


@cache
def source_digest(module: str) -> str:
    """SHA-256 over the Python files of a top-level package, or over the file of a module, without importing it.

    Computed once a process, which imports the code once. A module that is not found has the digest of nothing: to
    import it is an error that says why.
    """
    digest = hashlib.sha256()
    for name, path in _sources(module):
        digest.update(f"{name}\0{file_sha256(path)}\n".encode())
    return digest.hexdigest()


def _sources(module: str) -> list[tuple[str, Path]]:
    """The files of a package by their paths within it, or the one file of a module; sorted."""
    try:
        spec = find_spec(module)
    except (ImportError, ValueError):
        return []
    if spec is None:
        return []
    if spec.submodule_search_locations is None:
        files = [Path(spec.origin)] if spec.origin is not None else []
        return [(path.name, path) for path in files if path.is_file()]
    folders = [Path(folder) for folder in spec.submodule_search_locations]
    return sorted((path.relative_to(folder).as_posix(), path) for folder in folders for path in folder.rglob("*.py"))
