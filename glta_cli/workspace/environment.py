"""What a manifest says of the machine and the packages that made an artefact."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from glta_cli.core.threads import threads_in_use
from glta_cli.plugin.registry import installed

RECORDED_PACKAGES = ("glta", "torch", "transformers", "peft", "torch-geometric", "polars", "numpy")


def environment() -> dict[str, Any]:
    """What a reader of a manifest needs to repeat it: versions, plugins, processor threads and why so many.

    Before a stage computes with torch nothing was chosen: then it is what its libraries take by themselves.
    """
    threads = threads_in_use()
    origins = {c.origin.distribution: c.origin.version for c in installed().components}
    versions: dict[str, str] = {}
    for package in RECORDED_PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": versions,
        "plugins": origins,
        "threads": (os.environ.get("OMP_NUM_THREADS") or os.cpu_count()) if threads is None else threads.count,
        **({} if threads is None else {"threads_reason": threads.reason}),
    }
