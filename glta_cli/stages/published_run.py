"""What a finished run published, as far as this version can read it."""

from __future__ import annotations

from glta_cli.stages.lineage import SERVING
from glta_cli.workspace.artefact import Artefact
from glta_cli.workspace.run import Run
from glta_cli.workspace.workspace import Workspace


def published_stages(run: Run, workspace: Workspace) -> dict[str, Artefact] | None:
    """The artefacts of a finished run by stage.

    What answers are given from may be lacking, or of another layout: it is made again of what the run has.

    Returns:
        None where the run is not finished, one of its stages is gone, or its index cannot be read.
    """
    from glta_cli.serving.index import readable

    found = {stage: workspace.published(stage, name) for stage, name in run.stages.items()}
    artefacts = {stage: artefact for stage, artefact in found.items() if artefact is not None}
    if not run.finished or found.keys() - artefacts.keys() - {SERVING}:
        return None
    layouts = {
        stage: artefacts[stage].manifest["settings"].get("layout") for stage in ("index", SERVING) if stage in artefacts
    }
    if "index" in layouts and not readable(layouts["index"]):
        return None
    if SERVING in layouts and not readable(layouts[SERVING]):
        del artefacts[SERVING]
    return artefacts
