"""The rungs of the ladder, from the plainest linear row to what is served, and what a run lacks for some of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from glta_cli.core.errors import GltaError, InputError
from glta_cli.evaluation.control_rows import LanguageModelRow, OnOtherVectors, OwnEncoderRow, ServedRowOfRun
from glta_cli.evaluation.listed_rows import compared_rows
from glta_cli.evaluation.rows import BaselineRow, Row
from glta_cli.plugin.registry import installed
from glta_cli.recipe.fused_terms import LINEAR, terms_of
from glta_cli.recipe.schema import Recipe
from glta_cli.recipe.selection import reads_text, text_reader
from glta_cli.recipe.shipped_variants import VARIANTS

if TYPE_CHECKING:
    from glta_cli.stages.pipeline import Pipeline

BASE: Final = "base"
"""Stands for the linear row that is best on validation, among what a rung is compared with."""

# What a rung may need that not every run has.
TEXTS, LANGUAGE_MODEL, WEIGHTS, TRANSFORMER = "texts", "language model", "weights", "transformer"
LINEAR_ROWS: Final = ("ease", "ease-text", "l3ae")
TRANSFORMERS: Final = ("sasrec-text", "sasrec")
"""Trained from nothing; of these the first that there is."""


@dataclass(frozen=True)
class Step:
    """One rung.

    Attributes:
        name: in JSON.
        shown: in the table; `{base}`, `{llm}`, `{transformer}` and `{encoder}` are filled in.
        against: the rungs it may be compared with, of which the first is taken that there is.
        row: makes its row or, where it is added to the base, that of the other term.
        added: whether what ranks is the base and the row, weighed and added up.
        may_be_base: whether it is one of the linear rows the base is chosen from.
        needs: what it cannot do without: baselines by name, and those above.
    """

    name: str
    shown: str
    against: tuple[str, ...]
    row: Callable[[Pipeline], Row]
    added: bool = False
    may_be_base: bool = False
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ladder:
    """The rungs a run can climb, in order, and by name why the others are left out."""

    steps: tuple[Step, ...]
    left_out: Mapping[str, str]


def _baseline(name: str, pipeline: Pipeline) -> BaselineRow:
    """A baseline as the recipe sets it."""
    recipe = pipeline.recipe
    [row] = compared_rows({name: recipe.evaluate.baselines.get(name, {})}, recipe)
    assert isinstance(row, BaselineRow)
    return row


def _on_other_vectors(name: str, changes: Mapping[str, Any], pipeline: Pipeline) -> Row:
    return OnOtherVectors(name, _baseline("l3ae", pipeline), changes)


def _language_model(pipeline: Pipeline) -> Row:
    return LanguageModelRow(pipeline.recipe.backbone.name, {})


def _twin(pipeline: Pipeline) -> Row:
    return LanguageModelRow("random-weights", VARIANTS["random-weights"])


def _encoder(pipeline: Pipeline) -> Row:
    return OwnEncoderRow(pipeline.recipe.graph.encoder)


def _transformer(pipeline: Pipeline) -> Row:
    name = _transformer_of(pipeline)
    assert name is not None, "a rung is left out where what it needs is missing"
    rows = compared_rows({name: pipeline.recipe.evaluate.baselines.get(name, {})}, pipeline.recipe)
    return rows[0] if rows else OwnEncoderRow(name)  # none where it is the run's own encoder


def _served(pipeline: Pipeline) -> Row:
    return ServedRowOfRun("glta")


STEPS: Final = (
    Step("ease", "ease", (), partial(_baseline, "ease"), may_be_base=True, needs=("ease",)),
    Step(
        "ease-text",
        "ease-text",
        ("ease",),
        partial(_baseline, "ease-text"),
        may_be_base=True,
        needs=("ease-text", TEXTS),
    ),
    Step("l3ae", "l3ae", ("ease-text",), partial(_baseline, "l3ae"), may_be_base=True, needs=("l3ae", TEXTS)),
    Step(
        "l3ae-random-vectors",
        "l3ae, text vectors of random weights",
        ("l3ae",),
        partial(_on_other_vectors, "l3ae-random-vectors", {"weights": "random"}),
        needs=("l3ae", TEXTS),
    ),
    Step(
        "l3ae-shuffled-texts",
        "l3ae, texts of other items",
        ("l3ae",),
        partial(_on_other_vectors, "l3ae-shuffled-texts", {"shuffled": True}),
        needs=("l3ae", TEXTS),
    ),
    Step("language-model", "{base} + {llm}", (BASE,), _language_model, added=True, needs=(LANGUAGE_MODEL,)),
    Step(
        "random-weights",
        "{base} + {llm} of random weights",
        ("language-model",),
        _twin,
        added=True,
        needs=(LANGUAGE_MODEL, WEIGHTS),
    ),
    Step(
        "transformer",
        "{base} + {transformer}",
        ("language-model", BASE),
        _transformer,
        added=True,
        needs=(TRANSFORMER,),
    ),
    Step("encoder", "{base} + {encoder}", ("language-model", BASE), _encoder, added=True),
    Step("all-terms", "all terms, as served", ("encoder",), _served),
)


def ladder_of(pipeline: Pipeline) -> Ladder:
    """The rungs a run can climb; its dataset is prepared now where it is not."""
    missing = dict(_missing(pipeline))
    why = {
        step.name: reasons[0]
        for step in STEPS
        if (reasons := [missing[need] for need in step.needs if need in missing])
    }
    return Ladder(tuple(step for step in STEPS if step.name not in why), why)


def with_own_linear_row(ladder: Ladder, pipeline: Pipeline) -> Ladder:
    """The ladder with the run's own linear term among its rungs, where that is none of them; it is trained by now.

    Raises:
        GltaError: it is called like a rung of another kind.
    """
    if LINEAR not in terms_of(pipeline.recipe) or "fit-linear" not in dict(pipeline.reached()):
        return ladder
    name = str(pipeline.ensure("fit-linear").details["row"])
    steps = [step for step in ladder.steps if step.may_be_base]
    if name in (step.name for step in steps):
        return ladder
    if name in (step.name for step in STEPS):
        raise GltaError(
            f"the run's linear row '{name}' is called like another rung",
            location="--ladder",
            hint="its author can rename it; --set fusion.terms=auto chooses among the rows of glta",
        )
    own = Step(name, name, (steps[-1].name,) if steps else (), partial(_baseline, name), may_be_base=True)
    others = [step for step in ladder.steps if not step.may_be_base]
    return replace(ladder, steps=(*steps, own, *others))


def require_ladder(pipeline: Pipeline) -> Ladder:
    """The rungs of a run, once nothing is known that would keep one of them from being measured.

    Raises:
        InputError: the run is one of the controls itself, its encoder has seen validation items, or its split hides
            items or users.
        GltaError: a row cannot be made.
    """
    _require_measurable(pipeline.recipe)
    ladder = ladder_of(pipeline)
    for step in ladder.steps:
        step.row(pipeline).require(pipeline)
    return ladder


def _require_measurable(recipe: Recipe) -> None:
    """Raise `InputError` where what the rungs compare would not be what they say."""
    controls = {
        "backbone.weights=pretrained": recipe.backbone.weights == "random",
        "text.weights=pretrained": recipe.text.weights == "random",
        "text.shuffled=false": recipe.text.shuffled,
        "finetune.shuffled_users=false": recipe.finetune.shuffled_users,
    }
    for switch, is_control in controls.items():
        if is_control:
            raise InputError(
                f"this recipe is itself a control ({switch.partition('=')[0]}), so that there is nothing to take away",
                location="--ladder",
                hint=f"--set {switch}, or the run of another recipe",
            )
    if recipe.dataset.split.strategy.startswith("cold-"):
        raise InputError(
            "the ladder is measured on splits that hide no items or users from what is learnt",
            location="--ladder",
            hint="another split, such as --set dataset.split.strategy=ratio; `glta evaluate` has the rows of this one",
        )
    if recipe.graph.refit:
        raise InputError(
            "what is added is weighed on validation items, which a refitted encoder has seen",
            location="--ladder",
            hint="--set graph.refit=false",
        )


def _missing(pipeline: Pipeline) -> Iterator[tuple[str, str]]:
    """What rungs may need and this run lacks, with the reason."""
    recipe = pipeline.recipe
    known = {component.name for component in installed().of_kind("baseline")}
    for name in LINEAR_ROWS:
        if name not in known:
            yield name, f"no plugin here brings {name}"
    if not pipeline.prepared().has_text:
        yield TEXTS, "nothing is written about the items"
    elif not reads_text(text_reader(recipe)):
        yield TEXTS, f"{text_reader(recipe).backbone.name} reads no text"
    if not recipe.finetune.enabled:
        yield LANGUAGE_MODEL, "the recipe trains no language model (finetune.enabled=false)"
    if not reads_text(recipe):
        yield WEIGHTS, f"{recipe.backbone.name} has no weights to draw at random"
    if _transformer_of(pipeline) is None:
        yield TRANSFORMER, f"no plugin here brings {' or '.join(TRANSFORMERS)}"


def _transformer_of(pipeline: Pipeline) -> str | None:
    recipe = pipeline.recipe
    encoders = {component.name for component in installed().of_kind("encoder")}
    texts = pipeline.prepared().has_text and reads_text(text_reader(recipe))
    known = [name for name in TRANSFORMERS if name in encoders]
    return next((name for name in known if texts or not installed().find("encoder", name).needs_text_vectors()), None)


def names_in(pipeline: Pipeline, base: str) -> dict[str, str]:
    """What the braces of `Step.shown` stand for."""
    recipe = pipeline.recipe
    return {
        "base": base,
        "llm": recipe.backbone.name,
        "transformer": _transformer_of(pipeline) or "",
        "encoder": recipe.graph.encoder,
    }
