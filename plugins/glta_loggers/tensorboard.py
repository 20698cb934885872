"""TensorBoard."""

from __future__ import annotations

from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from glta_cli.plugin import StageEnd
from glta_loggers.settings import TensorBoardSettings


class TensorBoard:
    """Writes event files that `tensorboard --logdir` shows.

    A training becomes the curves `stage/training/loss` and `stage/training/METRIC` over its epochs; the other numbers
    of a stage become single points `stage/NAME`.
    """

    def __init__(self, settings: TensorBoardSettings, folder: Path) -> None:
        self.folder = folder / settings.folder

    def stage_ended(self, end: StageEnd) -> None:
        with SummaryWriter(str(self.folder)) as writer:
            for training, epochs in end.history.items():
                for record in epochs:
                    for name, value in record.items():
                        if name != "epoch":
                            tag = "/".join(filter(None, (end.stage, training, name)))
                            writer.add_scalar(tag, value, int(record["epoch"]))
            for name, value in end.metrics.items():
                writer.add_scalar(f"{end.stage}/{name}", value)
            writer.add_scalar(f"{end.stage}/seconds", end.seconds)
