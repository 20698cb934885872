"""What a page shows beside the figures of the evaluation: read from what the run published."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from glta_cli.core.errors import GltaError
from glta_cli.core.terminal import nothing_on_stdout, say
from glta_cli.evaluation.report.samples import SampleUser, sample_users
from glta_cli.evaluation.report.trainings import Training, trainings_of
from glta_cli.plugin.component import ENDED, reason_of
from glta_cli.serving.index import Index

if TYPE_CHECKING:
    from glta_cli.evaluation.report.projection import Projection
    from glta_cli.stages.pipeline import Pipeline
    from glta_cli.workspace.artefact import Artefact

LOCAL_PATH = re.compile(r"^(/|~|\.{1,2}/|file:|[A-Za-z]:[\\/]|\\\\)")
LEFT_OUT_PATH = "(a local path)"


@dataclass(frozen=True)
class Extras:
    """Beside the report.

    Attributes:
        encoder: the name of the graph encoder's row.
        trainings: of every stage of the run.
        projection: item tokens among words, or why there is none.
        samples: users with their recommendations, or why there are none.
        recipe: the resolved recipe, without paths of this machine.
        environment: versions, as the run's last manifest recorded them.
    """

    encoder: str
    trainings: Sequence[Training]
    projection: Projection | str
    samples: Sequence[SampleUser] | str
    recipe: Mapping[str, Any]
    environment: Mapping[str, Any]


@nothing_on_stdout()
def gathered_extras(pipeline: Pipeline) -> Extras:
    """The extras of a run, from its published artefacts; nothing is trained."""
    artefacts = {stage: artefact for stage, artefact in pipeline.status() if artefact is not None}
    return Extras(
        encoder=pipeline.recipe.graph.encoder,
        trainings=trainings_of(artefacts.values()),
        projection=_projection(pipeline, artefacts),
        samples=_samples(pipeline, artefacts),
        recipe=without_paths(pipeline.recipe.model_dump(mode="json")),
        environment=list(artefacts.values())[-1].manifest["environment"],
    )


def without_paths(value: Any) -> Any:
    """Nested values with a remark in place of each text that is a path of the machine."""
    if isinstance(value, Mapping):
        return {name: without_paths(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_paths(each) for each in value]
    return LEFT_OUT_PATH if isinstance(value, str) and LOCAL_PATH.match(value) else value


def _projection(pipeline: Pipeline, artefacts: Mapping[str, Artefact]) -> Projection | str:
    if "finetune" not in artefacts:
        return "This run has no stage with a language model, so there are no item tokens."
    from glta_cli.evaluation.report.projection import token_projection
    from glta_cli.stages.context import StageContext
    from glta_cli.training.loop import pick_device

    try:
        return token_projection(
            StageContext(pipeline.recipe, pipeline.workspace, pick_device(pipeline.device), artefacts)
        )
    except ENDED:
        raise
    except BaseException as error:
        # A backbone is a plugin's code and may fail in any way; the figures are worth their page all the same.
        from rich.markup import escape

        say(f"[yellow]warning[/]: the report goes without the item tokens: {escape(reason_of(error))}")
        # The whole reason may name folders of this machine.
        reason = error.problem if isinstance(error, GltaError) else type(error).__name__
        return f"The item tokens could not be had: {reason}."


def _samples(pipeline: Pipeline, artefacts: Mapping[str, Artefact]) -> Sequence[SampleUser] | str:
    if "index" not in artefacts:
        return "This run has no index to recommend from."
    prepared, index = pipeline.prepared(), Index(artefacts["index"])
    score = index.scorer(*prepared.masked_at_test())
    return sample_users(prepared, score, pipeline.recipe.seed)
