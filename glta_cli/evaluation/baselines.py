"""Baselines of a run that is evaluated: on its prepared dataset, and by what is really written about its items."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape

from glta_cli.core.errors import InputError
from glta_cli.core.terminal import say
from glta_cli.recipe.selection import require_reader
from glta_cli.serving.served_row import LANGUAGE_ROW as LANGUAGE_ROW
from glta_cli.serving.served_row import MODEL_ROW as MODEL_ROW
from glta_cli.stages.baseline_checks import checked_arrays as checked_arrays
from glta_cli.stages.baseline_checks import checked_scorer as checked_scorer
from glta_cli.stages.fitted_baselines import (
    FittedBaseline,
    FittingGround,
    MadeBaseline,
    fitted_on,
    needs_text_vectors,
)
from glta_cli.stages.fitted_baselines import made_baseline as made_baseline

if TYPE_CHECKING:
    from glta_cli.stages.pipeline import Pipeline


def fitted_baseline(made: MadeBaseline, pipeline: Pipeline, *, own_texts: bool = False) -> FittedBaseline:
    """A baseline on the run's dataset, fitted now where it was not before.

    Args:
        own_texts: by the texts of this very recipe, which may have them dealt out at random; else by the true ones.

    Raises:
        GltaError: what it learnt is not named arrays; later, at scoring: its scores are not `float32` [B, I].
        InputError: as `require_texts`.
    """
    from glta_cli.stages.stage import dealt_texts
    from glta_cli.training.loop import pick_device

    require_texts(made, pipeline)
    prepared = pipeline.prepared()
    ground = FittingGround(
        prepared,
        pipeline.workspace,
        pick_device(pipeline.device),
        pipeline.recipe.seed,
        vectors=lambda: pipeline.ensure("encode-items") if own_texts else pipeline.beside("encode-items"),
        texts=lambda: (pipeline.context().texts if own_texts else prepared.texts) if prepared.has_text else None,
        dealt=dealt_texts(pipeline.recipe) if own_texts else {},
        kept_or_refused=False,
    )
    return fitted_on(made, ground)


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


def tell_of_unused_weights(made: MadeBaseline, pipeline: Pipeline) -> None:
    """Say so where interactions have weights and a baseline does not use them."""
    if pipeline.prepared().weighted and not getattr(made.baseline, "uses_weights", False):
        say(f"{escape(made.name)} takes every interaction alike: it does not use weights")
