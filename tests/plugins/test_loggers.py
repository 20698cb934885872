"""The shipped loggers hold what they were told, read back by what their users read them with."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from glta_loggers.jsonl import JsonLines
from glta_loggers.settings import JsonLinesSettings, TensorBoardSettings

from glta_cli.plugin import StageEnd

EPOCHS = [{"epoch": 0.0, "ndcg@10": 0.125}, {"epoch": 1.0, "loss": 2.5}, {"epoch": 2.0, "loss": 1.5, "ndcg@10": 0.25}]


def ended(**changed: Any) -> StageEnd:
    values: dict[str, Any] = {
        "run": "夏",
        "stage": "pretrain-graph",
        "seconds": 1.5,
        "metrics": {"full.best_metric": 0.25},
        "history": {"full": EPOCHS, "alignment": EPOCHS[:2]},
        "recipe": {"seed": 0},
        "artefact": Path("stages") / "pretrain-graph" / "0123",
    }
    return StageEnd(**(values | changed))


EVALUATION = ended(stage="evaluate", metrics={"models.glta.ndcg@10": 0.5}, history={}, artefact=None)


def test_a_line_of_json_holds_a_stage_with_its_epochs(tmp_path: Path) -> None:
    for end in (ended(), EVALUATION):
        JsonLines(JsonLinesSettings(), tmp_path).stage_ended(end)
    text = (tmp_path / "stages.jsonl").read_text(encoding="utf-8")
    first, second = (json.loads(line) for line in text.splitlines())
    assert "夏" in text
    time = datetime.fromisoformat(first.pop("time"))
    assert timedelta() <= datetime.now(UTC) - time < timedelta(minutes=5)
    assert first == {
        "run": "夏",
        "stage": "pretrain-graph",
        "seconds": 1.5,
        "metrics": {"full.best_metric": 0.25},
        "history": {"full": EPOCHS, "alignment": EPOCHS[:2]},
        "artefact": str(Path("stages") / "pretrain-graph" / "0123"),
    }
    assert (second["stage"], second["metrics"], second["history"], second["artefact"]) == (
        "evaluate",
        {"models.glta.ndcg@10": 0.5},
        {},
        None,
    )


def test_lines_of_json_go_where_the_settings_say(tmp_path: Path) -> None:
    elsewhere = tmp_path / "all.jsonl"
    (tmp_path / "logs").mkdir()
    for file in ("mine.jsonl", str(elsewhere)):
        JsonLines(JsonLinesSettings(file=file), tmp_path / "logs").stage_ended(EVALUATION)
    assert [path.name for path in (tmp_path / "logs").iterdir()] == ["mine.jsonl"]
    assert len(elsewhere.read_text().splitlines()) == 1


def test_lines_of_json_may_go_into_a_folder_of_their_own(tmp_path: Path) -> None:
    for file in ("a/b.jsonl", str(tmp_path / "elsewhere" / "all.jsonl")):
        logger = JsonLines(JsonLinesSettings(file=file), tmp_path)
        assert (tmp_path / file).parent.is_dir()  # what cannot be made is said before anything runs
        logger.stage_ended(EVALUATION)
        assert len((tmp_path / file).read_text().splitlines()) == 1


def test_numbers_that_are_not_finite_become_null(tmp_path: Path) -> None:
    epochs = [{"epoch": 1.0, "loss": float("inf")}, {"epoch": 2.0, "loss": float("nan")}]
    end = ended(metrics={"best": float("-inf"), "steps": 3}, history={"full": epochs})
    JsonLines(JsonLinesSettings(), tmp_path).stage_ended(end)

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    line = json.loads((tmp_path / "stages.jsonl").read_text(), parse_constant=refuse)
    assert line["metrics"] == {"best": None, "steps": 3}
    assert line["history"] == {"full": [{"epoch": 1.0, "loss": None}, {"epoch": 2.0, "loss": None}]}


def test_event_files_hold_the_curves_of_every_training(tmp_path: Path) -> None:
    from glta_loggers.tensorboard import TensorBoard
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    # The second is made for the evaluation by another command, and adds to the first.
    for end in (ended(), EVALUATION, ended(stage="align", metrics={}, history={"": EPOCHS})):
        TensorBoard(TensorBoardSettings(folder="events"), tmp_path).stage_ended(end)
    events = EventAccumulator(str(tmp_path / "events"))
    events.Reload()
    curves = {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    assert curves == {
        "pretrain-graph/full/loss": [(1, 2.5), (2, 1.5)],
        "pretrain-graph/full/ndcg@10": [(0, 0.125), (2, 0.25)],
        "pretrain-graph/alignment/loss": [(1, 2.5)],
        "pretrain-graph/alignment/ndcg@10": [(0, 0.125)],
        "pretrain-graph/full.best_metric": [(0, 0.25)],
        "pretrain-graph/seconds": [(0, 1.5)],
        "evaluate/models.glta.ndcg@10": [(0, 0.5)],
        "evaluate/seconds": [(0, 1.5)],
        "align/loss": [(1, 2.5), (2, 1.5)],
        "align/ndcg@10": [(0, 0.125), (2, 0.25)],
        "align/seconds": [(0, 1.5)],
    }
