"""What is said in place of transformers' and torch's own words, and said once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from glta_cli.plugin import GltaError, out_of_memory, say

LONGEST_REASON = 240
_said: set[str] = set()


def say_once(message: str) -> None:
    """One line on stderr, the first time a process has it to say: a run loads its model several times."""
    if message not in _said:
        _said.add(message)
        say(message)


def reason(error: BaseException) -> str:
    """What was raised, in one line."""
    words = " ".join(str(error).split())
    text = f"{type(error).__name__}: {words}" if words else type(error).__name__
    return text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]}..."


def foreign_code(error: Exception, where: Path | str) -> GltaError | None:
    """The refusal where transformers asks for trust in a checkpoint's own code; None where it raised something else.

    transformers advises to run such code; glta never does, whatever a recipe says.
    """
    if "trust_remote_code" not in str(error):
        return None
    return GltaError(
        "its model or tokenizer is code that comes with the checkpoint (auto_map), which glta never runs",
        location=str(where),
        hint="choose a model of a family transformers has, such as llama, or a copy converted to one",
    )


def memory_error(error: BaseException, where: str) -> GltaError:
    """What helps where a model does not fit into memory."""
    return GltaError(
        f"memory ran out while the model was loaded: {reason(error)}",
        location=where,
        hint="load less: backbone.layers=8 (an early exit), backbone.dtype=bfloat16 (half the bytes), "
        "backbone.quantization=4bit (an eighth of float32), or a smaller model; `--dry-run` says how much is needed",
    )


@contextmanager
def errors_told(where: str, told: Callable[[Exception], GltaError]) -> Iterator[None]:
    """What others raise inside becomes what `told` makes of it, or that memory ran out; glta's own errors pass.

    Args:
        where: the model or folder it is about.

    Raises:
        GltaError: with the original cause.
    """
    try:
        yield
    except GltaError:
        raise
    except Exception as error:
        raise (memory_error(error, where) if out_of_memory(error) else told(error)) from error
