"""What stages 2 and 3 do in a second beside transformers alone: the benchmark, through its command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

BENCHMARK = Path(__file__).parents[1] / "benchmarks" / "throughput.py"
COLUMNS = 80


def measure(out: Path, *arguments: str, gpu: bool = False) -> subprocess.CompletedProcess[str]:
    hidden = {} if gpu else {"CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(
        [sys.executable, str(BENCHMARK), "--steps", "2", "--warm-up", "1", "--out", str(out), *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1", **hidden},
        capture_output=True,
        text=True,
        timeout=900,
    )


def rows_of(out: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((out / "throughput.json").read_text())
    return rows


def test_a_stage_and_the_bare_model_take_steps_of_the_same_tokens(tmp_path: Path) -> None:
    done = measure(tmp_path, "--models", "tiny", "--dtypes", "float32", "--rows", "align", "--batch", "2")

    assert done.returncode == 0, done.stderr
    [row] = rows_of(tmp_path)
    sides = [row["ours"], row["bare"]]
    tokens = [[step["tokens"] for step in side["steps"]] for side in sides]
    # Two prompts a step, of 8 to 12 descriptions of up to 32 bytes.
    assert tokens[0] == tokens[1]
    assert len(tokens[0]) == 3
    assert all(2 * 8 * 20 < count < 2 * 12 * 45 for count in tokens[0])
    for side in sides:
        [first, second] = [step["tokens"] / step["wall"] for step in side["steps"][1:]]
        assert side["by_clock"] == pytest.approx((first + second) / 2)
    assert row["predicted"] > 0
    assert row["peak"] > 0
    # It says how long it will take before the first figure, and fits a terminal.
    lines = done.stdout.splitlines()
    foretold, first_row = (
        next(number for number, line in enumerate(lines) if line.startswith(start)) for start in ("rows: 1", "align")
    )
    assert foretold < first_row
    assert all(len(line) <= COLUMNS for line in lines if not line.startswith(("took", "written")))


def test_no_steps_are_refused(tmp_path: Path) -> None:
    done = measure(tmp_path, "--batch", "0")

    assert done.returncode == 2
    assert "'0' is no whole number from 1" in done.stderr


@pytest.mark.slow
def test_a_case_that_cannot_be_measured_is_refused_with_the_reason(tmp_path: Path) -> None:
    done = measure(tmp_path, "--models", "7b-shape", "--layers", "40", "--rows", "align")

    assert done.returncode == 1
    assert "40 layers are asked for, the model has 32" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_every_stage_of_a_few_layers_is_measured_and_their_share_remarked(tmp_path: Path) -> None:
    asked = ("--models", "tiny", "7b-shape", "--layers", "1", "--dtypes", "bfloat16", "--batch", "1")
    done = measure(tmp_path, *asked)

    assert done.returncode == 0, done.stderr
    names = ("align", "finetune", "finetune-lora")
    assert [(row["model"], row["name"]) for row in rows_of(tmp_path)] == [
        (model, name) for model in ("tiny", "7b-shape") for name in names
    ]
    assert "here 1 of 1, in the whole 7b-shape 1 of 32" in done.stdout


@pytest.mark.slow
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_on_a_gpu_its_own_memory_counts(tmp_path: Path) -> None:
    done = measure(tmp_path, "--models", "7b-shape", "--layers", "1", "--dtypes", "bfloat16", gpu=True)

    assert done.returncode == 0, done.stdout
    rows = rows_of(tmp_path)
    assert {row["place"] for row in rows} == {"device"}
    assert all(row["peak"] == row["ours"]["device"] > 0 for row in rows)
