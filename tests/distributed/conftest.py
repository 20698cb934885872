"""Commands as several processes of this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file

# One thread each: the order of a sum does not depend on how many processors are free.
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "80"}
EVALUATION = ("--baselines", "ease,popularity,lightgcn-softmax", "--json")
WORDS = {"interests": {"profile": True, "prediction": True, "batch_size": 4}}


@pytest.fixture(scope="session")
def shared_recipe(tiny_settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy recipe with generated words; its run is called shared."""
    path = tmp_path_factory.mktemp("recipes") / "shared.yaml"
    path.write_text(yaml.safe_dump({**tiny_settings, **WORDS}))
    return path


@pytest.fixture(scope="session")
def glta(shared_recipe: Path) -> Callable[..., Any]:
    """Run a command on that recipe as a process of its own."""

    def run(command: str, root: Path, *arguments: str, launcher: tuple[str, ...] = ()) -> Any:
        called = [command, "--recipe", str(shared_recipe), "--data-dir", str(root), "--device", "cpu", *arguments]
        started = [sys.executable, *launcher, "-m", *(["--"] if launcher else []), "glta_cli", *called]
        return subprocess.run(started, capture_output=True, text=True, timeout=300, env=ENVIRONMENT)

    return run


@pytest.fixture(scope="session")
def by_one(glta: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workspace of one process that went through all stages, with what it measured in `evaluation.json`."""
    root = tmp_path_factory.mktemp("one")
    done = glta("evaluate", root, *EVALUATION)
    assert done.returncode == 0, done.stderr
    (root / "evaluation.json").write_text(done.stdout)
    return root


@pytest.fixture
def up_to(by_one: Path, tmp_path: Path) -> Callable[..., Path]:
    """A copy of what one process published, but for some stages."""

    def copy(*without: str) -> Path:
        root = tmp_path / "copy"
        shutil.copytree(by_one, root, ignore=shutil.ignore_patterns("runs", "locks", "states"))
        for stage in without:
            shutil.rmtree(root / "stages" / stage)
        (root / "evaluation.json").unlink()
        return root

    return copy


@pytest.fixture(scope="session")
def published() -> Callable[[Path, str], Path]:
    """The one folder that a stage published."""

    def found(root: Path, stage: str) -> Path:
        [folder] = [path for path in (root / "stages" / stage).iterdir() if not path.name.startswith(".")]
        return folder

    return found


@pytest.fixture(scope="session")
def assert_same(published: Callable[[Path, str], Path]) -> Callable[..., None]:
    """The same fingerprint, and tensors that differ by no more than 1e-5, of their size or by themselves."""

    def check(one: Path, other: Path, stage: str, tolerance: float = 1e-5) -> None:
        left, right = published(one, stage), published(other, stage)
        assert left.name == right.name
        files = sorted(path.name for path in left.glob("*.safetensors"))
        assert files
        for name in files:
            ours, theirs = load_file(left / name), load_file(right / name)
            assert ours.keys() == theirs.keys()
            for key, array in ours.items():
                np.testing.assert_allclose(theirs[key], array, rtol=tolerance, atol=tolerance, err_msg=f"{name} {key}")

    return check


@pytest.fixture(scope="session")
def evaluation() -> tuple[str, ...]:
    """The options of what was measured."""
    return EVALUATION


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """Of a command."""
    return ENVIRONMENT
