"""What a logger promises (`glta_cli.plugin.StageLogger`)."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import chdir, contextmanager, redirect_stdout
from copy import deepcopy
from dataclasses import dataclass, fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pydantic import BaseModel

from glta_cli.plugin import StageEnd
from glta_cli.testing.contract import Contract, declared

RUN = "toy"
UNUSUAL_RUN = "Läufe von 夏 🌙"


def check_logger(name: str, *, options: Mapping[str, Any] | None = None) -> None:
    """Check the logger of that name, of an installed plugin, in a temporary folder.

    Args:
        options: settings that differ from their defaults, as `loggers.NAME` of a recipe holds them.

    Raises:
        ContractError: it breaks a promise; the message holds all that are broken.
    """
    contract = Contract(f"logger '{name}'")
    component, settings = declared(contract, "logger", name, options)
    logger_promises(contract, component.target(), settings)
    contract.settle()


def logger_promises(contract: Contract, target: Callable[..., Any], settings: BaseModel) -> None:
    """Check the class of a logger with the given settings.

    Args:
        target: makes a logger from settings and a folder.

    Raises:
        ContractError: it cannot be made or told, so that nothing else can be checked.
    """
    with (
        _place(target, settings) as place,
        contract.promise("its target makes a logger from (settings, folder)", decisive=True),
    ):
        place.logger()
    _told_promises(contract, target, settings)
    contract.settle()  # the rest is seen while it is told
    with contract.promise("a run, and so its folder, may be called anything"):
        _check_unusual_run(target, settings)
    with contract.promise("it leaves what it is told as it is"):
        _check_told_stays(target, settings)
    with contract.promise("it writes in its folder alone, and leaves the files of others there as they are"):
        _check_folder(target, settings)
    with contract.promise("it adds to what is there, also to what another logger of its kind left: no file shrinks"):
        _check_growth(target, settings)
    with contract.promise("it prints nothing on stdout, which is for results"):
        _check_silence(target, settings)


# ---------------------------------------------------------------------------------------- what a logger is told


def stage_that_trained(artefact: Path, run: str = RUN) -> StageEnd:
    """A stage of two trainings; epoch 0 has no loss, and not every epoch was validated."""
    epochs = [{"epoch": 0.0, "ndcg@10": 0.11}, {"epoch": 1.0, "loss": 2.5}, {"epoch": 2.0, "loss": 1.5, "ndcg@10": 0.2}]
    return StageEnd(
        run=run,
        stage="pretrain-graph",
        seconds=12.5,
        metrics={"full.best_metric": 0.2, "full.steps": 40, "alignment.best_metric": 0.2},
        history={"full": epochs, "alignment": deepcopy(epochs)},
        recipe={"seed": 0, "dataset": {"name": "table", "source": None}, "loggers": {}},
        artefact=artefact,
    )


def stage_of_one_training(artefact: Path) -> StageEnd:
    """Its only training has no name."""
    end = stage_that_trained(artefact)
    return replace(end, stage="align", metrics={"best_metric": 0.2}, history={"": end.history["full"]})


def stage_without_training(artefact: Path) -> StageEnd:
    """It reports no number."""
    return replace(stage_that_trained(artefact), stage="index", metrics={}, history={})


def evaluation(run: str = RUN) -> StageEnd:
    """It publishes nothing."""
    end = stage_that_trained(Path(), run)
    metrics = {"models.glta.ndcg@10": 0.25, "models.glta.recall@10": 0.5, "users": 60}
    return replace(end, stage="evaluate", metrics=metrics, history={}, artefact=None)


@dataclass(frozen=True)
class _Place:
    """A data folder as a run leaves it, with the run's folder for logs and the folder of a stage."""

    root: Path
    folder: Path
    artefact: Path
    target: Callable[..., Any]
    settings: Any

    def logger(self) -> Any:
        return self.target(self.settings, self.folder)

    def ends(self) -> list[StageEnd]:
        """One of each kind; the first is the longest to tell."""
        return [
            stage_that_trained(self.artefact),
            stage_of_one_training(self.artefact),
            stage_without_training(self.artefact),
            evaluation(),
        ]


@contextmanager
def _place(target: Callable[..., Any], settings: Any, run: str = RUN) -> Iterator[_Place]:
    """A temporary data folder, with the current folder inside it."""
    with TemporaryDirectory() as temporary:
        root = Path(temporary)
        folder, artefact = root / "logs" / run, root / "stages" / "pretrain-graph" / "0123"
        for each in (folder, artefact, root / "logs" / "another", root / "current"):
            each.mkdir(parents=True)
        (root / "logs" / "another" / "notes.txt").write_text("of another run")
        (artefact / "manifest.json").write_text("{}")
        with chdir(root / "current"), redirect_stdout(io.StringIO()):
            yield _Place(root, folder, artefact, target, settings)


# --------------------------------------------------------------------------------------------------- promises


def _told_promises(contract: Contract, target: Callable[..., Any], settings: Any) -> None:
    stages: dict[str, Callable[[Path], StageEnd]] = {
        "it records a stage that trained, twice": stage_that_trained,
        "it records a stage whose only training has no name, twice": stage_of_one_training,
        "it records a stage that reports nothing, twice": stage_without_training,
        "it records an evaluation, which publishes nothing, twice": lambda artefact: evaluation(),
    }
    for text, made in stages.items():
        with contract.promise(text), _place(target, settings) as place:
            logger = place.logger()
            logger.stage_ended(made(place.artefact))
            logger.stage_ended(made(place.artefact))


def _check_unusual_run(target: Callable[..., Any], settings: Any) -> None:
    with _place(target, settings, UNUSUAL_RUN) as place:
        logger = place.logger()
        logger.stage_ended(stage_that_trained(place.artefact, UNUSUAL_RUN))
        logger.stage_ended(evaluation(UNUSUAL_RUN))


def _check_told_stays(target: Callable[..., Any], settings: Any) -> None:
    with _place(target, settings) as place:
        logger = place.logger()
        for end in place.ends():
            before = deepcopy(end)
            logger.stage_ended(end)
            changed = [each.name for each in fields(end) if getattr(end, each.name) != getattr(before, each.name)]
            assert not changed, f"changed of {end.stage}: {', '.join(changed)}"


def _check_folder(target: Callable[..., Any], settings: Any) -> None:
    with _place(target, settings) as place:
        (place.folder / "of-another-logger.txt").write_text("one\ntwo\n")
        before = _contents(place.root)
        logger = place.logger()
        for end in place.ends():
            logger.stage_ended(end)
        after = _contents(place.root)
        logs = place.folder.relative_to(place.root)
        outside = [path for path in after.keys() - before.keys() if logs not in path.parents]
        changed = [path for path in before if after.get(path) != before[path]]
        assert not outside, f"written outside: {', '.join(map(str, sorted(outside)))}"
        assert not changed, f"changed or gone: {', '.join(map(str, sorted(changed)))}"


def _contents(root: Path) -> dict[Path, bytes | None]:
    """Every file below a folder with its bytes, and every folder with None."""
    return {path.relative_to(root): path.read_bytes() if path.is_file() else None for path in root.rglob("*")}


def _check_growth(target: Callable[..., Any], settings: Any) -> None:
    with _place(target, settings) as place:
        sizes: dict[Path, int] = {}
        for teller in ("first", "second"):
            logger = place.logger()
            for end in place.ends():
                logger.stage_ended(end)
                found = {path: len(content) for path, content in _contents(place.folder).items() if content is not None}
                smaller = [str(path) for path, size in sizes.items() if found.get(path, -1) < size]
                assert not smaller, f"smaller or gone after the {teller} was told of {end.stage}: {', '.join(smaller)}"
                sizes = found


def _check_silence(target: Callable[..., Any], settings: Any) -> None:
    printed = io.StringIO()
    with _place(target, settings) as place, redirect_stdout(printed):
        logger = place.logger()
        for end in place.ends():
            logger.stage_ended(end)
    assert not printed.getvalue(), f"it prints {printed.getvalue()[:80]!r}"
