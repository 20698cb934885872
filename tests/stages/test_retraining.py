"""`glta update --train`: from the weights of the last training, on what the log says by now."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from numpy.testing import assert_array_equal
from safetensors.numpy import load_file
from typer.testing import CliRunner

from glta_cli.core.errors import GltaError, InputError
from glta_cli.core.files import write_sealed_json
from glta_cli.data.prepared import PreparedDataset
from glta_cli.graph.pretraining import SoftmaxTask
from glta_cli.language.finetuning import FinetuningTask
from glta_cli.main import app
from glta_cli.stages.context import MODEL, TARGETS, VECTORS
from glta_cli.stages.parameter_files import FULL_PARAMETERS
from glta_cli.workspace.artefact import Artefact
from glta_cli.workspace.run import Run
from glta_cli.workspace.workspace import Workspace

TRAIN = ("update", "--train", "--json")


def glta(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments), catch_exceptions=False)


def stored() -> Run:
    return Workspace().required_run("shop")


def artefact(stage: str, run: Run | None = None) -> Artefact:
    found = Workspace().published(stage, (run or stored()).stages[stage])
    assert found is not None
    return found


@pytest.fixture(scope="module")
def trained(
    tiny_settings: dict[str, Any], toy_table: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """A finished run `shop`, leave-last-out: its recipe, beside its log, and its workspace."""
    folder = tmp_path_factory.mktemp("shop")
    shutil.copytree(toy_table, folder / "log")
    recipe = folder / "shop.yaml"
    dataset = {"name": "table", "source": str(folder / "log"), "split": {"strategy": "leave-last-out"}}
    recipe.write_text(yaml.safe_dump({**tiny_settings, "dataset": dataset}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GLTA_DATA_DIR", str(folder / "workspace"))
        glta("recommend", "--user", "u7", "--recipe", str(recipe))
    return recipe, folder / "workspace"


@pytest.fixture
def shop(trained: tuple[Path, Path], tmp_path: Path, workspace_root: Path) -> Path:
    """The run in a workspace of its own; gives its log, as it was."""
    recipe, workspace = trained
    shutil.copytree(workspace, workspace_root)
    log = tmp_path / "log"
    shutil.copytree(recipe.parent / "log", log)
    path = Workspace().run_path("shop")
    content = json.loads(path.read_text())
    content["recipe"]["dataset"]["source"] = str(log)
    content["sources"] = {str(log / Path(file).name): told for file, told in content["sources"].items()}
    del content["checksum"]
    write_sealed_json(path, content)
    return log


def add(log: Path, *rows: str) -> None:
    with (log / "interactions.csv").open("a") as file:
        file.writelines(f"{row}\n" for row in rows)


NEWS = (
    "u60,i1,1600001001",
    "u60,i2,1600001002",
    "u60,i3,1600001003",
    "u60,i4,1600001004",
    "u7,i41,1600001005",
    "u8,i41,1600001006",
    "u8,i4,1600001007",
    "u9,i41,1600001008",
    "u9,i5,1600001009",
    "u9,i6,1600001010",
)


@pytest.fixture
def grown(shop: Path) -> Path:
    """The log with a new user, u60, and a new item, i41."""
    add(shop, *NEWS)
    with (shop / "items.csv").open("a") as file:
        file.write("i41,Space film 41\n")
    return shop


def rows_by_id(run: Run, file: Artefact, name: str) -> dict[str, np.ndarray]:
    prepared = PreparedDataset(artefact("prepare", run))
    ids = [*(f"user {each}" for each in prepared.user_ids), *(f"item {each}" for each in prepared.item_ids)]
    return dict(zip(ids, load_file(file.file(FULL_PARAMETERS))[name], strict=True))


# ------------------------------------------------------------------------------------------- what it starts from


def test_training_starts_where_each_user_and_item_was(grown: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = stored()
    starts: list[torch.Tensor] = []

    class Task(SoftmaxTask):
        def __init__(self, encoder: Any, *others: Any) -> None:
            starts.append(encoder.embeddings.detach().clone())
            super().__init__(encoder, *others)

    monkeypatch.setattr("glta_cli.graph.pretraining.SoftmaxTask", Task)
    answer = json.loads(glta(*TRAIN).stdout)
    assert answer["warm_start"] is True
    prepared = PreparedDataset(artefact("prepare"))
    ids = [*(f"user {each}" for each in prepared.user_ids), *(f"item {each}" for each in prepared.item_ids)]
    started = dict(zip(ids, starts[0].numpy(), strict=True))
    known = rows_by_id(before, artefact("pretrain-graph", before), "embeddings")
    assert set(started) - set(known) == {"user u60", "item i41"}
    for each, row in known.items():
        assert_array_equal(started[each], row, err_msg=each)
    # A new node starts as long as the encoder has it.
    lengths = np.linalg.norm([started["user u60"], started["item i41"]], axis=1)
    assert (lengths > 0.01).all()


def test_the_model_starts_from_what_it_was(grown: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = load_file(artefact("finetune").file(MODEL))
    items = PreparedDataset(artefact("prepare")).item_ids
    started: list[dict[str, np.ndarray]] = []

    def batches(self: FinetuningTask, epoch: int, drawn: Any = FinetuningTask.batches) -> Any:
        if not started:
            started.append({name: each.detach().clone().numpy() for name, each in self.module.named_parameters()})
        return drawn(self, epoch)

    monkeypatch.setattr(FinetuningTask, "batches", batches)
    monkeypatch.setattr(FinetuningTask, "warm_start", lambda *_: None)
    glta(*TRAIN)
    [start] = started
    for name, tensor in before.items():
        if name == "head.bias":
            now = dict(zip(PreparedDataset(artefact("prepare")).item_ids, start[name], strict=True))
            assert_array_equal([now[item] for item in items], tensor)
        elif not name.startswith("item_projector."):  # stage 2 has just trained that
            assert_array_equal(start[name], tensor, err_msg=name)
    assert (before["head.project.weight"] != 0).any()


@pytest.mark.parametrize("better", ["learnt", "fitted"])
def test_the_head_that_ranks_better_is_started_from(grown: Path, monkeypatch: pytest.MonkeyPatch, better: str) -> None:
    found: list[float] = []

    def validate(self: FinetuningTask, measure: Any = FinetuningTask.validate) -> dict[str, float]:
        # The first two are those of the head as it was and as it is fitted.
        figures = measure(self)
        if len(found) < 2:
            figures["ndcg@10"] = 0.9 if (len(found) == 0) == (better == "learnt") else 0.1
        found.append(figures["ndcg@10"])
        return figures

    learnt = load_file(artefact("finetune").file(MODEL))["head.project.weight"]
    started: list[np.ndarray] = []

    def batches(self: FinetuningTask, epoch: int, drawn: Any = FinetuningTask.batches) -> Any:
        started.append(self.module.head.project.weight.detach().clone().numpy())
        return drawn(self, epoch)

    monkeypatch.setattr(FinetuningTask, "validate", validate)
    monkeypatch.setattr(FinetuningTask, "batches", batches)
    told = glta(*TRAIN).stderr
    assert ("head as it was" if better == "learnt" else "head fitted anew") in told
    assert artefact("finetune").details["start"] == ("earlier" if better == "learnt" else "regression")
    assert np.array_equal(started[0], learnt) == (better == "learnt")


def test_texts_stay_in_the_space_they_were_in(grown: Path) -> None:
    before = stored()
    glta(*TRAIN)
    vectors = [
        dict(
            zip(
                PreparedDataset(artefact("prepare", run)).item_ids,
                load_file(artefact("encode-items", run).file(VECTORS))["vectors"],
                strict=True,
            )
        )
        for run in (before, stored())
    ]
    for item, vector in vectors[0].items():
        np.testing.assert_allclose(vectors[1][item], vector, atol=1e-6, err_msg=item)


def test_a_target_stays_one_and_what_was_shown_is_none(grown: Path) -> None:
    before = stored()
    glta(*TRAIN)

    def by_pair(run: Run) -> dict[tuple[str, str], bool]:
        prepared = PreparedDataset(artefact("prepare", run))
        train = prepared.split("train")
        targets = load_file(artefact("pretrain-graph", run).file(TARGETS))["targets"]
        return {
            (prepared.user_ids[user], prepared.item_ids[item]): bool(target)
            for user, item, target in zip(train.users, train.items, targets, strict=True)
        }

    first, second = by_pair(before), by_pair(stored())
    assert set(first) < set(second)
    assert {pair: second[pair] for pair in first} == first
    assert any(second[pair] for pair in set(second) - set(first))


# ------------------------------------------------------------------------------------------- what becomes of a run


def test_it_is_the_same_run_and_found_again(grown: Path, tmp_path: Path) -> None:
    first = glta(*TRAIN)
    answer = json.loads(first.stdout)
    assert answer["interactions"] == answer["interactions_before"] + 8  # two of the ten were known
    assert [each["name"] for each in answer["trainings"]] == [
        "pretrain-graph full",
        "pretrain-graph alignment",
        "align",
        "finetune",
    ]
    assert all(each["before"] is not None for each in answer["trainings"])
    asked = glta("recommend", "--user", "u60", "--json")
    assert asked.stderr == ""
    assert json.loads(asked.stdout)["run"] == "shop"
    # The recipe leads to it, too, and once what it started from is removed.
    assert json.loads(glta(*TRAIN).stdout)["trained"] is False
    glta("runs", "gc")
    again = glta("pretrain-graph", "--run", "shop")
    assert "pretrain-graph: up to date" in again.stderr
    assert "nothing new for run shop" in glta("update", "--train").stdout


def test_an_interrupted_one_goes_on_and_the_run_answers_meanwhile(
    grown: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = Workspace().root.with_name("copy")
    shutil.copytree(Workspace().root, copy)
    glta(*TRAIN, "--data-dir", str(copy))
    before = glta("recommend", "--user", "u7", "--json").stdout
    with monkeypatch.context() as patch:
        steps = iter(range(1000))

        def interrupted(self: Any, batch: Any, loss: Any = FinetuningTask.loss) -> torch.Tensor:
            if next(steps) == 2:
                os.kill(os.getpid(), signal.SIGINT)
            return loss(self, batch)

        patch.setattr(FinetuningTask, "loss", interrupted)
        assert glta(*TRAIN).exit_code != 0
    assert glta("recommend", "--user", "u7", "--json").stdout == before
    glta("runs", "gc")
    resumed = glta(*TRAIN)
    assert "pretrain-graph: up to date" in resumed.stderr
    assert "continuing after step 3" in resumed.stderr
    for stage, fingerprint in stored().stages.items():
        other = Workspace(copy).published(stage, fingerprint)
        assert other is not None, stage
        assert other.manifest["outputs"] == artefact(stage).manifest["outputs"], stage


def test_a_renamed_title_trains_no_encoder_that_reads_none(shop: Path) -> None:
    before = stored().stages["pretrain-graph"]
    items = shop / "items.csv"
    items.write_text(items.read_text().replace("Space film 3\n", "Space opera 3\n"))
    glta(*TRAIN)
    assert stored().stages["pretrain-graph"] == before
    assert PreparedDataset(artefact("prepare")).titles.count("Space opera 3") == 1


def test_what_is_measured_was_never_learnt_before(tiny_settings: dict[str, Any], shop: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "random.yaml"
    recipe.write_text(yaml.safe_dump({**tiny_settings, "dataset": {"name": "table", "source": str(shop)}}))
    glta("recommend", "--user", "u7", "--recipe", str(recipe))
    # A user who stands first moves all others on, and with them what is drawn of each.
    head, *rows = (shop / "interactions.csv").read_text().splitlines()
    (shop / "interactions.csv").write_text("\n".join([head, *NEWS, *rows]) + "\n")
    told = glta(*TRAIN, "--run", "random")
    assert json.loads(told.stdout)["warm_start"] is False
    assert "was trained on before" in " ".join(told.stderr.split())
    assert "warm_start_from" not in artefact("pretrain-graph", Workspace().required_run("random")).manifest["settings"]


def test_after_an_interrupted_training_the_one_before_is_the_start(
    grown: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = stored()
    with monkeypatch.context() as patch:

        def fails(*_: Any) -> torch.Tensor:
            raise GltaError("the disk failed")

        patch.setattr(FinetuningTask, "loss", fails)
        with pytest.raises(GltaError, match="the disk failed"):
            glta(*TRAIN)
    assert stored().failed == "the disk failed"
    add(grown, "u61,i7,1600001011", "u61,i8,1600001012", "u61,i9,1600001013", "u61,i10,1600001014")
    assert json.loads(glta(*TRAIN).stdout)["warm_start"] is True
    for stage in ("encode-items", "pretrain-graph", "align", "finetune"):
        assert artefact(stage).manifest["settings"]["warm_start_from"] == before.stages[stage], stage


def test_what_the_training_before_the_last_learnt_is_not_measured_either(shop: Path) -> None:
    log = shop / "interactions.csv"
    head, *rows = log.read_text().splitlines()
    first = [next(row for row in rows if row.startswith(f"u{user},")) for user in range(10)]
    log.write_text("\n".join([head, *(row for row in rows if row not in first), *NEWS]) + "\n")
    assert json.loads(glta(*TRAIN).stdout)["warm_start"] is True
    # Learnt by the first training, unknown to the second, and now the newest of their users: the test.
    add(shop, *(f"{row.rpartition(',')[0]},1600002000" for row in first))
    told = glta(*TRAIN)
    assert json.loads(told.stdout)["warm_start"] is False
    assert "was trained on before" in " ".join(told.stderr.split())


def test_a_refit_goes_on_from_the_refit(shop: Path) -> None:
    glta("finetune", "--refit", "--run", "shop")
    before = stored()
    add(shop, *NEWS)
    glta(*TRAIN)
    after = stored()
    for stage in ("pretrain-graph", "align", "finetune", "refit-pretrain-graph", "refit-align", "refit-finetune"):
        assert artefact(stage, after).manifest["settings"]["warm_start_from"] == before.stages[stage], stage
    answer = json.loads(glta("recommend", "--user", "u60", "--json").stdout)
    assert answer["trained"] == answer["interactions"]


def test_another_log_is_refused(shop: Path) -> None:
    head, *rows = (shop / "interactions.csv").read_text().splitlines()
    (shop / "interactions.csv").write_text("\n".join([head, *rows[:300]]) + "\n")
    before = stored()
    with pytest.raises(InputError, match="of the 655 interactions that are known"):
        glta(*TRAIN)
    assert stored() == before


def test_a_dry_run_trains_nothing(grown: Path) -> None:
    before = stored()
    assert "would be trained again from the weights it had" in glta("update", "--train", "--dry-run").stdout
    assert stored() == before
