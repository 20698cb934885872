"""What `--dry-run` says of each stage's memory."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from glta_cli.commands.memory_table import memory_table, memory_values
from glta_cli.core.files import read_json
from glta_cli.stages.memory_estimates import MemoryEstimate


def test_the_table_of_memory_fits_a_terminal(glta: Callable[..., Any], tiny_recipe_file: Path) -> None:
    chosen = ("--recipe", str(tiny_recipe_file), "--device", "cpu")
    before = glta("finetune", *chosen, "--dry-run", "--json")
    assert before.code == 0, before.err
    assert before.json["memory"]["stages"] == {}  # what depends on users and items is not known yet
    assert glta("pretrain-graph", *chosen).code == 0
    shown = glta("finetune", *chosen, "--dry-run")
    assert shown.code == 0, shown.err
    lines = shown.out[shown.out.index("memory of run toy") :].splitlines()
    assert max(map(len, lines)) <= 80
    rows = {line.split()[0]: line.split()[1:4] for line in lines if line.startswith(" ") and len(line.split()) > 3}
    assert list(rows) == ["stage", "encode-items", "pretrain-graph", "align", "finetune", "index"]
    told = json.loads(glta("finetune", *chosen, "--dry-run", "--json").out)["memory"]["stages"]
    for stage in ("pretrain-graph", "finetune"):
        place, size, unit = rows[stage]
        assert (place, unit) == ("cpu", "GiB")
        assert abs(float(size) - told[stage]["places"]["host"]["total"] / 2**30) < 0.05


def test_a_stage_whose_memory_nobody_can_count_is_no_gap_in_the_table() -> None:
    known = MemoryEstimate("finetune", "cpu", {"host": {"process": 1 << 29}})
    stages = ["prepare", "align", "finetune"]  # the first is counted nowhere
    assert memory_values(stages, [known], None, 1)["unknown"] == ["align"]
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(memory_table("own", stages, [known], None, 1))
    [line] = [line for line in console.export_text().splitlines() if "align" in line]
    assert " ".join(line.split()[1:]) == "unknown the architecture says too little to count by"


def test_a_profile_says_what_was_estimated(
    glta: Callable[..., Any], tiny_recipe_file: Path, workspace_root: Path
) -> None:
    finished = glta("pretrain-graph", "--recipe", str(tiny_recipe_file), "--profile", COLUMNS="160")
    assert finished.code == 0, finished.err
    profile = read_json(workspace_root / "profiles" / "toy" / "pretrain-graph.json")
    assert 0.5 < profile["memory_estimated"] / profile["memory_peak"] < 2
    assert f"estimated {round(profile['memory_estimated'] / 2**20):,} MiB" in finished.err
