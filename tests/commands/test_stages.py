"""The training commands without training: what `--dry-run` shows, and what it leaves alone."""

from __future__ import annotations

import yaml

from glta_cli.commands.stage import PURPOSES
from glta_cli.recipe.files import load_recipe, recipe_from
from glta_cli.stages.lineage import ENCODER_STAGES, STAGES
from glta_cli.stages.order import STAGES as LATER_STAGES
from glta_cli.stages.stage_costs import AGAIN, COSTS

OWN_ENCODER = """
from glta_cli.plugin import EncoderDeclaration, Settings, hookimpl

class OwnSettings(Settings):
    size: int = 8

@hookimpl
def glta_graph_encoders():
    yield EncoderDeclaration(name="own", summary="for a test", target="own:Encoder", config="own:OwnSettings")
"""


def test_a_dry_run_counts_llama_without_its_weights(glta, workspace_root):
    finished = glta("finetune", "--recipe", "llama7b-lora", "--dry-run", "--json", HF_HUB_OFFLINE="1")
    assert finished.code == 0, finished.err
    shown = finished.json
    assert recipe_from(shown["recipe"]) == load_recipe("llama7b-lora").recipe
    assert [stage["state"] for stage in shown["stages"]] == ["to run"] * 6
    assert (shown["users"], shown["items"]) == (None, None)
    parameters = shown["plan"]["parameters"]
    assert parameters["language model"] == 6_738_415_616
    # Rank 16 on the seven linear layers of each of 32 blocks: 16 x (inputs + outputs).
    attention, feed_forward = 4 * (4096 + 4096), 3 * (4096 + 11008)
    assert parameters["adapters"] == 32 * 16 * (attention + feed_forward)
    weights = shown["plan"]["stages"]["finetune"]["weights"]
    assert weights == 2 * parameters["language model"]
    assert shown["plan"]["stages"]["finetune"]["per_device"] > weights
    assert [path for path in workspace_root.rglob("*") if path.is_file()] == []


def test_a_dry_run_shows_the_recipe_the_stages_and_the_memory(glta):
    finished = glta(
        "finetune",
        "--recipe",
        "quickstart",
        "--set",
        "backbone.name=tiny",
        "--set",
        "backbone.layers=null",
        "--dry-run",
    )
    assert finished.code == 0, finished.err
    text, _, tables = finished.out.partition("stages of run quickstart")
    assert yaml.safe_load(text)["backbone"]["name"] == "tiny"
    assert "pretrain-graph" in tables
    # The quickstart asks for no generated interests.
    assert "describe-users" not in tables
    assert "index" not in tables
    assert "memory per device" in tables
    assert max(map(len, tables.splitlines())) <= 80
    assert "glta prepare --recipe quickstart" in finished.err


def test_a_dry_run_says_what_an_encoder_without_dimension_lacks(glta, tmp_path):
    site = tmp_path / "site"
    metadata = site / "own-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: own\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[glta]\nown = own\n")
    (site / "own.py").write_text(OWN_ENCODER)
    finished = glta("pretrain-graph", "--set", "graph.encoder=own", "--dry-run", PYTHONPATH=str(site))
    assert finished.code == 2
    assert "graph.encoder: the settings of own have no whole number `dimension`" in finished.err
    assert "hint: every encoder's settings have a field `dimension`" in finished.err


def test_a_dry_run_encodes_items_for_the_encoders_that_ask_for_it(glta):
    tiny = ("--set", "backbone.name=tiny", "--set", "backbone.layers=null")

    def stages(*options):
        finished = glta("pretrain-graph", *options, "--dry-run", "--json")
        assert finished.code == 0, finished.err
        return [stage["stage"] for stage in finished.json["stages"]]

    assert stages(*tiny) == ["prepare", "pretrain-graph"]
    texts = ("--set", "graph.encoder=alpharec", "--set", "finetune.head=linear", *tiny)
    assert stages(*texts) == ["prepare", "encode-items", "pretrain-graph"]


def test_a_dataset_without_texts_has_no_texts_to_encode(glta):
    (glta.folder / "log.csv").write_text(
        "user,item\n" + "".join(f"u{user},i{(user + step) % 9}\n" for user in range(9) for step in range(5))
    )
    chosen = ("--set", "dataset={name: table, source: log.csv, kcore: 0}")
    prepared = glta("prepare", "table", "--source", "log.csv", "--kcore", "0")
    assert prepared.code == 0, prepared.err
    finished = glta("finetune", *chosen, "--set", "align.enabled=false", "--dry-run", "--json")
    assert finished.code == 0, finished.err
    assert [stage["stage"] for stage in finished.json["stages"]] == ["prepare", "pretrain-graph", "finetune"]


def test_whatever_a_command_says_of_stages_it_says_of_every_stage() -> None:
    assert [stage.name for stage in LATER_STAGES] == list(STAGES[1:])
    assert set(PURPOSES) == set(STAGES)
    assert {name.removeprefix(AGAIN) for name in STAGES[1:]} <= set(COSTS)
    assert STAGES[: len(ENCODER_STAGES)] == ENCODER_STAGES


def test_the_next_command_is_one_that_the_recipe_has(glta, tiny_recipe_file):
    trained = ("pretrain-graph", "--recipe", str(tiny_recipe_file))
    assert "next: glta align --run toy\n" in glta(*trained).err
    without = ("--set", "align.enabled=false", "--run", "unaligned")
    assert "next: glta finetune --run unaligned\n" in glta(*trained, *without).err
