"""Baselines fitted once: what each learnt is published, and read again by whoever needs the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.markup import escape

from glta_cli.core.errors import BusyError, InputError
from glta_cli.core.files import fingerprint
from glta_cli.core.interruption import stops_after
from glta_cli.core.storage import ReadOnlyError
from glta_cli.core.tensors import read_arrays, write_tensors
from glta_cli.core.terminal import say
from glta_cli.data.prepared import PreparedDataset
from glta_cli.plugin import Baseline, BaselineData, Term, chosen_settings
from glta_cli.plugin.component import Component
from glta_cli.plugin.identity import component_identity
from glta_cli.plugin.interactions import Interactions
from glta_cli.plugin.registry import installed
from glta_cli.plugin.scorer import Scorer
from glta_cli.ranking.selection import quality_while_fitted
from glta_cli.recipe.positioned_yaml import Key
from glta_cli.recipe.selection import own_settings
from glta_cli.stages.baseline_checks import checked_arrays, checked_scorer, checked_term
from glta_cli.stages.baseline_descent import Descent, epoch_quality
from glta_cli.workspace.artefact import SCHEMA_VERSION, Artefact
from glta_cli.workspace.workspace import Workspace

if TYPE_CHECKING:
    from pydantic import BaseModel

STAGE = "baseline"
LEARNT = "learnt.safetensors"
EVALUATED: Key = ("evaluate", "baselines")


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
    settings = own_settings("baseline", name, options, (*EVALUATED, name))
    return MadeBaseline(component, settings, component.build(settings))


@dataclass(frozen=True)
class FittingGround:
    """What baselines are fitted on, and where what they learn is published.

    Attributes:
        vectors: the artefact of the item vectors, for those that ask for them.
        texts: of each item, [I]; None where there are none.
        dealt: what decides which text is an item's, where that is another than the dataset's own.
        kept_or_refused: false: where nothing can be published, a fit is for whoever asked alone.
    """

    prepared: PreparedDataset
    workspace: Workspace
    device: torch.device
    seed: int
    vectors: Callable[[], Artefact]
    texts: Callable[[], Sequence[str] | None]
    dealt: Mapping[str, Any] = field(default_factory=dict)
    kept_or_refused: bool = True

    @cached_property
    def train(self) -> Interactions:
        """One object for all fits: rows that share what they solve for a log hold it as long as there is the log."""
        return self.prepared.split("train")


@dataclass(frozen=True)
class FittedBaseline:
    """A baseline that can rank.

    Attributes:
        score: by the histories at test time; checked.
        validation_score: by training histories; checked.
        artefact: what it learnt.
        parents: what it learnt that from, beside the dataset.
        was_there: whether it was fitted before.
        chosen: settings that were `auto`, with the numbers it chose.
        term: by histories, the form an index can keep; checked.
    """

    score: Scorer
    validation_score: Scorer
    artefact: Artefact
    parents: list[Artefact]
    was_there: bool
    chosen: dict[str, Any]
    term: Callable[[Interactions], Term]


def fitted_on(made: MadeBaseline, ground: FittingGround) -> FittedBaseline:
    """A baseline that is fitted now where it was not before.

    Raises:
        GltaError: what it learnt is not named arrays; later, at scoring: its scores are not `float32` [B, I].
        BusyError: another process fits it, and nothing is to be fitted that is not kept.
    """
    prepared = ground.prepared
    inputs = {"prepare": prepared.artefact.fingerprint}
    vectors = ground.vectors() if needs_text_vectors(made) else None
    if vectors is not None:
        inputs[vectors.stage] = vectors.fingerprint
    depends = {
        "baseline": made.name,
        "options": fitting_settings(made),
        "plugin": component_identity(made.component),
        "seed": ground.seed if uses_seed(made) else None,
        **ground.dealt,
    }
    identity = fingerprint([SCHEMA_VERSION, STAGE, depends, inputs])

    def publish(workspace: Workspace = ground.workspace) -> Artefact:
        say(f"[cyan]▸[/] {STAGE}: {escape(made.name)}")
        return workspace.publish(
            STAGE,
            identity,
            partial(_fit, made, ground, vectors, workspace.root / "states" / f"{STAGE}-{identity}"),
            settings=depends,
            inputs=inputs,
            seed=ground.seed,
        )

    try:
        artefact, was_there = ground.workspace.published_or_made(STAGE, identity, publish)
        learnt = _learnt(artefact)
    except (BusyError, ReadOnlyError) as error:
        if ground.kept_or_refused:
            raise
        # Who evaluates wants to know, not to keep: another process, or a folder that is read-only, is no hindrance.
        say(f"[yellow]warning[/]: {escape(error.problem)}; {escape(made.name)} is fitted for this evaluation alone")
        with TemporaryDirectory(prefix="glta-") as folder:
            artefact, was_there = publish(Workspace(Path(folder))), False
            learnt = _learnt(artefact)
    # Of a new one: what it learnt is in the arrays alone, whether it was fitted now or years ago.
    baseline: Any = made.component.build(made.settings)
    train = prepared.split("train")

    def scorer(histories: Interactions) -> Scorer:
        made_now = deferred_scorer(lambda: baseline.scorer(_known(baseline, learnt, train, histories), histories))
        return checked_scorer(made_now, made.name, prepared.item_count)

    def term(histories: Interactions) -> Term:
        return checked_term(baseline.term(_known(baseline, learnt, train, histories), histories), made.name, histories)

    validation_score = scorer(prepared.histories_at_validation() if prepared.hides == "users" else train)
    score = scorer(prepared.histories_at_test()) if prepared.histories_differ else validation_score
    parents = [] if vectors is None else [vectors]
    chosen = chosen_settings(made.settings, learnt)
    return FittedBaseline(score, validation_score, artefact, parents, was_there, chosen, term)


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


def _fit(
    made: MadeBaseline, ground: FittingGround, vectors: Artefact | None, state_folder: Path, folder: Path
) -> dict[str, Any]:
    descend = descent_of(made, ground, state_folder)
    arrays = learnt_now(made, ground, vectors, descend)
    write_tensors(folder / LEARNT, arrays)
    shapes = {key: list(array.shape) for key, array in arrays.items()}
    return {"baseline": made.name, "arrays": shapes, **descend.told}


def descent_of(made: MadeBaseline, ground: FittingGround, state_folder: Path) -> Descent:
    """What trains a baseline step by step; states are saved in that folder."""
    return Descent(made.name, epoch_quality(ground.prepared, ground.seed if uses_seed(made) else 0), state_folder)


def learnt_now(
    made: MadeBaseline, ground: FittingGround, vectors: Artefact | None, descend: Descent
) -> dict[str, NDArray[Any]]:
    """What a baseline learns, checked; nothing is published.

    Args:
        descend: trains one that is trained step by step.

    Raises:
        GltaError: it is not named arrays.
    """
    prepared = ground.prepared
    data = BaselineData(
        train=ground.train,
        validation=prepared.split("valid"),
        texts=ground.texts(),
        seed=ground.seed,
        device=ground.device,
        text_vectors=None if vectors is None else _read_vectors(vectors),
        quality=quality_while_fitted(prepared),
        descend=descend,
    )
    # What solves for all items at once cannot be cut short.
    with stops_after(f"the fit of {made.name}", kept=f"{made.name} is fitted again, what was fitted before is kept"):
        return checked_arrays(made.baseline.fit(data), made.name)


def _read_vectors(artefact: Artefact) -> NDArray[np.float32]:
    # transformers comes with it, for which those without item texts shall not wait.
    from glta_cli.stages.context import VECTORS

    return read_arrays(artefact.file(VECTORS), "vectors")["vectors"]


# ------------------------------------------------------------------------------------ what a baseline says of itself


def needs_text_vectors(made: MadeBaseline) -> bool:
    return bool(getattr(made.baseline, "needs_text_vectors", False))


def uses_seed(made: MadeBaseline) -> bool:
    return bool(getattr(made.baseline, "uses_seed", True))


def scoring_settings(made: MadeBaseline) -> tuple[str, ...]:
    return tuple(getattr(made.baseline, "scoring_settings", ()))


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


def require_term(name: str, location: str) -> None:
    """Raise `InputError` where a baseline cannot be kept in an index; imports it."""
    if not hasattr(installed().find("baseline", name).target(), "term"):
        raise InputError(
            f"the baseline '{name}' ranks in an evaluation alone: it has no form that an index can keep (`term`)",
            location=location,
            hint="leave it out, or name a linear one: ease, item-knn",
        )
