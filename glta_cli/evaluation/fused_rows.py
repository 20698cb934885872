"""The sum of two rows: late fusion on the level of an evaluation, weighed as the terms of a served score are."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from glta_cli.core.errors import BusyError, GltaError
from glta_cli.core.files import fingerprint
from glta_cli.core.storage import ReadOnlyError
from glta_cli.core.terminal import say
from glta_cli.evaluation.fitted_rows import FittedRow
from glta_cli.plugin.scorer import Scorer
from glta_cli.serving.fusion import FusionWeights, fuse_terms
from glta_cli.serving.term_weights import choose_terms
from glta_cli.workspace.artefact import SCHEMA_VERSION, Artefact
from glta_cli.workspace.workspace import Workspace

if TYPE_CHECKING:
    from glta_cli.stages.pipeline import Pipeline

STAGE = "fusion"
# To be raised when weights are found in another way: what was chosen before is then chosen again.
CHOICE_FORM = 1


def fused_row(name: str, base: FittedRow, other: FittedRow, pipeline: Pipeline) -> FittedRow:
    """z(base) and z(other), weighted and added up; or one of them alone, where validation finds no sum better.

    The weights are chosen by `choose_terms` on validation items, by training histories, and are published: another
    evaluation of the same two rows does not choose again.

    Returns:
        The row; its settings are the `terms` that take part, their weights, `fusion`, None of one alone, the figures of
        each term alone, `validation`, of the best sum, `fused`, and of a sum chosen on other users, `cross_checked`.

    Raises:
        GltaError: one of them cannot be judged on validation, both have one name, or nobody has a validation item.
    """
    if base.name == other.name:
        raise GltaError(
            f"two rows are called '{base.name}', so that a sum of them could not be told",
            hint="one of them is of a plugin: its author can rename it",
        )
    terms = {}
    for row in (base, other):
        if row.validation_score is None:
            raise GltaError(f"the row '{row.name}' has no scores by training histories, so nothing weighs it")
        terms[row.name] = row.validation_score
    artefact, details = _chosen(terms, [base, other], pipeline)
    histories = pipeline.prepared().histories_at_test()
    scorers = {row.name: row.score for row in (base, other)}
    served = [scorers[term] for term in details["terms"]]
    peaks = [row.peak for row in (base, other) if row.peak is not None]
    return FittedRow(
        name,
        served[0] if details["fusion"] is None else _sum(served, FusionWeights(**details["fusion"]), histories.counts),
        artefact,
        base.seconds + other.seconds + float(artefact.manifest["seconds"]),
        max(peaks, default=None),
        details,
    )


def _sum(terms: list[Scorer], weights: FusionWeights, lengths: Any) -> Scorer:
    """Users [B] -> Σ w_t·z(term_t), [B, I], w by the length of each user's history."""
    return lambda users: fuse_terms([score(users) for score in terms], weights.of_lengths(lengths[users]))


def _chosen(terms: dict[str, Scorer], rows: list[FittedRow], pipeline: Pipeline) -> tuple[Artefact, dict[str, Any]]:
    """What weighs the terms, chosen now where it was not before."""
    prepared, seed = pipeline.prepared(), pipeline.recipe.seed
    inputs = {"prepare": prepared.artefact.fingerprint}
    # Settings tell apart what the same fit ranks by, such as what older items weigh.
    content = [[row.name, row.artefact.stage, row.artefact.fingerprint, row.settings] for row in rows]
    identity = fingerprint([SCHEMA_VERSION, STAGE, CHOICE_FORM, content, inputs, seed])

    def choose(folder: Path) -> dict[str, Any]:
        chosen = choose_terms(terms, prepared.split("train"), prepared.split("valid"), seed=seed)
        weights = chosen.weights
        return {
            "terms": chosen.served,
            "fusion": None if weights is None else {"starts": weights.starts, "weights": weights.weights},
            "validation": chosen.single,
            "fused": chosen.fused,
            "cross_checked": chosen.cross_checked,
        }

    def publish(workspace: Workspace = pipeline.workspace) -> Artefact:
        return workspace.publish(STAGE, identity, choose, settings={"terms": content}, inputs=inputs, seed=seed)

    try:
        artefact, _ = pipeline.workspace.published_or_made(STAGE, identity, publish)
        return artefact, dict(artefact.details)
    except (BusyError, ReadOnlyError) as error:
        # Who evaluates wants to know, not to keep.
        names = escape(" and ".join(terms))
        say(f"[yellow]warning[/]: {escape(error.problem)}; {names} are weighed for this evaluation alone")
        with TemporaryDirectory(prefix="glta-") as folder:
            artefact = publish(Workspace(Path(folder)))
            return artefact, dict(artefact.details)  # the manifest is read while it is there
