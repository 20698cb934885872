"""Several processes publish what one does: vectors, projectors, words, figures."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.xdist_group("processes")


def answers(root: Path) -> dict[str, str]:
    """What the language model said to each question."""
    [file] = (root / "generations").glob("*.jsonl")
    return {answer["key"]: answer["text"] for answer in map(json.loads, file.read_text().splitlines())}


def test_two_processes_train_and_write_what_one_does(
    glta: Callable[..., Any],
    by_one: Path,
    tmp_path: Path,
    assert_same: Callable[..., None],
    published: Callable[..., Path],
) -> None:
    done = glta("finetune", tmp_path, "--processes", "2")
    assert done.returncode == 0, done.stderr
    for stage in ("encode-items", "pretrain-graph", "align"):
        assert_same(by_one, tmp_path, stage)
        assert json.loads((published(tmp_path, stage) / "manifest.json").read_text())["details"]["processes"] == 2
    ours, theirs = (answers(root) for root in (by_one, tmp_path))
    assert ours == theirs
    assert len(ours) == 2 * 60  # two questions about each user
    # One of them speaks, and nothing of the others is left.
    assert len(re.findall("✓ align: done", done.stderr)) == 1
    assert not list((tmp_path / "states").iterdir())
    assert not [path for path in tmp_path.rglob(".*") if path.name.startswith(".")]


def test_from_the_same_vectors_they_fine_tune_rank_and_measure_alike(
    glta: Callable[..., Any],
    by_one: Path,
    up_to: Callable[..., Path],
    assert_same: Callable[..., None],
    evaluation: tuple[str, ...],
) -> None:
    root = up_to("finetune", "index")
    two = glta("evaluate", root, *evaluation, "--processes", "2")
    assert two.returncode == 0, two.stderr
    assert_same(by_one, root, "finetune")
    # Queries divide by the spread of the states, an eighth, and multiply by weights of three.
    assert_same(by_one, root, "index", tolerance=1e-4)
    ours, theirs = json.loads((by_one / "evaluation.json").read_text()), json.loads(two.stdout)
    assert ours["models"].keys() == theirs["models"].keys() >= {"glta", "glta-llm", "lightgcn", "ease"}
    for row, figures in ours["models"].items():
        assert theirs["models"][row] == pytest.approx(figures, abs=1e-5)
