"""The whole way, through the commands: from a table to recommendations, and what is run again when."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load_file
from typer.testing import CliRunner

from glta_cli.commands.evaluate import some_user
from glta_cli.commands.options import open_pipeline
from glta_cli.core.errors import BusyError, GltaError, InputError
from glta_cli.main import app
from glta_cli.plugin.registry import installed
from glta_cli.recipe.files import load_recipe, recipe_from
from glta_cli.recipe.schema import Recipe
from glta_cli.recipe.shipped_variants import VARIANTS
from glta_cli.serving.index import Index
from glta_cli.stages.backbone import frozen_backbone_settings
from glta_cli.stages.encode_items import EncodeItems
from glta_cli.stages.lineage import SERVING, STAGES
from glta_cli.stages.pipeline import Pipeline
from glta_cli.workspace.workspace import Workspace

NOT_HAD = ("prepare", "describe-users", "fit-linear")
LATER = [stage for stage in STAGES if stage not in NOT_HAD and not stage.startswith("refit-")]


@pytest.fixture
def glta(workspace_root: Path, tiny_recipe_file: Path) -> Callable[..., Any]:
    """A command on the toy recipe, in this process and an empty workspace."""

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(app, list(arguments), catch_exceptions=False)

    return run


def states_of(stderr: str) -> dict[str, str]:
    """What was said of each stage: `up to date`, or that it ran."""
    return dict(re.findall(r"^✓ ([a-z-]+): (?:\w+ )?(up to date|prepared|done)", stderr, re.MULTILINE))


# ----------------------------------------------------------------------------------------------- end to end


def test_from_a_table_to_recommendations_in_one_command_and_again_at_once(
    glta: Callable[..., Any], tiny_recipe_file: Path
) -> None:
    first = glta("recommend", "--user", "u7", "--recipe", str(tiny_recipe_file), "--json")
    assert states_of(first.stderr) == {"prepare": "prepared", **dict.fromkeys(LATER, "done")}
    answer = json.loads(first.stdout)
    assert (answer["user"], answer["run"]) == ("u7", "toy")
    assert [list(entry) for entry in answer["recommendations"]] == [["rank", "item", "title", "score"]] * 10

    second = glta("recommend", "--user", "u7", "--recipe", str(tiny_recipe_file), "--json")
    assert states_of(second.stderr) == {"prepare": "up to date", **dict.fromkeys(LATER, "up to date")}
    assert json.loads(second.stdout) == answer

    latest = glta("recommend", "--user", "u7", "--json")
    assert states_of(latest.stderr) == {}
    assert json.loads(latest.stdout) == answer


@pytest.mark.parametrize("encoder", ["lightgcn", "lightgcn-plus"])
def test_the_order_a_run_reports_is_the_order_stages_run_in(tiny_recipe: Callable[..., Recipe], encoder: str) -> None:
    from glta_cli.stages.order import STAGES as LATER_STAGES

    recipe = tiny_recipe(f"graph.encoder={encoder}")
    assert ("prepare", *(stage.name for stage in LATER_STAGES)) == STAGES
    for position, stage in enumerate(LATER_STAGES, start=1):
        assert set(stage.reads(recipe)) <= set(STAGES[:position]), f"{stage.name} reaches back"


def test_an_unknown_user_is_refused_before_anything_is_trained(
    glta: Callable[..., Any], tiny_recipe_file: Path
) -> None:
    with pytest.raises(
        InputError, match=r"no user is called 'nobody' in run toy \(dataset table\); there are 60 users"
    ):
        glta("recommend", "--user", "nobody", "--recipe", str(tiny_recipe_file))
    assert [name for name, artefact in latest_status(tiny_recipe_file) if artefact is not None] == ["prepare"]


def latest_status(recipe: Path) -> list[tuple[str, Any]]:
    return Pipeline("toy", load_recipe(str(recipe)).recipe, Workspace()).status()


def test_a_run_that_gets_other_settings_says_so(glta: Callable[..., Any], tiny_recipe_file: Path) -> None:
    first = glta("prepare", "--recipe", str(tiny_recipe_file))
    again = glta("pretrain-graph", "--recipe", str(tiny_recipe_file))
    changed = glta("pretrain-graph", "--recipe", str(tiny_recipe_file), "--seed", "5")
    assert "other settings" not in first.stderr + again.stderr
    assert changed.stderr.count("run toy had other settings until now") == 1


def test_a_run_from_before_a_setting_is_not_said_to_have_changed(
    glta: Callable[..., Any], tiny_recipe_file: Path, workspace_root: Path
) -> None:
    glta("pretrain-graph", "--recipe", str(tiny_recipe_file))
    path = workspace_root / "runs" / "toy.json"
    stored = json.loads(path.read_text())
    del stored["checksum"], stored["sources"]  # 0.1 wrote none
    for section, key in (("graph", "unit_length"), ("text", "shuffled"), ("finetune", "enabled")):
        del stored["recipe"][section][key]
    path.write_text(json.dumps(stored))
    assert dict(latest_status(tiny_recipe_file))["pretrain-graph"] is not None
    again = glta("pretrain-graph", "--recipe", str(tiny_recipe_file))
    assert "other settings" not in again.stderr
    # One of a later version is another recipe, whatever it says.
    stored["recipe"]["graph"]["from_the_future"] = 1
    path.write_text(json.dumps(stored))
    assert dict(latest_status(tiny_recipe_file))["pretrain-graph"] is None


def test_a_run_stores_its_own_variants_and_not_those_that_are_shipped(
    glta: Callable[..., Any], tiny_recipe_file: Path, workspace_root: Path
) -> None:
    glta(
        "pretrain-graph", "--recipe", str(tiny_recipe_file), "--set", "evaluate.variants.deeper.graph.options.layers=3"
    )
    stored = json.loads((workspace_root / "runs" / "toy.json").read_text())["recipe"]
    assert stored["evaluate"]["variants"] == {"deeper": {"graph": {"options": {"layers": 3}}}}
    assert set(recipe_from(stored).evaluate.variants) == {*VARIANTS, "deeper"}


def test_a_row_of_another_seed_is_told_by_both(
    tiny_recipe: Callable[..., Recipe], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline = Pipeline("toy", tiny_recipe(), Workspace(tmp_path), device="cpu")
    pipeline.sibling("seed 1", tiny_recipe("seed=1")).sibling("mf", tiny_recipe("seed=1")).ensure("pretrain-graph")
    assert "✓ pretrain-graph (seed 1, mf): done" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change", ["evaluate.cutoffs=[3]", "evaluate.bootstrap=0", "evaluate.baselines=[ease]", "evaluate.batch_size=7"]
)
def test_how_a_run_is_evaluated_is_no_other_setting_of_its_stages(
    glta: Callable[..., Any], tiny_recipe_file: Path, change: str
) -> None:
    glta("pretrain-graph", "--recipe", str(tiny_recipe_file))
    again = glta("pretrain-graph", "--recipe", str(tiny_recipe_file), "--set", change)
    assert states_of(again.stderr) == {"prepare": "up to date", "pretrain-graph": "up to date"}
    assert "other settings" not in again.stderr
    changed = load_recipe(str(tiny_recipe_file)).recipe
    assert dict(Pipeline("toy", changed, Workspace()).status())["pretrain-graph"] is not None


def test_a_run_called_like_a_folder_elsewhere_leaves_nothing_there(
    glta: Callable[..., Any], tiny_recipe_file: Path, tmp_path: Path
) -> None:
    for name in (str(tmp_path / "elsewhere"), "../../elsewhere"):
        with pytest.raises(InputError, match="is no name for a run"):
            glta("pretrain-graph", "--recipe", str(tiny_recipe_file), "--run", name, "--profile")
    assert list(tmp_path.rglob("*")) == []  # refused before anything is prepared


def test_the_commands_one_by_one_end_in_the_same_run(glta: Callable[..., Any], tiny_recipe_file: Path) -> None:
    done = {"prepare"}
    prepared = glta("prepare", "--recipe", str(tiny_recipe_file), "--json")
    assert json.loads(prepared.stdout)["split"] == {"train": 537, "valid": 59, "test": 59}
    for command, runs in (
        ("pretrain-graph", {"pretrain-graph"}),
        ("align", {"encode-items", "align"}),
        ("finetune", {"finetune"}),
    ):
        result = glta(command, "--recipe", str(tiny_recipe_file), "--json")
        said = states_of(result.stderr)
        assert {stage for stage, state in said.items() if state == "done"} == runs
        assert {stage for stage, state in said.items() if state == "up to date"} == done
        assert json.loads(result.stdout)["stage"] == command
        assert "next: glta" in result.stderr
        done |= runs

    report = json.loads(glta("evaluate", "--json").stdout)
    assert report["run"] == "toy"
    assert {"dataset", "split", "models"} <= set(report)
    assert list(report["models"]) == ["popularity", "lightgcn", "glta-llm", "glta"]
    assert {"ndcg@10", "recall@20", "precision@5"} <= set(report["models"]["glta"])
    assert report["dataset"] == "table"


def test_evaluate_names_a_user_the_dataset_has(glta: Callable[..., Any], tiny_recipe_file: Path) -> None:
    said = glta("evaluate", "--recipe", str(tiny_recipe_file)).stderr
    assert "next: glta recommend --user u0 --run toy" in said


@pytest.mark.parametrize(("ids", "named"), [(["7", "42"], "42"), (["a user", "b"], "a user")])
def test_the_user_of_the_examples_is_named_where_there_is_one(ids: list[str], named: str) -> None:
    assert some_user(SimpleNamespace(user_ids=ids)) == named  # type: ignore[arg-type]


def test_evaluate_shows_a_table_that_fits_a_terminal(
    glta: Callable[..., Any], tiny_recipe_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown = glta("evaluate", "--recipe", str(tiny_recipe_file)).stdout
    assert "59 test users" in shown
    for name in ("popularity", "lightgcn", "glta-llm", "ndcg", "prec."):
        assert name in shown
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= 80


# ------------------------------------------------------------------------------------------ what runs again


@pytest.mark.parametrize(
    ("change", "rerun"),
    [
        ("evaluate.cutoffs=[3]", set()),
        ("finetune.readout=autoregressive", {"index"}),
        ("finetune.fusion=false", {"index"}),
        ("finetune.training.epochs=1", {"finetune", "index"}),
        ("prompts.recommendation='{user} {items}'", {"finetune", "index"}),
        ("backbone.lora.rank=2", {"finetune", "index"}),
        ("align.labels=item_order", {"align", "finetune", "index"}),
        ("text.tokens=12", {"encode-items", "align", "finetune", "index"}),
        ("backbone.layers=1", {"encode-items", "align", "finetune", "index"}),
        ("text={backbone: tiny, options: {depth: 3}}", {"encode-items", "align", "finetune", "index"}),
        ("graph.temperature=0.3", {"pretrain-graph", "align", "finetune", "index"}),
        ("interests.profile=true", {"describe-users", "finetune", "index"}),
        ("text.shuffled=true", {"encode-items", "align", "finetune", "index"}),
        ("text.vectors=false", {"encode-items", "align", "finetune", "index"}),
        ("finetune.shuffled_users=true", {"finetune", "index"}),
    ],
)
def test_one_changed_setting_runs_again_only_what_depends_on_it(
    run_toy: Callable[..., Pipeline], change: str, rerun: set[str]
) -> None:
    before = {stage: a and a.fingerprint for stage, a in run_toy().status()}
    after = {stage: a and a.fingerprint for stage, a in run_toy(change, name="changed").status()}
    # What is served follows from the index, and is made when somebody asks.
    assert {stage for stage in STAGES if stage != SERVING and before[stage] != after[stage]} == rerun


def test_another_seed_trains_again_but_prepares_and_encodes_the_same(run_toy: Callable[..., Pipeline]) -> None:
    before, after = (dict(p.status()) for p in (run_toy(stage=SERVING), run_toy("seed=1", stage=SERVING, name="seed")))
    for stage in LATER:
        assert before[stage] is not None
        assert after[stage] is not None
        same = before[stage].fingerprint == after[stage].fingerprint
        assert same == (stage == "encode-items"), stage


def test_a_stage_depends_on_nothing_its_fingerprint_leaves_out(
    tiny_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    """Adapters are trained in stage 3 alone, so stage 2 must be the same bytes with them and without."""
    plain, adapted = (
        Pipeline("toy", tiny_recipe(*overrides), Workspace(tmp_path / name), device="cpu").ensure("align")
        for name, overrides in (("plain", []), ("adapted", ["backbone.lora.rank=2", "backbone.lora.dropout=0.3"]))
    )
    assert plain.fingerprint == adapted.fingerprint
    assert plain.manifest["outputs"] == adapted.manifest["outputs"]


def test_two_runs_of_one_recipe_publish_the_same_bytes(tiny_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    first, second = (
        Pipeline("toy", tiny_recipe(), Workspace(tmp_path / name), device="cpu").ensure("index") for name in "ab"
    )
    assert first.manifest["outputs"] == second.manifest["outputs"]


def test_a_stage_another_process_works_on_is_busy(tiny_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    pipeline = Pipeline("toy", tiny_recipe(), workspace, device="cpu")
    artefact = pipeline.ensure("pretrain-graph")
    for file in artefact.path.iterdir():
        file.unlink()
    again = Pipeline("toy", tiny_recipe(), workspace, device="cpu")
    with (
        workspace.locked(f"pretrain-graph-{artefact.fingerprint}"),
        pytest.raises(BusyError, match="another process is working on pretrain-graph"),
    ):
        again.ensure("pretrain-graph")


def test_a_stage_that_runs_late_leaves_what_does_not_read_it(run_toy: Callable[..., Pipeline]) -> None:
    graph = dict(run_toy(name="late", stage="pretrain-graph").status())
    assert graph["encode-items"] is None
    late = run_toy(name="late", stage="encode-items")
    found = dict(late.status())
    assert found["encode-items"] is not None
    assert found["pretrain-graph"] is not None
    stored = late.workspace.required_run("late").stages
    assert list(stored) == ["prepare", "encode-items", "pretrain-graph"]


def test_a_run_that_was_changed_forgets_the_stages_of_before(run_toy: Callable[..., Pipeline]) -> None:
    assert dict(run_toy(name="forgets").status())["index"] is not None
    halfway = run_toy("align.labels=item_order", name="forgets", stage="align")
    found = dict(halfway.status())
    assert found["align"] is not None
    assert found["finetune"] is None
    assert found["index"] is None


# -------------------------------------------------------------------------------------------------- ablations


def test_without_item_texts_alignment_says_what_is_missing(
    tiny_recipe: Callable[..., Recipe], toy_table: Path, tmp_path: Path
) -> None:
    bare = tmp_path / "interactions.csv"
    bare.write_bytes((toy_table / "interactions.csv").read_bytes())
    source = f"dataset.source={bare}"
    pipeline = Pipeline("bare", tiny_recipe(source), Workspace(tmp_path / "w"), device="cpu")
    with pytest.raises(InputError) as caught:
        pipeline.ensure("align")
    message = str(caught.value)
    assert "table was prepared without item texts, which align needs" in message
    assert "--set align.enabled=false" in message

    # What the hint names goes all the way.
    without = tiny_recipe(source, "align.enabled=false")
    index = Pipeline("bare", without, Workspace(tmp_path / "w"), device="cpu").ensure("index")
    assert Index(index).titles.tolist() == Index(index).item_ids.tolist()


def test_without_item_texts_the_stages_that_read_them_drop_out_in_one_line(
    tiny_recipe: Callable[..., Recipe], toy_table: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    bare = tmp_path / "interactions.csv"
    bare.write_bytes((toy_table / "interactions.csv").read_bytes())
    workspace = Workspace(tmp_path / "w")
    values = tiny_recipe(f"dataset.source={bare}").model_dump(mode="json")
    del values["align"]["enabled"], values["interests"]
    pipeline = Pipeline("bare", recipe_from(values), workspace, device="cpu")
    index = pipeline.ensure("index")
    said = capsys.readouterr().err
    assert said.count("no item texts: without align, describe-users and text vectors") == 1
    assert "no item has a text" not in said
    assert [name for name, _ in pipeline.reached()] == ["prepare", "pretrain-graph", "finetune", "index"]

    # As it was by hand: what was published so is found.
    switched_off = [
        "align.enabled=false",
        "interests.profile=false",
        "interests.prediction=false",
        "text.vectors=false",
    ]
    by_hand = Pipeline("hand", recipe_from(values, switched_off), workspace, device="cpu")
    assert by_hand.ensure("index").path == index.path
    # The run goes on as the one it is, though its file says of every switch that it is on.
    again = open_pipeline(None, "bare", [], workspace.root, None, "cpu")
    assert again.ensure("index").path == index.path
    with pytest.raises(InputError, match="which align needs"):
        again.ensure("align")


def test_words_without_item_texts_are_an_error_too(
    tiny_recipe: Callable[..., Recipe], toy_table: Path, tmp_path: Path
) -> None:
    bare = tmp_path / "interactions.csv"
    bare.write_bytes((toy_table / "interactions.csv").read_bytes())
    recipe = tiny_recipe(f"dataset.source={bare}", "align.enabled=false", "interests.profile=true")
    with pytest.raises(InputError, match="without item texts, which describe-users needs"):
        Pipeline("bare", recipe, Workspace(tmp_path / "w"), device="cpu").ensure("finetune")


def test_a_stage_the_recipe_leaves_out_cannot_be_asked_for(run_toy: Callable[..., Pipeline]) -> None:
    with pytest.raises(GltaError, match="this recipe leaves out align"):
        run_toy("align.enabled=false", stage="align", name="without")


STAGE_1 = ("--set", "finetune.enabled=false")


def test_a_recipe_of_stage_1_alone_stops_after_the_encoder_and_says_so(
    glta: Callable[..., Any], tiny_recipe_file: Path
) -> None:
    chosen = ("--recipe", str(tiny_recipe_file), *STAGE_1)
    left_out = {
        ("align",): "align",
        ("finetune",): "finetune",
        ("finetune", "--dry-run"): "finetune",
    }
    for (command, *options), stage in left_out.items():
        with pytest.raises(GltaError, match=f"leaves out {stage}: it has no language model") as caught:
            glta(command, *chosen, *options)
        assert "finetune.enabled=true" in str(caught.value.hint)
        assert "glta recommend and glta evaluate go on without" in str(caught.value.hint)
    # Nothing is prepared or trained for a stage that is left out.
    assert not [artefact for _, artefact in latest_status(tiny_recipe_file) if artefact is not None]

    dry = json.loads(glta("pretrain-graph", *chosen, "--dry-run", "--json").stdout)
    assert ([stage["stage"] for stage in dry["stages"]], dry["plan"]) == (["prepare", "pretrain-graph"], None)
    trained = glta("pretrain-graph", *chosen)
    assert states_of(trained.stderr) == {"prepare": "prepared", "pretrain-graph": "done"}
    assert "next: glta evaluate --run toy" in trained.stderr


def test_without_stage_3_what_is_served_follows_the_encoder(run_toy: Callable[..., Pipeline]) -> None:
    from glta_cli.stages.order import STAGES as LATER_STAGES

    pipeline = run_toy("finetune.enabled=false", "interests.profile=true", stage="pretrain-graph", name="stage-1")
    prepared = pipeline.prepared()
    needed = [stage.name for stage in LATER_STAGES if stage.needed(pipeline.recipe, prepared)]
    assert needed == ["pretrain-graph", "index", "serving-index"]
    for stage in ("align", "finetune"):
        with pytest.raises(GltaError, match=f"leaves out {stage}"):
            pipeline.ensure(stage)


def test_the_switch_of_stage_3_changes_no_encoder_that_ranks(run_toy: Callable[..., Pipeline]) -> None:
    whole, alone = (
        run_toy(*each, stage="pretrain-graph", name="switch").ensure("pretrain-graph")
        for each in ((), ("finetune.enabled=false",))
    )
    assert alone.file("full.safetensors").read_bytes() == whole.file("full.safetensors").read_bytes()


PAPER = [
    "graph.loss=bpr",
    "graph.alignment_holdout=0",
    "finetune.head=linear",
    "finetune.loss=positions",
    "finetune.readout=positions",
    "finetune.fusion=false",
    "interests.profile=true",
    "interests.prediction=true",
    "interests.new_tokens=4",
]


def test_the_settings_of_the_paper_run_end_to_end(run_toy: Callable[..., Pipeline], toy_table: Path) -> None:
    from glta_cli.evaluation.evaluate import evaluate_run

    pipeline = run_toy(*PAPER, name="paper")
    found = dict(pipeline.status())
    assert found["encode-items"] is None
    assert found["pretrain-graph"].manifest["outputs"].keys() == {"full.safetensors", "full-parameters.safetensors"}
    weights = load_file(found["finetune"].file("model.safetensors"))
    assert weights["head.weight"].shape == (40, 32)
    assert load_file(found["index"].file("vectors.safetensors"))["rows"].shape == (60, 4, 32)
    assert list(evaluate_run(pipeline)["models"]) == ["popularity", "lightgcn", "glta"]


def test_generated_words_stand_in_the_prompts_of_every_user(run_toy: Callable[..., Pipeline]) -> None:
    words = ["interests.profile=true", "interests.prediction=true", "interests.new_tokens=8"]
    artefact = run_toy(*words, name="words", stage="describe-users").ensure("describe-users")
    table = pl.read_parquet(artefact.file("words.parquet"))
    assert table.columns == ["user", "profile", "prediction"]
    assert table["user"].to_list() == [f"u{user}" for user in range(60)]
    assert artefact.details["with_profile"] == int((table["profile"] != "").sum())
    run_toy(*words, name="words")


@pytest.mark.parametrize(
    "ablation",
    ["align.enabled=false", "finetune.user_token=false", "graph.alignment_holdout=0", "finetune.warm_start_users=0"],
)
def test_every_ablation_ends_in_an_index(run_toy: Callable[..., Pipeline], ablation: str) -> None:
    index = run_toy(ablation, name="ablation").ensure("index")
    assert np.isfinite(load_file(index.file("vectors.safetensors"))["rows"]).all()


# ------------------------------------------------------------------------------- an encoder that takes the texts


def test_an_encoder_that_asks_for_texts_is_trained_on_their_vectors(run_toy: Callable[..., Pipeline]) -> None:
    plain = run_toy(name="no-texts", stage="pretrain-graph").ensure("pretrain-graph")
    assert set(plain.manifest["inputs"]) == {"prepare"}

    given = run_toy("graph.encoder=alpharec", name="texts", stage="pretrain-graph")
    artefact, vectors = given.ensure("pretrain-graph"), given.ensure("encode-items")
    assert artefact.manifest["inputs"]["encode-items"] == vectors.fingerprint
    trained = load_file(artefact.file("full.safetensors"))
    assert (trained["users"].shape, trained["items"].shape) == ((60, 16), (40, 16))


@pytest.mark.parametrize("change", ["text.tokens=12", "backbone.layers=1"])
def test_such_an_encoder_is_trained_again_where_the_vectors_change(
    run_toy: Callable[..., Pipeline], change: str
) -> None:
    before, after = (
        dict(run_toy("graph.encoder=lightgcn-plus", *changes, name="texts-again", stage="pretrain-graph").status())
        for changes in ([], [change])
    )
    assert before["pretrain-graph"].fingerprint != after["pretrain-graph"].fingerprint


def test_such_an_encoder_goes_all_the_way_without_the_tied_head(run_toy: Callable[..., Pipeline]) -> None:
    pipeline = run_toy("graph.encoder=rlmrec-gen", "finetune.head=linear", name="texts-linear")
    weights = load_file(dict(pipeline.status())["finetune"].file("model.safetensors"))
    assert weights["head.weight"].shape == (40, 32)
    assert load_file(pipeline.ensure("index").file("vectors.safetensors"))["rows"].shape == (60, 1, 32)


def test_such_an_encoder_is_refused_without_item_texts(
    tiny_recipe: Callable[..., Recipe], toy_table: Path, tmp_path: Path
) -> None:
    bare = tmp_path / "interactions.csv"
    bare.write_bytes((toy_table / "interactions.csv").read_bytes())
    recipe = tiny_recipe(f"dataset.source={bare}", "graph.encoder=hccf-plus")
    with pytest.raises(InputError) as caught:
        Pipeline("bare", recipe, Workspace(tmp_path / "w"), device="cpu").ensure("pretrain-graph")
    message = str(caught.value)
    assert "table was prepared without item texts, which the encoder 'hccf-plus' needs" in message
    assert "--set graph.encoder=lightgcn" in message
    assert [path.name for path in (tmp_path / "w" / "stages").iterdir()] == ["prepare"]


# ---------------------------------------------------------------------------------------------- a tiny Llama


@pytest.fixture
def tiny_llama(toy_table: Path, tmp_path: Path) -> Pipeline:
    """The shipped recipe, with everything else as it is but the sizes."""
    architecture = {
        "model_type": "llama",
        "vocab_size": 258,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "max_position_embeddings": 4096,
    }
    overrides = [
        "dataset.name=table",
        f"dataset.source={toy_table}",
        "dataset.kcore=0",
        f"backbone.options.architecture={json.dumps(architecture)}",
        "backbone.weights=random",
        "backbone.options.tokenizer=bytes",
        "backbone.dtype=float32",
        "graph.training.epochs=5",
        "align.prompts=16",
        "align.validation_prompts=4",
        "align.training.epochs=1",
        "interests.new_tokens=4",
        # From a random head, by long steps: an epoch is better than the start, and selected.
        "finetune.warm_start_users=0",
        "finetune.training.learning_rate=0.003",
    ]
    recipe = load_recipe("llama7b-lora", overrides).recipe
    assert recipe.backbone.lora is not None
    assert recipe.backbone.gradient_checkpointing
    return Pipeline("llama", recipe, Workspace(tmp_path / "workspace"), device="cpu")


def test_the_llama_recipe_trains_and_serves_adapters(tiny_llama: Pipeline) -> None:
    artefact = tiny_llama.ensure("finetune")
    weights = load_file(artefact.file("model.safetensors"))
    adapters = {name: value for name, value in weights.items() if "lora_" in name}
    # Two matrices for each of seven linear layers in two blocks.
    assert len(adapters) == 2 * 7 * 2
    assert {min(value.shape) for value in adapters.values()} == {16}
    # B starts at zero: what is no longer zero was trained.
    trained = [name for name, value in adapters.items() if "lora_B" in name and np.abs(value).max() > 0]
    assert len(trained) == 14
    assert not [name for name in weights if name.startswith("language_module") and name not in adapters]
    index = tiny_llama.ensure("index")
    assert index.details["users"] == 60


@pytest.mark.parametrize(("name", "overrides"), [("tiny", ()), ("minilm", ("text.backbone=minilm",))])
def test_a_backbone_that_cannot_be_had_is_said_before_the_encoder_is_trained(
    tiny_recipe: Callable[..., Recipe],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    overrides: tuple[str, ...],
) -> None:
    found = installed().find("backbone", name)
    gone = replace(found, declaration=replace(found.declaration, target="glta_backbones.nowhere:Nobody"))
    changed = [gone if each is found else each for each in installed().components]
    monkeypatch.setattr(installed(), "components", changed)
    pipeline = Pipeline("toy", tiny_recipe(*overrides), Workspace(tmp_path), device="cpu")
    with pytest.raises(GltaError, match=rf"backbone '{name}' of glta \S+ cannot be imported"):
        pipeline.ensure("finetune")
    assert [path.name for path in (tmp_path / "stages").iterdir()] == ["prepare"]
    # Stage 1 does without it.
    assert pipeline.ensure("pretrain-graph").stage == "pretrain-graph"


def test_two_language_models_share_the_vectors_of_one_text_backbone(run_toy: Callable[..., Pipeline]) -> None:
    same = "text.backbone=tiny"
    first = run_toy(same, stage="encode-items", name="reads").ensure("encode-items")
    other = ["backbone.options.depth=3", "backbone.layers=1", "backbone.weights=random", "backbone.dtype=bfloat16"]
    second = run_toy(same, *other, stage="encode-items", name="reads-too").ensure("encode-items")
    assert first.fingerprint == second.fingerprint
    deeper = run_toy(same, "text.options.depth=3", stage="encode-items", name="reads-deeper").ensure("encode-items")
    vectors = [load_file(each.file("vectors.safetensors"))["vectors"] for each in (first, deeper)]
    assert vectors[0].shape == vectors[1].shape
    assert np.abs(vectors[0] - vectors[1]).max() > 0.1


def test_without_a_text_backbone_the_vectors_are_those_of_the_language_model(
    run_toy: Callable[..., Pipeline], tiny_recipe: Callable[..., Recipe]
) -> None:
    """What was encoded before there was such a key is found again."""
    settings = EncodeItems().settings(tiny_recipe())
    assert settings["text"] == {"tokens": 16, "dimensions": 10}
    assert settings["backbone"] == frozen_backbone_settings(tiny_recipe())
    plain = run_toy(stage="encode-items").ensure("encode-items")
    # As the only backbone of its kind it reads by all its layers, which are those of the language model here.
    named = run_toy("text.backbone=tiny", stage="encode-items", name="named").ensure("encode-items")
    assert named.fingerprint == plain.fingerprint


def test_a_run_keeps_its_copy_of_a_dataset_when_another_run_brings_its_own(shared_data: Path, tmp_path: Path) -> None:
    """A local copy stands for the download, also for whoever names no source later; not for a run that has one."""
    workspace = Workspace(tmp_path / "w")
    other = tmp_path / "copy"
    shutil.copytree(shared_data / "ml-100k", other)
    items = other / "u.item"
    items.chmod(0o644)
    items.write_bytes(items.read_bytes().replace(b"Toy Story", b"Toy Tales", 1))

    def fingerprint(name: str, source: Path | None) -> str:
        settings = {"name": "movielens-100k", "source": None if source is None else str(source)}
        recipe = recipe_from({"dataset": settings, "graph": {"training": {"epochs": 1}}})
        pipeline = Pipeline(name, recipe, workspace, device="cpu")
        pipeline.ensure("pretrain-graph")
        return pipeline.prepared().artefact.fingerprint

    first = fingerprint("given", shared_data / "ml-100k")
    assert fingerprint("plain", None) == first
    second = fingerprint("another", other)
    assert second != first
    assert fingerprint("plain", None) == first
    # A run that has none yet takes the latest copy, and one that names its source reads it again.
    assert fingerprint("new", None) == second
    assert fingerprint("given", shared_data / "ml-100k") == first
