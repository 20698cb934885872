"""`glta export --format huggingface` and `glta import`: the same run elsewhere, and parts other programs read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner

import glta_cli
from glta_cli.answers.question import Question
from glta_cli.core.errors import GltaError, InputError
from glta_cli.main import app
from glta_cli.stages.lineage import SERVING
from glta_cli.workspace.evaluations import keep_evaluation
from glta_cli.workspace.workspace import Workspace

Run = Callable[..., Any]
ADAPTED = "backbone.lora.rank=2"


def glta(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments), catch_exceptions=False)


@pytest.fixture(scope="module")
def evaluation(toy_root: Path, run_toy: Run) -> dict[str, Any]:
    """What was kept of an evaluation of the run `shared`."""
    pipeline = run_toy(ADAPTED, stage=SERVING, name="shared")
    models = {"ease": {"ndcg@10": 0.25, "recall@20": 0.5}, "glta": {"ndcg@10": 0.375, "recall@20": 0.625}}
    report = {"dataset": "table", "users": 59, "seeds": [0], "split": {"strategy": "random"}, "models": models}
    keep_evaluation(Workspace(toy_root), "shared", pipeline.ensure("index").fingerprint, report)
    return report


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, toy_root: Path, evaluation: dict[str, Any]) -> Path:
    target = tmp_path_factory.mktemp("exported") / "model"
    shown = glta("export", "--format", "huggingface", "--data-dir", str(toy_root), "--run", "shared", str(target))
    assert shown.exit_code == 0, shown.output
    assert "personal data" in shown.stdout
    return target


def test_an_imported_run_answers_and_ranks_as_where_it_was_exported(
    folder: Path, toy_root: Path, tmp_path: Path, run_toy: Run
) -> None:
    shown = glta("import", str(folder), "--run", "taken", "--data-dir", str(tmp_path), "--json")
    assert shown.exit_code == 0, shown.output
    made = json.loads(shown.stdout)
    assert (made["run"], made["new"], made["new_stages"]) == ("taken", True, made["stages"])
    here, there = glta_cli.load("shared", toy_root), glta_cli.load("taken", tmp_path)
    users = here.index.user_ids.tolist()
    assert there.index.user_ids.tolist() == users
    for row in here.rows:
        questions = [Question(user, k=40, model=row) for user in users]
        for before, after in zip(here.answers(questions), there.answers(questions), strict=True):
            assert {**after, "run": "shared"} == before
    assert there.measured() == here.measured()
    assert there.metrics()["on"].to_list() == ["test", "test"]
    # All of it comes along: nothing has to be trained again to measure it.
    stored = Workspace(tmp_path).required_run("taken")
    assert stored.finished
    assert stored.stages == Workspace(toy_root).required_run("shared").stages
    for stage, fingerprint in stored.stages.items():
        artefact = Workspace(tmp_path).published(stage, fingerprint)
        assert artefact is not None
        for name in artefact.manifest["outputs"]:
            assert artefact.file(name).is_file()
    again = json.loads(glta("import", str(folder), "--run", "taken", "--data-dir", str(tmp_path), "--json").stdout)
    assert (again["new"], again["new_stages"]) == (False, 0)


def test_peft_loads_the_adapter_onto_the_language_model(folder: Path, run_toy: Run) -> None:
    import torch
    from peft import PeftModel

    from glta_cli.stages.backbone import backbone_of

    pipeline = run_toy(ADAPTED, stage=SERVING, name="shared")
    recipe = pipeline.recipe
    plain = recipe.model_copy(update={"backbone": recipe.backbone.model_copy(update={"lora": None})})
    model = PeftModel.from_pretrained(backbone_of(plain).load(torch.device("cpu")).module, str(folder))
    trained = load_file(pipeline.ensure("finetune").file("model.safetensors"))
    loaded = {f"language_module.{name}": each for name, each in model.named_parameters() if "lora_" in name}
    assert loaded
    assert loaded.keys() == {name for name in trained if "lora_" in name}
    for name, parameter in loaded.items():
        np.testing.assert_array_equal(parameter.detach().numpy(), trained[name])


def test_the_card_has_the_evaluation_and_what_the_parts_fit(folder: Path) -> None:
    card = (folder / "README.md").read_text()
    assert "| row | NDCG@10 | Recall@20 |" in card
    assert "| glta | 0.3750 | 0.6250 |" in card
    assert "59 test users" in card
    config = json.loads((folder / "config.json").read_text())
    head, projectors = load_file(folder / "head.safetensors"), load_file(folder / "projectors.safetensors")
    assert head["head.project.weight"].shape[1] == config["hidden_size"]
    assert projectors["user_projector.linear.weight"].shape == (config["hidden_size"], config["graph_dimension"])
    assert config["backbone"]["lora"]["rank"] == 2


def test_what_was_changed_since_is_not_taken_in(folder: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    head = load_file(copy / "head.safetensors")
    head["head.bias"] = head["head.bias"] + 1
    save_file(head, copy / "head.safetensors")
    with pytest.raises(GltaError, match=r"model\.safetensors of finetune is not what was exported"):
        glta("import", str(copy), "--data-dir", str(tmp_path / "new"))
    assert Workspace(tmp_path / "new").run_names() == []
    for content in (copy / "run" / "content").iterdir():
        content.unlink()
    with pytest.raises(GltaError, match="is missing"):
        glta("import", str(copy), "--data-dir", str(tmp_path / "newer"))


def test_a_name_that_another_run_has_is_left_to_it(folder: Path, toy_root: Path, tmp_path: Path, run_toy: Run) -> None:
    run_toy(stage=SERVING, name="other")
    with pytest.raises(InputError, match="another run is called 'other' here"):
        glta("import", str(folder), "--run", "other", "--data-dir", str(toy_root))
    with pytest.raises(InputError, match=r"is no folder of `glta export`"):
        glta("import", str(tmp_path), "--data-dir", str(toy_root))


def test_a_run_nobody_measured_says_so(toy_root: Path, tmp_path: Path, run_toy: Run) -> None:
    run_toy(stage=SERVING, name="other")
    where = ["--data-dir", str(toy_root), "--run", "other"]
    assert glta("export", "--format", "huggingface", *where, str(tmp_path / "new")).exit_code == 0
    assert "Not measured on test items" in (tmp_path / "new" / "README.md").read_text()
    with pytest.raises(InputError, match="means nothing with --format huggingface"):
        glta("export", "--format", "huggingface", "--rank", "4", *where, str(tmp_path / "newer"))
