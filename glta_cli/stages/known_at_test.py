"""What histories hold when the test is ranked, as a setting of the stages that publish users by it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from glta_cli.recipe.schema import Recipe
from glta_cli.workspace.artefact import Artefact

SETTING = "histories_at_test"
STAGES_WITH_USERS = ("pretrain-graph", "index")


def known_at_test(recipe: Recipe) -> dict[str, Any]:
    """Where the split is in time, that they hold more than what is trained on; nothing elsewhere."""
    return {SETTING: "training and validation"} if recipe.dataset.split.in_time else {}


def knows_all_at_test(artefacts: Mapping[str, Artefact], recipe: Recipe) -> bool:
    """Whether the artefacts of a run, by stage, know users by those histories; 0.1 published training items alone."""
    wanted = known_at_test(recipe).get(SETTING)
    found = [artefacts[stage].manifest["settings"].get(SETTING) for stage in STAGES_WITH_USERS if stage in artefacts]
    return all(each == wanted for each in found)
