"""Settings of the loggers."""

from pydantic import Field

from glta_cli.plugin import Settings


class JsonLinesSettings(Settings):
    """JSON lines."""

    file: str = Field("stages.jsonl", description="in the run's folder for logs; absolute paths go elsewhere")


class TensorBoardSettings(Settings):
    """TensorBoard."""

    folder: str = Field("tensorboard", description="of the event files, in the run's folder for logs")
