"""Which terms the score that is served may be made of, as a recipe says it or leaves it to `auto`.

Of plain values, so that whoever only looks at a stored run waits for no schema.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from glta_cli.recipe.schema import Recipe

AUTO: Final = "auto"
ENCODER: Final = "encoder"
LANGUAGE: Final = "llm"
LINEAR: Final = "linear"
"""Stands for the linear row, whichever is chosen; no name a recipe may use."""

ENCODER_AND_LANGUAGE: Final = (ENCODER, LANGUAGE)
"""All there was before linear rows could take part: the encoder's scores and the language model's weighted on top."""


def terms_of(recipe: Recipe) -> tuple[str, ...]:
    """The terms of a recipe in the order linear, encoder, language model, each at most once."""
    finetune = recipe.finetune
    return terms_named(
        recipe.fusion.terms, enabled=finetune.enabled, fusion=finetune.fusion, graph_refit=recipe.graph.refit
    )


def terms_named(terms: str | Sequence[str], *, enabled: bool, fusion: bool, graph_refit: bool) -> tuple[str, ...]:
    """The terms behind `fusion.terms`, in the order linear, encoder, language model, each at most once.

    An encoder that was trained again on validation is alone: nothing is left to weigh it by. So it is without a
    language model where a recipe names just these two, as all recipes did before there was a choice.

    Args:
        enabled, fusion: `finetune.enabled` and `finetune.fusion`, which when false has the language model alone.
        graph_refit: `graph.refit`.
    """
    if enabled and not fusion:
        return (LANGUAGE,)
    if not enabled and set(terms) == set(ENCODER_AND_LANGUAGE):
        return (ENCODER,)
    if terms != AUTO:
        named = {term if term in ENCODER_AND_LANGUAGE else LINEAR for term in terms}
        return tuple(term for term in (LINEAR, *ENCODER_AND_LANGUAGE) if term in named)
    if graph_refit or not fusion:
        return (ENCODER,)
    return (LINEAR, ENCODER, LANGUAGE) if enabled else (LINEAR, ENCODER)


def linear_names(recipe: Recipe) -> tuple[str, ...] | None:
    """The baselines a recipe names, of which the best is the linear term; None where it leaves them to `auto`.

    Empty where no linear row is to take part.
    """
    if LINEAR not in terms_of(recipe):
        return ()
    terms = recipe.fusion.terms
    return None if terms == AUTO else tuple(term for term in terms if term not in ENCODER_AND_LANGUAGE)


def stored_terms(recipe: Mapping[str, Any]) -> tuple[str, ...]:
    """The terms of a run's stored recipe; raises nothing, whatever it lacks."""
    said = with_terms_said(recipe)
    sections = {name: _section(said, name) for name in ("fusion", "finetune", "graph")}
    return terms_named(
        sections["fusion"].get("terms", AUTO),
        enabled=sections["finetune"].get("enabled") is not False,
        fusion=sections["finetune"].get("fusion") is not False,
        graph_refit=sections["graph"].get("refit") is True,
    )


def with_terms_said(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A stored recipe that says its terms: one stored before there was a choice had the encoder and the language model.

    So a run answers as it did, and what it lacks is made as the rest of it was.
    """
    said = {"fusion": {"terms": list(ENCODER_AND_LANGUAGE)}}
    return {**said, **recipe} if recipe else {}


def _section(recipe: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = recipe.get(name)
    return found if isinstance(found, Mapping) else {}
