"""A damaged index is named: never another answer without a word, never an error of a library."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from glta_cli.core.errors import GltaError
from glta_cli.serving.index import VECTORS
from glta_cli.serving.recommender import recommend
from glta_cli.stages.pipeline import Pipeline
from glta_cli.workspace.artefact import Artefact


@pytest.fixture
def artefact(run_toy: Callable[..., Pipeline], tmp_path: Path) -> Artefact:
    """The toy run's index, in a folder of its own."""
    published = run_toy().ensure("index").path
    return Artefact(Path(shutil.copytree(published, tmp_path / "stages" / "index" / published.name)))


@contextmanager
def flipped(path: Path, bit: int) -> Iterator[None]:
    """One bit of a file is another inside, under the old time of writing."""
    status, whole = path.stat(), path.read_bytes()
    changed = bytearray(whole)
    changed[bit // 8] ^= 1 << bit % 8
    for content in (bytes(changed), whole):
        path.write_bytes(content)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        if content is not whole:
            yield


def outcomes(artefact: Artefact, bits: Any) -> dict[str, int]:
    """How often an answer was named damaged, was the same, or silently another, with one of these bits flipped."""
    path, right = artefact.path / VECTORS, recommend(artefact, "u5", 10)
    counts = {"named": 0, "same": 0, "silent": 0}
    for bit in bits:
        with flipped(path, int(bit)):
            try:
                answer = recommend(Artefact(artefact.path), "u5", 10)
                counts["same" if answer == right else "silent"] += 1
            except GltaError as error:
                counts["named"] += str(artefact.path) in str(error.location)
    return counts


def test_each_flipped_bit_of_an_index_is_named(artefact: Artefact) -> None:
    size = (artefact.path / VECTORS).stat().st_size
    bits = np.random.default_rng(0).choice(8 * size, 200, replace=False)
    assert outcomes(artefact, bits) == {"named": 200, "same": 0, "silent": 0}


def test_of_a_large_index_each_flipped_bit_of_the_header_is_named(
    artefact: Artefact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("glta_cli.workspace.artefact.LARGEST_CHECKED", 0)
    header = 8 + int.from_bytes((artefact.path / VECTORS).read_bytes()[:8], "little")
    bits = np.random.default_rng(1).choice(8 * header, 150, replace=False)
    assert outcomes(artefact, [*range(64), *bits]) == {"named": 214, "same": 0, "silent": 0}


def test_of_a_large_index_no_flipped_bit_ends_in_an_error_of_a_library(
    artefact: Artefact, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its numbers are looked at by `glta runs verify`, for to read all of them would be the work of an answer."""
    monkeypatch.setattr("glta_cli.workspace.artefact.LARGEST_CHECKED", 0)
    size = (artefact.path / VECTORS).stat().st_size
    bits = np.random.default_rng(2).choice(8 * size, 200, replace=False)
    assert sum(outcomes(artefact, bits).values()) == 200


def test_an_index_without_checksums_is_read_and_a_wrong_header_named(artefact: Artefact) -> None:
    """As 0.1 published it: the header has to make sense."""
    import json

    manifest = json.loads((artefact.path / "manifest.json").read_text())
    for key in ("checksum", "crc32", "headers", "blocks", "work", "processor_seconds"):
        del manifest[key]
    (artefact.path / "manifest.json").write_text(json.dumps(manifest))
    old = Artefact(artefact.path)
    assert len(recommend(old, "u5", 10)["recommendations"]) == 10
    header = int.from_bytes((artefact.path / VECTORS).read_bytes()[:8], "little")
    bits = np.random.default_rng(3).choice(8 * (header + 8), 200, replace=False)
    counts = outcomes(old, [*range(64), *bits])
    assert counts["named"] > 100
