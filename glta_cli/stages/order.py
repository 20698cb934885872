"""The stages after `prepare`, in the order they run. None reaches back."""

from __future__ import annotations

from glta_cli.stages.align import Align
from glta_cli.stages.describe_users import DescribeUsers
from glta_cli.stages.encode_items import EncodeItems
from glta_cli.stages.finetune import Finetune
from glta_cli.stages.fit_linear import FitLinear
from glta_cli.stages.index import BuildIndex
from glta_cli.stages.pretrain_graph import PretrainGraph
from glta_cli.stages.refit import Refit
from glta_cli.stages.refit_names import REFITTED
from glta_cli.stages.serving_index import BuildServingIndex
from glta_cli.stages.stage import Stage

SELECTING: tuple[Stage, ...] = (
    EncodeItems(),
    PretrainGraph(),
    FitLinear(),
    Align(),
    DescribeUsers(),
    Finetune(),
    BuildIndex(),
)
STAGES: tuple[Stage, ...] = (
    *SELECTING,
    *(Refit(stage) for stage in SELECTING if stage.name in REFITTED),
    BuildServingIndex(),
)


def runs_in_all_processes(stage: str) -> bool:
    """Whether all processes of a command run the stage of this name, each with its share; else the first one does."""
    return any(each.shared for each in STAGES if each.name == stage)
