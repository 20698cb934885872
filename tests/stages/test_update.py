"""Day two: the log says more, and what answers takes it in without a training."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from typer.testing import CliRunner

from glta_cli.core.errors import GltaError, InputError
from glta_cli.core.files import read_sealed_json, write_sealed_json
from glta_cli.main import app
from glta_cli.serving.index import Index, mapped_tensors
from glta_cli.stages import updated_index
from glta_cli.stages.parameter_files import ALIGNMENT_PARAMETERS, FULL_PARAMETERS
from glta_cli.stages.pipeline import Pipeline
from glta_cli.stages.run_record import record_served
from glta_cli.workspace.artefact import Artefact
from glta_cli.workspace.run import Run
from glta_cli.workspace.workspace import Workspace

# A new user of space films and one of garden books, a purchase of u7, and two films nobody knew, one of them met.
DAY_TWO = [
    *(f"n1,i{item},1700000000\n" for item in (1, 2, 3, 4)),
    *(f"n2,i{item},1700000001\n" for item in (21, 22, 23, 24)),
    "u7,i30,1700000002\n",
    "u3,new-film,1700000003\n",
]


def glta(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments), catch_exceptions=False)


def run_file() -> Run:
    run = Workspace().run("shop")
    assert run is not None
    return run


def served(root: Path) -> Index:
    return Index(Artefact(root / "stages" / "serving-index" / run_file().stages["serving-index"]))


def answer_of(user: str, *options: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(glta("recommend", "--user", user, "--json", *options).stdout)
    return answer


def recommended(user: str, *options: str) -> list[str]:
    return [each["title"] for each in answer_of(user, *options)["recommendations"]]


def without_parameters(root: Path) -> None:
    """Make every encoder one that 0.1 published."""
    for manifest in (root / "stages" / "pretrain-graph").glob("*/manifest.json"):
        content = read_sealed_json(manifest, [])
        for name in (FULL_PARAMETERS, ALIGNMENT_PARAMETERS):
            content["outputs"].pop(name, None)
            (manifest.parent / name).unlink(missing_ok=True)
        write_sealed_json(manifest, {key: value for key, value in content.items() if key != "checksum"})


def append(source: Path, lines: list[str]) -> None:
    log = source / "interactions.csv"
    log.write_text(log.read_text() + "".join(lines))


def day_two(source: Path) -> None:
    append(source, DAY_TWO)
    items = source / "items.csv"
    renamed = items.read_text().replace("i5,Space film 5", "i5,Space film five")
    items.write_text(renamed + "new-film,Space film 99\n")


def test_day_two_is_taken_in_without_a_training(shop: Path, workspace_root: Path) -> None:
    glta("runs", "gc")  # what other tests have published beside this run
    before, run, figures = served(workspace_root), run_file(), glta("evaluate", "--json").stdout
    day_two(shop)
    found = json.loads(glta("update", "--json").stdout)
    assert found["new"] == {
        **{"interactions": 10, "weights": 0, "times": 0, "seen": 0, "users": 2, "items": 1},
        **{"titles": 1, "texts": 1, "vanished": 0},
    }
    assert found["examples"]["titles"] == ["i5: 'Space film 5' is 'Space film five'"]
    assert found["examples"]["users"] == ["n1", "n2"]
    assert (found["read_out"], found["newest"], found["updated"]) == (4, "2023-11-14", True)

    after = served(workspace_root)
    trained = {stage: name for stage, name in run_file().stages.items() if stage != "serving-index"}
    assert trained == {stage: name for stage, name in run.stages.items() if stage != "serving-index"}
    assert after.user_ids.tolist()[:60] == before.user_ids.tolist()
    assert after.item_ids.tolist()[:40] == before.item_ids.tolist()
    stale = [before.user("u7"), before.user("u3")]
    kept = np.setdiff1d(np.arange(60), stale)
    assert_array_equal(after._tensors["rows"][kept], before._tensors["rows"][kept])
    assert json.loads(glta("evaluate", "--json").stdout)["models"] == json.loads(figures)["models"]

    for user, taste in (("n1", "Space film"), ("n2", "Garden book")):
        titles = recommended(user)
        assert sum(title.startswith(taste) for title in titles[:5]) >= 4, titles
    answer = json.loads(glta("recommend", "--user", "u7", "--json").stdout)
    assert answer["history"][0]["item"] == "i30"
    assert answer["interactions"] == found["interactions"]
    assert "Space film 99" in recommended("u3", "-k", "40") + recommended("u2", "-k", "40")
    assert "changed since" not in glta("recommend", "--user", "u7").stderr

    again = glta("update")
    assert "nothing new for run shop (dataset table)" in again.stdout
    assert after.artefact.fingerprint == run_file().stages["serving-index"]

    append(shop, ["n3,new-film,1700000010\n", "n3,i1,1700000011\n"])
    third = json.loads(glta("update", "--json").stdout)
    assert (third["new"]["users"], third["new"]["interactions"], third["read_out"]) == (1, 2, 1)
    assert recommended("n1") != []

    # What was superseded goes, and nothing that is needed.
    freed = json.loads(glta("runs", "gc", "--json").stdout)["removed"]
    assert sum("/serving-index/" in each["path"] for each in freed) == 2
    assert recommended("n3") != []
    assert json.loads(glta("evaluate", "--json").stdout)["models"] == json.loads(figures)["models"]
    assert json.loads(glta("runs", "verify", "--json").stdout)["changed"] == []


def test_a_copied_folder_is_brought_up_to_date_and_a_missing_log_is_named(
    shop: Path, workspace_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(workspace_root, copy)
    shutil.rmtree(workspace_root)
    moved = tmp_path / "moved"
    shutil.move(shop, moved)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="is not there, and run shop goes on answering") as caught:
        glta("update", "--data-dir", str(copy))
    assert caught.value.hint == "name the log with --source FILE"
    day_two(moved)
    options = ("--data-dir", str(copy))
    assert json.loads(glta("update", "--source", "moved", "--json", *options).stdout)["new"]["users"] == 2
    assert len(recommended("n1", *options)) == 10
    append(moved, ["n3,i1,1700000010\n"])
    assert json.loads(glta("update", "--json", *options).stdout)["new"]["users"] == 1


def test_an_update_that_fails_leaves_the_run_answering_as_before(
    shop: Path, workspace_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, run = recommended("u7"), run_file()
    day_two(shop)

    def fails(*_: object) -> None:
        raise GltaError("the model has no room")

    with monkeypatch.context() as patch:
        patch.setattr(updated_index, "write_updated_index", fails)
        with pytest.raises(GltaError, match="no room"):
            glta("update")
    assert run_file() == run
    assert recommended("u7") == before
    dry = glta("update", "--dry-run")
    assert "2  new users" in dry.stdout
    assert run_file() == run


def test_a_log_that_lost_most_is_refused_unless_told(shop: Path, workspace_root: Path) -> None:
    log = shop / "interactions.csv"
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(lines[: len(lines) // 2]))
    with pytest.raises(InputError, match="of the 655 interactions that are known") as caught:
        glta("update")
    assert "--vanished" in str(caught.value.hint)
    found = json.loads(glta("update", "--vanished", "--json").stdout)
    assert found["new"]["vanished"] == 655 - (len(lines) // 2 - 1)
    assert len(served(workspace_root).history) == len(lines) // 2 - 1


def test_a_log_that_says_the_same_in_other_bytes_changes_nothing(shop: Path) -> None:
    run = run_file()
    log = shop / "interactions.csv"
    append(shop, [log.read_text().splitlines(keepends=True)[1]])
    assert "changed since" in glta("recommend", "--user", "u7").stderr
    said = glta("update").stdout
    assert "nothing new for run shop" in said
    assert "1  row left out: duplicate" in said
    assert run_file().stages == run.stages
    assert glta("recommend", "--user", "u7").stderr == ""


def test_whom_the_log_does_not_name_any_more_is_unknown(shop: Path) -> None:
    log = shop / "interactions.csv"
    log.write_text("".join(line for line in log.read_text().splitlines(keepends=True) if not line.startswith("u7,")))
    assert "interactions that are no more" in glta("update").stdout
    with pytest.raises(InputError, match="no user is called 'u7'"):
        glta("recommend", "--user", "u7")


def test_a_file_of_items_that_says_nothing_is_refused(shop: Path) -> None:
    items = shop / "items.csv"
    items.write_text(items.read_text().splitlines(keepends=True)[0])
    with pytest.raises(InputError, match="says nothing of 40 of the 40 items that have a text"):
        glta("update")


def test_a_log_that_shrank_is_a_reason_to_train_again(shop: Path) -> None:
    log = shop / "interactions.csv"
    head, *rows = log.read_text().splitlines(keepends=True)
    log.write_text("".join([head, *rows[: len(rows) // 4 * 3]]))
    said = glta("update").stdout
    assert "fewer interactions" in said
    assert "train again" in said


def test_a_source_that_was_named_is_read_again_whatever_it_said(shop: Path, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere"
    shutil.copytree(shop, other)
    assert "nothing new" in glta("update", "--source", str(other)).stdout
    append(other, ["n8,i3,1700000000\n"])
    assert json.loads(glta("update", "--json").stdout)["new"]["users"] == 1  # the first one is still there, too
    assert "nothing new" in glta("update").stdout


def test_items_that_the_source_names_no_more_are_told(shop: Path) -> None:
    day_two(shop)
    assert json.loads(glta("update", "--json").stdout)["unlisted"] == 0
    log, items = shop / "interactions.csv", shop / "items.csv"
    for file in (log, items):
        file.write_text("".join(line for line in file.read_text().splitlines(True) if "new-film" not in line))
    said = glta("update").stdout
    assert "1  item listed no more, such as new-film" in said
    assert "they are in nobody's answers until they are listed again" in said


def test_a_time_that_was_corrected_is_taken_in(shop: Path) -> None:
    log = shop / "interactions.csv"
    lines = log.read_text().splitlines(keepends=True)
    place = next(number for number, line in enumerate(lines) if line.startswith("u7,"))
    user, item, *rest = lines[place].rstrip("\n").split(",")
    when = [*rest[:-1], "1700000000"]
    log.write_text("".join([*lines[:place], ",".join([user, item, *when]) + "\n", *lines[place + 1 :]]))
    found = json.loads(glta("update", "--json").stdout)
    assert (found["new"]["times"], found["new"]["interactions"], found["newest"]) == (1, 0, "2023-11-14")
    answer = json.loads(glta("recommend", "--user", "u7", "--json").stdout)
    assert answer["history"][0]["item"] == item


def test_an_index_of_an_earlier_training_is_not_put_over_a_later_one(shop: Path, workspace_root: Path) -> None:
    run, workspace = run_file(), Workspace()
    served_index = workspace.published("serving-index", run.stages["serving-index"])
    assert served_index is not None
    workspace.save_run(replace(run, stages={**run.stages, "index": "another", "serving-index": "of another"}))
    record_served("shop", served_index, workspace)
    assert run_file().stages["serving-index"] == "of another"


def test_rows_it_leaves_out_are_counted(shop: Path) -> None:
    append(shop, ["n1,i1,\n", "n1,i2,1700000000\n"])
    said = glta("update").stdout
    assert "1  new user\n" in said
    assert "1  row left out: missing timestamp" in said
    assert "no words of the language model" not in said  # it was made without any


def test_a_run_of_0_1_answers_from_everything_once_it_is_updated(shop: Path, workspace_root: Path) -> None:
    run = run_file()
    Workspace().save_run(replace(run, stages={n: f for n, f in run.stages.items() if n != "serving-index"}))
    shutil.rmtree(workspace_root / "stages" / "serving-index")
    without_parameters(workspace_root)
    assert "glta update" in glta("recommend", "--user", "u7").stderr
    found = glta("update")
    assert "nothing new for run shop" in found.stdout
    assert "answers from 655 interactions until 2020-09-13" in found.stdout
    answered = glta("recommend", "--user", "u7")
    assert "from 655 interactions until 2020-09-13" in answered.stdout
    assert "glta update" not in answered.stderr
    day_two(shop)
    assert json.loads(glta("update", "--json").stdout)["read_out"] == 4
    assert len(recommended("n1")) == 10


def test_it_advises_to_train_again_once_much_is_new(shop: Path) -> None:
    append(shop, [f"u{user},i{39 - user % 3},1700000000\n" for user in range(59)] + ["n1,i1,1700000000\n"] * 9)
    append(shop, [f"n{user},i{user},1700000000\n" for user in range(4)])
    told = glta("update").stdout
    assert "train again with glta update --train: " in told
    assert "more users since it was trained" in told
    # Where the run was named, so it is in the next command: another one may be the latest.
    assert "train again with glta update --run shop --train: " in " ".join(
        glta("update", "--run", "shop").stdout.split()
    )


def test_a_renamed_title_trains_no_encoder_that_reads_no_text(shop: Path, tmp_path: Path) -> None:
    before = run_file().stages
    items = shop / "items.csv"
    items.write_text(items.read_text().replace("i5,Space film 5", "i5,Space film five"))
    said = glta("pretrain-graph", "--recipe", str(tmp_path / "shop.yaml")).stderr
    assert "✓ prepare: table prepared" in said
    assert "✓ pretrain-graph: up to date" in said
    after = run_file().stages
    assert after["pretrain-graph"] == before["pretrain-graph"]
    assert after["prepare"] != before["prepare"]


@pytest.mark.parametrize(
    "overrides",
    [
        ("finetune.head=linear",),
        ("graph.encoder=alpharec",),
        ("graph.encoder=sasrec",),
        ("text.vectors=false", "align.enabled=false"),
        ("finetune.readout=autoregressive",),
    ],
    ids=["linear head", "text encoder", "histories", "no texts", "autoregressive"],
)
def test_every_kind_of_model_takes_in_new_users_and_items(
    overrides: tuple[str, ...], run_toy: Callable[..., Pipeline], toy_table: Path, tmp_path: Path
) -> None:
    workspace = run_toy(*overrides, stage="serving-index", name="kinds").workspace
    root, source = tmp_path / "workspace", tmp_path / "source"
    shutil.copytree(workspace.root, root)
    shutil.copytree(toy_table, source)
    day_two(source)
    options = ("--run", "kinds", "--data-dir", str(root))
    found = json.loads(glta("update", "--source", str(source), "--json", *options).stdout)
    assert (found["new"]["users"], found["new"]["items"], found["read_out"]) == (2, 1, 4)
    assert "Space film 99" in recommended("n1", "-k", "40", *options)
    assert all(np.isfinite(each["score"]) for each in answer_of("n2", *options)["recommendations"])


def test_a_new_user_is_encoded_by_an_encoder_that_reads_histories(
    run_toy: Callable[..., Pipeline], toy_table: Path, tmp_path: Path
) -> None:
    overrides = ("graph.encoder=sasrec", "graph.options.longest_history=5")
    workspace = run_toy(*overrides, stage="serving-index", name="histories").workspace
    root, source = tmp_path / "workspace", tmp_path / "source"
    shutil.copytree(workspace.root, root)
    shutil.copytree(toy_table, source)
    rows = [line.split(",") for line in (source / "interactions.csv").read_text().splitlines()]
    twin = [f"twin,{item},{time}\n" for user, item, time in rows if user == "u7"]
    append(source, [*twin, "met-nothing-known,new-film,1700000000\n"])
    run = ("--run", "histories", "--data-dir", str(root))
    glta("update", "--source", str(source), "--json", *run)
    found = Workspace(root).run("histories")
    assert found is not None
    index = Artefact(root / "stages" / "serving-index" / found.stages["serving-index"])
    users = mapped_tensors(index.file("vectors.safetensors"))["graph_users"]
    places = {name: Index(index).user(name) for name in ("u7", "u8", "twin", "met-nothing-known")}
    # To the rounding of another batch.
    np.testing.assert_allclose(users[places["twin"]], users[places["u7"]], atol=1e-5)
    assert not np.allclose(users[places["twin"]], users[places["u8"]], atol=1e-2)
    assert np.isfinite(users[places["met-nothing-known"]]).all()
