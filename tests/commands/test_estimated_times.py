"""How long stages will take, as commands tell it."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys

LONG = ("--set", "finetune.training.epochs=1000000")


def test_a_dry_run_says_how_long_each_stage_takes(glta, tiny_recipe_file) -> None:
    before = glta("finetune", "--recipe", str(tiny_recipe_file), *LONG, "--dry-run", "--processes", "2")
    assert before.code == 0, before.err
    assert "the plan is of one process" in before.err
    [prepare] = re.findall("such as times, is known after (glta prepare .*)", before.err)
    prepared = glta(*shlex.split(prepare)[1:], "--json")
    assert (prepared.code, prepared.json["users"]) == (0, 60)
    assert "is known after" not in glta("finetune", "--recipe", str(tiny_recipe_file), *LONG, "--dry-run").err
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


def test_a_dry_run_of_a_run_names_a_command_that_prepares_its_data(glta) -> None:
    (glta.folder / "log.csv").write_text("who,item\n" + "".join(f"u{n % 9},i{n % 7}\n" for n in range(63)))
    (glta.folder / "own.yaml").write_text("dataset: {name: table, source: log.csv, kcore: 0, options: {user: who}}\n")
    made = glta("pretrain-graph", "--recipe", "own.yaml", "--run", "shop", "--set", "graph.training.epochs=1")
    assert made.code == 0, made.err
    asked = ("pretrain-graph", "--run", "shop", "--set", "dataset.kcore=2", "--dry-run")
    [prepare] = re.findall("such as times, is known after (glta prepare .*)", glta(*asked).err)
    prepared = glta(*shlex.split(prepare)[1:], "--json")
    assert (prepared.code, prepared.json["users"]) == (0, 9), prepared.err
    assert "is known after" not in glta(*asked).err


def test_a_run_stores_what_fits_the_machine_and_says_so(glta) -> None:
    (glta.folder / "own.yaml").write_text("dataset: {name: movielens-100k}\n")
    finished = glta("finetune", "--recipe", "own.yaml", "--device", "cpu", "--dry-run", "--json")
    assert finished.code == 0, finished.err
    recipe = finished.json["recipe"]
    assert (recipe["backbone"]["layers"], recipe["interests"]["profile"]) == (4, False)
    assert "no GPU: 4 of 30 layers and no generated words; to have all: --set backbone.layers=null " in finished.err
    asked = glta("finetune", "--recipe", "own.yaml", "--device", "cpu", "--dry-run", "--set", "backbone.layers=two")
    assert asked.code == 2
    assert "--set backbone.layers: " in asked.err


def test_a_first_recipe_waits_for_no_library_of_models(glta) -> None:
    rows = [f"u{user},i{(user * step) % 97},{1_700_000_000 + step}" for user in range(30) for step in range(1, 9)]
    (glta.folder / "log.csv").write_text("user,item,timestamp\n" + "\n".join(rows) + "\n")
    (glta.folder / "items.csv").write_text("item,title\n" + "".join(f"i{item},Rope {item}\n" for item in range(97)))
    code = (
        "import sys; from glta_cli.main import main\n"
        "try: main()\n"
        "except SystemExit as stop: assert not stop.code, stop.code\n"
        "heavy = {'transformers', 'torch_geometric', 'accelerate', 'peft', 'scipy'}\n"
        "print('loaded:', sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code, "init", "log.csv", "items.csv"],
        capture_output=True,
        text=True,
        cwd=glta.folder,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
    )
    assert finished.returncode == 0, finished.stderr
    assert "loaded: []" in finished.stderr


def test_a_first_recipe_says_how_long_it_will_take(glta) -> None:
    rows = [f"u{user},i{(user * step) % 97},{1_700_000_000 + step}" for user in range(300) for step in range(1, 9)]
    (glta.folder / "log.csv").write_text("user,item,timestamp\n" + "\n".join(rows) + "\n")
    short = glta("init", "log.csv", "--json")
    assert short.code == 0, short.err
    assert short.json["takes"].startswith(("less than a minute on this machine", "about "))

    titles = "".join(f"i{item},{'A rope for the long way up. ' * 20}\n" for item in range(30_000))
    (glta.folder / "items.csv").write_text("item,title\n" + titles)
    long = glta("init", "log.csv", "items.csv", "-o", "long.yaml", "--json")
    assert long.code == 0, long.err
    assert re.match(r"about \d+ (min|h)\b.* on this machine as it is now: .*\bencode-items \d+ ", long.json["takes"])
    lines = (glta.folder / "long.yaml").read_text().splitlines()
    assert lines[0].startswith("# glta recommend ")
    assert lines[1].startswith("# about ")
    assert max(map(len, lines[1:3])) <= 80
