"""How long stages will take, as commands tell it."""

from __future__ import annotations

import re

LONG = ("--set", "finetune.training.epochs=1000000")


def test_a_dry_run_says_how_long_each_stage_takes(glta, tiny_recipe_file) -> None:
    before = glta("finetune", "--recipe", str(tiny_recipe_file), *LONG, "--dry-run")
    assert before.code == 0, before.err
    assert "such as times, is known after glta prepare table" in before.err
    made = glta("pretrain-graph", "--recipe", str(tiny_recipe_file))
    assert made.code == 0, made.err
    # Its place among all stages, and nothing of its time: it takes seconds on any machine.
    assert re.search(r"▸ pretrain-graph \(stage 2 of 2\)\n", made.err)
    after = glta("finetune", "--recipe", str(tiny_recipe_file), *LONG, "--run", "toy", "--dry-run", "--json")
    assert after.code == 0, after.err
    told = {stage["stage"]: stage["estimated_seconds"] for stage in after.json["stages"]}
    assert told["prepare"] is None
    assert told["finetune"] > told["align"] > 0
    shown = glta("finetune", "--recipe", str(tiny_recipe_file), *LONG, "--run", "toy", "--dry-run")
    assert re.search(r"in all +less where a training stops early +\d+ (s|min|h|d)", shown.out)
