"""`--profile`: what it writes, and that it changes nothing else."""

from __future__ import annotations

import gzip
import json
import mmap
import sys

import pytest

from glta_cli.core.files import read_json
from glta_cli.training.profiling import profiled


def test_a_profile_says_where_the_time_of_each_stage_went(glta, tiny_recipe_file, workspace_root):
    plain = glta("align", "--recipe", str(tiny_recipe_file), "--json")
    assert plain.code == 0, plain.err
    elsewhere = workspace_root.with_name("profiled")
    finished = glta(
        "align", "--recipe", str(tiny_recipe_file), "--json", "--profile", "--data-dir", str(elsewhere), COLUMNS="120"
    )
    assert finished.code == 0, finished.err

    # Fingerprints name all that a stage depends on, outputs the bytes it published.
    assert finished.json["fingerprint"] == plain.json["fingerprint"]
    manifests = [read_json(next(root.glob("stages/align/*/manifest.json"))) for root in (workspace_root, elsewhere)]
    assert manifests[0]["outputs"] == manifests[1]["outputs"]

    folder = elsewhere / "profiles" / "toy"
    for stage in ("pretrain-graph", "encode-items", "align"):
        profile = read_json(folder / f"{stage}.json")
        assert f"profile of {stage}:" in finished.err
        assert profile["processor_seconds"] > 0
        assert profile["memory_peak"] >= profile["memory_before"]
        assert profile["parts"]
        for part in profile["parts"]:
            assert 0 < part["seconds"] <= profile["seconds"]
            assert part["done"] >= part["steps"] > 0
    steps = read_json(folder / "align.json")["parts"][-1]
    assert steps["recorded_steps"] > 0
    assert {"aten::mm", "aten::scaled_dot_product_attention"} <= {each["name"] for each in steps["operators"]}
    with gzip.open(folder / steps["trace"]) as trace:
        events = json.load(trace)["traceEvents"]
    assert sum(event.get("name") == "aten::mm" for event in events) == next(
        each["calls"] for each in steps["operators"] if each["name"] == "aten::mm"
    )


def test_of_an_evaluation_that_trains_the_steps_of_the_trainings_are_recorded(glta, tiny_recipe_file, workspace_root):
    rows = ("--baselines", "popularity,mf-softmax", "--json")
    finished = glta("evaluate", "--recipe", str(tiny_recipe_file), "--profile", *rows)
    assert finished.code == 0, finished.err
    parts = {part["name"]: part for part in read_json(workspace_root / "profiles/toy/evaluate.json")["parts"]}
    # A row may train for hours: its bar, around those of the trainings, is counted and not recorded.
    assert (parts["evaluate"]["steps"], parts["evaluate"]["recorded_steps"]) == (3, 0)
    assert parts["evaluate"]["trace"] is None
    assert parts["mf on the whole graph"]["operators"]


def test_a_stage_that_is_up_to_date_has_nothing_to_profile(glta, tiny_recipe_file, workspace_root):
    arguments = ("pretrain-graph", "--recipe", str(tiny_recipe_file))
    assert glta(*arguments).code == 0
    again = glta(*arguments, "--profile")
    assert again.code == 0, again.err
    assert "profile of" not in again.err
    assert not list(workspace_root.glob("profiles/**/*.json"))


def touch_fresh_memory(size: int) -> None:
    """Write to pages no one had before: the allocator may have kept enough from an earlier test."""
    with mmap.mmap(-1, size) as pages:
        for start in range(0, size, mmap.PAGESIZE):
            pages[start] = 1


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts a peak anew")
def test_memory_is_a_stages_own_peak(tmp_path):
    with profiled("large", tmp_path, lambda table: None):
        touch_fresh_memory(64 << 20)
    with profiled("small", tmp_path, lambda table: None):
        touch_fresh_memory(1 << 20)
    with profiled("around", tmp_path, lambda table: None):
        touch_fresh_memory(64 << 20)
        # Such as a row's training inside of an evaluation, which publishes its own peak.
        with profiled("inside", tmp_path, lambda table: None):
            touch_fresh_memory(1 << 20)
    own = {}
    for stage in ("large", "small", "around", "inside"):
        profile = read_json(tmp_path / f"{stage}.json")
        own[stage] = profile["memory_peak"] - profile["memory_before"]
    assert own["large"] >= 60 << 20
    assert own["small"] <= 30 << 20
    assert own["around"] >= 60 << 20
    assert own["inside"] <= 30 << 20
