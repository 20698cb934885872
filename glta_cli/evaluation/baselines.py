"""Baselines fitted once: what each learnt is published, and read again by the next evaluation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rich.markup import escape

from glta_cli.core.errors import BusyError, GltaError, InputError
from glta_cli.core.files import fingerprint
from glta_cli.core.interruption import stops_after
from glta_cli.core.storage import ReadOnlyError
from glta_cli.core.tensors import read_arrays, write_tensors
from glta_cli.core.terminal import say
from glta_cli.plugin import Baseline, BaselineData
from glta_cli.plugin.component import Component
from glta_cli.plugin.identity import component_identity
from glta_cli.plugin.interactions import Interactions
from glta_cli.plugin.registry import installed
from glta_cli.plugin.scorer import Scorer
from glta_cli.recipe.selection import own_settings, require_reader
from glta_cli.workspace.artefact import SCHEMA_VERSION, Artefact
from glta_cli.workspace.workspace import Workspace

if TYPE_CHECKING:
    from pydantic import BaseModel

    from glta_cli.stages.pipeline import Pipeline

STAGE = "baseline"
LEARNT = "learnt.safetensors"
# The rows of the model in a report; the encoder's has the encoder's name.
MODEL_ROW, LANGUAGE_ROW = "glta", "glta-llm"
# Safetensors holds all real numbers of numpy but those of more bytes, long doubles.
LARGEST_NUMBER = 8
# Safetensors keeps words about the file under this name.
METADATA = "__metadata__"


@dataclass(frozen=True)
class MadeBaseline:
    """A baseline with its settings, made and not yet fitted."""

    component: Component
    settings: BaseModel
    baseline: Baseline

    @property
    def name(self) -> str:
        return self.component.name


def made_baseline(name: str, options: Mapping[str, Any]) -> MadeBaseline:
    """One baseline with its own settings, as a recipe has them.

    Raises:
        InputError: no such baseline, or wrong settings.
        GltaError: it cannot be imported or made.
    """
    component = installed().find("baseline", name)
    settings = own_settings("baseline", name, options, ("evaluate", "baselines", name))
    return MadeBaseline(component, settings, component.build(settings))


@dataclass(frozen=True)
class FittedBaseline:
    """A baseline that can rank.

    Attributes:
        score: by the histories at test time; checked.
        validation_score: by training histories; checked.
        artefact: what it learnt.
        parents: what it learnt that from, beside the dataset.
        was_there: whether it was fitted before.
    """

    score: Scorer
    validation_score: Scorer
    artefact: Artefact
    parents: list[Artefact]
    was_there: bool


def fitted_baseline(made: MadeBaseline, pipeline: Pipeline) -> FittedBaseline:
    """A baseline on the run's dataset, fitted now where it was not before.

    Raises:
        GltaError: what it learnt is not named arrays; later, at scoring: its scores are not `float32` [B, I].
    """
    prepared = pipeline.prepared()
    inputs = {"prepare": prepared.artefact.fingerprint}
    vectors = _text_vectors(made, pipeline)
    if vectors is not None:
        inputs[vectors.stage] = vectors.fingerprint
    depends = {
        "baseline": made.name,
        "options": fitting_settings(made),
        "plugin": component_identity(made.component),
        "seed": pipeline.recipe.seed if uses_seed(made) else None,
    }
    identity = fingerprint([SCHEMA_VERSION, STAGE, depends, inputs])

    def publish(workspace: Workspace = pipeline.workspace) -> Artefact:
        say(f"[cyan]▸[/] {STAGE}: {escape(made.name)}")
        return workspace.publish(
            STAGE,
            identity,
            partial(_fit, made, pipeline, vectors),
            settings=depends,
            inputs=inputs,
            seed=pipeline.recipe.seed,
        )

    try:
        artefact, was_there = pipeline.workspace.published_or_made(STAGE, identity, publish)
        learnt = _learnt(artefact)
    except (BusyError, ReadOnlyError) as error:
        # Who evaluates wants to know, not to keep: another process, or a folder that is read-only, is no hindrance.
        say(f"[yellow]warning[/]: {escape(error.problem)}; {escape(made.name)} is fitted for this evaluation alone")
        with TemporaryDirectory(prefix="glta-") as folder:
            artefact, was_there = publish(Workspace(Path(folder))), False
            learnt = _learnt(artefact)
    # Of a new one: what it learnt is in the arrays alone, whether it was fitted now or years ago.
    baseline: Baseline = made.component.build(made.settings)
    train = prepared.split("train")

    def scorer(histories: Interactions) -> Scorer:
        made_now = deferred_scorer(lambda: baseline.scorer(_known(baseline, learnt, train, histories), histories))
        return checked_scorer(made_now, made.name, prepared.item_count)

    validation_score = scorer(prepared.histories_at_validation() if prepared.hides == "users" else train)
    score = scorer(prepared.histories_at_test()) if prepared.histories_differ else validation_score
    return FittedBaseline(score, validation_score, artefact, [] if vectors is None else [vectors], was_there)


def _known(
    baseline: Any, learnt: Mapping[str, NDArray[Any]], train: Interactions, histories: Interactions
) -> Mapping[str, NDArray[Any]]:
    """What a baseline knows of users with these histories, where it learns something of each user."""
    if histories is train or not hasattr(baseline, "fold_in"):
        return learnt
    known: Mapping[str, NDArray[Any]] = baseline.fold_in(learnt, train, histories)
    return known


def deferred_scorer(make: Callable[[], Scorer]) -> Scorer:
    """A scorer that is made when it is first asked, and then kept."""
    made = cache(make)
    return lambda users: made()(users)


def _learnt(artefact: Artefact) -> dict[str, NDArray[Any]]:
    return read_arrays(artefact.file(LEARNT), *artefact.details["arrays"])


def require_texts(made: MadeBaseline, pipeline: Pipeline) -> None:
    """Raise `InputError` where a baseline needs item texts, and the dataset has none or the backbone reads none."""
    if not needs_text_vectors(made):
        return
    prepared = pipeline.prepared()
    if not prepared.has_text:
        raise InputError(
            f"the baseline '{made.name}' needs item texts, and {prepared.name} was prepared without any",
            hint="leave it out",
        )
    require_reader(pipeline.recipe, f"the baseline '{made.name}'", "leave it out")


def needs_text_vectors(made: MadeBaseline) -> bool:
    return bool(getattr(made.baseline, "needs_text_vectors", False))


def tell_of_unused_weights(made: MadeBaseline, pipeline: Pipeline) -> None:
    """Say so where interactions have weights and a baseline does not use them."""
    if pipeline.prepared().weighted and not getattr(made.baseline, "uses_weights", False):
        say(f"{escape(made.name)} takes every interaction alike: it does not use weights")


def uses_seed(made: MadeBaseline) -> bool:
    return bool(getattr(made.baseline, "uses_seed", True))


def fitting_settings(made: MadeBaseline) -> dict[str, Any]:
    """Its settings but for those that scoring alone reads: what is learnt is the same whatever they are."""
    return made.settings.model_dump(mode="json", exclude=set(scoring_settings(made)))


def without_scoring_defaults(made: MadeBaseline, settings: dict[str, Any]) -> dict[str, Any]:
    """Settings without those that scoring alone reads where they have their defaults.

    A baseline that gets such a setting is, with its default, what it was before.
    """
    usual = type(made.settings).model_fields
    return {
        name: value
        for name, value in settings.items()
        if name not in scoring_settings(made) or getattr(made.settings, name) != usual[name].default
    }


def scoring_settings(made: MadeBaseline) -> tuple[str, ...]:
    return tuple(getattr(made.baseline, "scoring_settings", ()))


def _text_vectors(made: MadeBaseline, pipeline: Pipeline) -> Artefact | None:
    """The item vectors of the recipe, made now where they are not, for a baseline that asks for them.

    Raises:
        InputError: as `require_texts`.
    """
    require_texts(made, pipeline)
    return pipeline.beside("encode-items") if needs_text_vectors(made) else None


def _fit(made: MadeBaseline, pipeline: Pipeline, vectors: Artefact | None, folder: Path) -> dict[str, Any]:
    from glta_cli.training.loop import pick_device

    prepared = pipeline.prepared()
    data = BaselineData(
        train=prepared.split("train"),
        validation=prepared.split("valid"),
        texts=prepared.texts if prepared.has_text else None,
        seed=pipeline.recipe.seed,
        device=pick_device(pipeline.device),
        text_vectors=None if vectors is None else _read_vectors(vectors),
    )
    # What solves for all items at once cannot be cut short.
    with stops_after(f"the fit of {made.name}", kept=f"{made.name} is fitted again, what was fitted before is kept"):
        learnt = made.baseline.fit(data)
    arrays = checked_arrays(learnt, made.name)
    write_tensors(folder / LEARNT, arrays)
    return {"baseline": made.name, "arrays": {key: list(array.shape) for key, array in arrays.items()}}


def _read_vectors(artefact: Artefact) -> NDArray[np.float32]:
    # transformers comes with it, for which those without item texts shall not wait.
    from glta_cli.stages.context import VECTORS

    return read_arrays(artefact.file(VECTORS), "vectors")["vectors"]


# ---------------------------------------------------------------------------------- what a baseline has to give


def checked_arrays(learnt: Any, name: str) -> dict[str, NDArray[Any]]:
    """What `fit` returned, contiguous; raises `GltaError` unless it is named arrays of numbers, at least one."""
    if not isinstance(learnt, Mapping) or not all(
        isinstance(key, str) and isinstance(array, np.ndarray) and array.dtype.kind in "biuf"
        for key, array in learnt.items()
    ):
        raise GltaError(
            f"what the baseline '{name}' learnt is not a mapping of names to arrays of numbers: {_seen(learnt)}"
        )
    if not learnt:
        raise GltaError(f"the baseline '{name}' learnt nothing: the mapping is empty")
    if METADATA in learnt:
        raise GltaError(f"the baseline '{name}' calls an array {METADATA}, a name safetensors keeps for itself")
    for key, array in learnt.items():
        if array.dtype.itemsize > LARGEST_NUMBER:
            raise GltaError(f"the baseline '{name}' learnt '{key}' as {array.dtype}, which safetensors cannot hold")
    return {key: np.asarray(array, order="C") for key, array in learnt.items()}


def _seen(learnt: Any) -> str:
    if not isinstance(learnt, Mapping):
        return f"a {type(learnt).__name__}"
    return ", ".join(f"{key!r} is {_kind(array)}" for key, array in learnt.items())


def _kind(array: Any) -> str:
    return f"of {array.dtype}" if isinstance(array, np.ndarray) else f"a {type(array).__name__}"


def checked_scorer(score: Scorer, name: str, items: int) -> Scorer:
    """The same scores, of a catalogue of so many items; raises `GltaError` that names the baseline where they are none.

    The ranking masks with minus infinity: integers cannot hold it, and among scores it would let seen items in.
    """

    def checked(users: NDArray[np.int64]) -> NDArray[np.float32]:
        scores = score(users)
        problem = score_problem(scores, (len(users), items))
        if problem is not None:
            raise GltaError(
                f"the scores of the baseline '{name}' cannot be ranked: {problem}",
                hint="its scorer has to give float32 [B, I], every score finite; tell its author",
            )
        return scores

    return checked


def score_problem(scores: Any, shape: tuple[int, int]) -> str | None:
    """What is wrong with what a scorer gave for users and items of that shape; None where nothing is."""
    if type(scores) is not np.ndarray:
        return f"it gives a {type(scores).__name__}"
    if scores.shape != shape:
        return f"its shape is {list(scores.shape)}, not {list(shape)}"
    if scores.dtype != np.float32:
        return f"it gives {scores.dtype}"
    # Their sum is finite only where they are, and asks for less time than each of them.
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(scores.sum()):
            return None
    wild = np.unique(scores[~np.isfinite(scores)])
    return f"among the scores: {', '.join(map(str, wild))}" if len(wild) else None
