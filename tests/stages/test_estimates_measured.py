"""What `--dry-run` says of memory, of three sizes of language model: within the promise of what processes take."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[1] / "benchmarks" / "estimates.py"
# A tiny model, four layers of SmolLM2 with its tokenizer, and a Llama that no formula was fitted to.
SIZES = ("tiny", "smollm2-4", "unseen-width")


@pytest.mark.slow
@pytest.mark.smollm2
def test_predictions_of_three_sizes_are_within_the_promise(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(BENCHMARK), "--only", *SIZES, "--work", str(tmp_path / "work"), "--out", str(tmp_path)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode in (0, 1), done.stderr
    rows = json.loads((tmp_path / "estimates.json").read_text())
    assert {row["case"] for row in rows} == set(SIZES)
    far = {f"{row['case']} {row['stage']}": round(row["ratio"], 2) for row in rows if abs(row["ratio"] - 1) > 0.15}
    assert not far, done.stdout
