"""The checks of loggers: the shipped ones pass, and each broken one is told the promise it breaks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from glta_cli.plugin import Settings, StageEnd
from glta_cli.testing import ContractError, check_logger
from glta_cli.testing.contract import Contract
from glta_cli.testing.logger import logger_promises


class NoSettings(Settings):
    """Nothing to set."""


class Diary:
    """A line a stage, and every promise kept; the classes below break one each."""

    def __init__(self, settings: Any, folder: Path) -> None:
        self.folder = folder

    def stage_ended(self, end: StageEnd) -> None:
        self.write(f"{end.stage} of {end.run}: {dict(end.metrics)} {dict(end.history)}")

    def write(self, text: str) -> None:
        with (self.folder / "diary.txt").open("a", encoding="utf-8") as file:
            file.write(text + "\n")


def check(contract: Contract, target: Callable[..., Any]) -> None:
    logger_promises(contract, target, NoSettings())
    contract.settle()


def breaches(target: Callable[..., Any]) -> list[str]:
    """What a logger is told, promise by promise."""
    contract = Contract("logger 'mine'")
    with pytest.raises(ContractError) as told:
        check(contract, target)
    assert all(breach in str(told.value) for breach in contract.breaches)
    return contract.breaches


@pytest.mark.parametrize("name", ["jsonl", "tensorboard"])
def test_shipped_loggers_keep_every_promise(name: str) -> None:
    check_logger(name)


def test_options_reach_the_logger(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"in its folder alone.*\n.*written outside: beside[.]jsonl"):
        check_logger("jsonl", options={"file": "../../beside.jsonl"})


def test_the_current_folder_is_left_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    logger_promises(Contract("mine"), Diary, NoSettings())
    assert Path.cwd() == tmp_path
    assert list(tmp_path.iterdir()) == []


class OtherConstructor(Diary):
    def __init__(self, settings: Any, folder: Path, run: str) -> None: ...


class MissesAFolder(Diary):
    def __init__(self, settings: Any, folder: Path) -> None:
        folder.mkdir()


class NeedsALoss(Diary):
    def stage_ended(self, end: StageEnd) -> None:
        for epochs in end.history.values():
            self.write(f"loss {epochs[0]['loss'] if '' not in end.history else epochs[-1]['loss']}")


class NeedsNames(Diary):
    def stage_ended(self, end: StageEnd) -> None:
        for training in end.history:
            self.write(training[0])


class NeedsNumbers(Diary):
    def stage_ended(self, end: StageEnd) -> None:
        self.write(max(end.metrics))


class NeedsAnArtefact(Diary):
    def stage_ended(self, end: StageEnd) -> None:
        self.write(end.artefact.name)


class MakesAFolderForEachStage(Diary):
    def stage_ended(self, end: StageEnd) -> None:
        if end.stage == "evaluate":
            (self.folder / "evaluate").mkdir()


class WritesAscii(Diary):
    def write(self, text: str) -> None:
        with (self.folder / "diary.txt").open("a", encoding="ascii") as file:
            file.write(text)


class TakesFromTheHistory(Diary):
    def stage_ended(self, end: StageEnd) -> None:
        for epochs in end.history.values():
            epochs[0].pop("epoch")


class FillsTheRecipe(Diary):
    def stage_ended(self, end: StageEnd) -> None:
        end.recipe["loggers"]["mine"] = {}


class WritesBeside(Diary):
    def write(self, text: str) -> None:
        (self.folder.parent / "index.txt").write_text(text, encoding="utf-8")


class WritesWhereItStands(Diary):
    def write(self, text: str) -> None:
        Path("diary.txt").write_text(text, encoding="utf-8")


class MarksTheArtefact(Diary):
    def stage_ended(self, end: StageEnd) -> None:
        if end.artefact is not None and (end.artefact / "manifest.json").exists():
            (end.artefact / "manifest.json").write_text(json.dumps({"logged": True}))


class TidiesUp(Diary):
    def __init__(self, settings: Any, folder: Path) -> None:
        super().__init__(settings, folder)
        for path in folder.glob("*.txt"):
            if path.name != "diary.txt":
                path.unlink()


class BeginsAnew(Diary):
    def __init__(self, settings: Any, folder: Path) -> None:
        super().__init__(settings, folder)
        (folder / "diary.txt").write_text("")


class KeepsTheLast(Diary):
    def write(self, text: str) -> None:
        (self.folder / "diary.txt").write_text(text, encoding="utf-8")


class RotatesAway(Diary):
    def __init__(self, settings: Any, folder: Path) -> None:
        super().__init__(settings, folder)
        (folder / "diary.txt").unlink(missing_ok=True)


class Prints(Diary):
    def stage_ended(self, end: StageEnd) -> None:
        print(f"{end.stage} has ended")


EVALUATION = "it records an evaluation, which publishes nothing, twice"
ALONE = "it writes in its folder alone"
ADDS = "it adds to what is there"


@pytest.mark.parametrize(
    ("target", "promise", "seen"),
    [
        (OtherConstructor, "its target makes a logger from (settings, folder)", "'run'"),
        (MissesAFolder, "its target makes a logger from (settings, folder)", "FileExistsError"),
        (NeedsALoss, "it records a stage that trained, twice", "KeyError: 'loss'"),
        (NeedsNames, "it records a stage whose only training has no name, twice", "IndexError"),
        (NeedsNumbers, "it records a stage that reports nothing, twice", "ValueError: max()"),
        (NeedsAnArtefact, EVALUATION, "'NoneType' object has no attribute 'name'"),
        (MakesAFolderForEachStage, EVALUATION, "FileExistsError"),
        (WritesAscii, "a run, and so its folder, may be called anything", "UnicodeEncodeError"),
        (TakesFromTheHistory, "it leaves what it is told as it is", "changed of pretrain-graph: history"),
        (FillsTheRecipe, "it leaves what it is told as it is", "changed of pretrain-graph: recipe"),
        (WritesBeside, ALONE, "written outside: logs/index.txt"),
        (WritesWhereItStands, ALONE, "written outside: current/diary.txt"),
        (MarksTheArtefact, ALONE, "changed or gone: stages/pretrain-graph/0123/manifest.json"),
        (TidiesUp, ALONE, "changed or gone: logs/toy/of-another-logger.txt"),
        (BeginsAnew, ADDS, "after the second was told of pretrain-graph: diary.txt"),
        (KeepsTheLast, ADDS, "after the first was told of align: diary.txt"),
        (RotatesAway, ADDS, "after the second was told of pretrain-graph: diary.txt"),
        (Prints, "it prints nothing on stdout", "it prints 'pretrain-graph has ended"),
    ],
)
def test_a_broken_logger_is_told_the_promise_it_breaks_and_no_other(
    target: Callable[..., Any], promise: str, seen: str
) -> None:
    [breach] = breaches(target)
    assert breach.startswith(promise)
    assert seen in breach
