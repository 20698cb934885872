"""The loggers that ship with glta."""

from collections.abc import Iterator

from glta_cli.plugin import LoggerDeclaration, hookimpl


@hookimpl
def glta_loggers() -> Iterator[LoggerDeclaration]:
    yield LoggerDeclaration(
        name="jsonl",
        summary="a line of JSON for every stage, epoch by epoch",
        target="glta_loggers.jsonl:JsonLines",
        config="glta_loggers.settings:JsonLinesSettings",
    )
    yield LoggerDeclaration(
        name="tensorboard",
        summary="curves of every training and figures of every evaluation, for TensorBoard",
        target="glta_loggers.tensorboard:TensorBoard",
        config="glta_loggers.settings:TensorBoardSettings",
        extra="glta[tensorboard]",
    )
