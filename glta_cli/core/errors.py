"""Errors a user can act on: where, what, hint, and the exit code that belongs to them."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import ClassVar


class GltaError(Exception):
    """A run failed for a reason worth telling in one line.

    Args:
        problem: what is wrong, without the location.
        location: file, `file:line:column`, option or component the problem belongs to.
        hint: what to do next.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, problem: str, *, location: str | None = None, hint: str | None = None) -> None:
        super().__init__(problem)
        self.problem = problem
        self.location = location
        self.hint = hint

    def __str__(self) -> str:
        head = f"{self.location}: {self.problem}" if self.location else self.problem
        return f"{head}\n  hint: {self.hint}" if self.hint else head


class InputError(GltaError):
    """What the user gave cannot be used: exit code 2."""

    exit_code: ClassVar[int] = 2


class InputErrors(InputError):  # noqa: N818 (the plural is the point)
    """Every problem of one input, reported together."""

    def __init__(self, errors: Sequence[GltaError]) -> None:
        super().__init__(f"{len(errors)} problems")
        self.errors = list(errors)

    def __str__(self) -> str:
        return "\n".join(str(error) for error in self.errors)


class BusyError(GltaError):
    """Another process holds what this one needs: exit code 75 (EX_TEMPFAIL)."""

    exit_code: ClassVar[int] = 75


class InterruptedRunError(GltaError):
    """A signal stopped the run after its state was saved: exit code 128 + signal number."""

    def __init__(self, problem: str, *, signal_number: int, hint: str | None = None) -> None:
        super().__init__(problem, hint=hint)
        self.signal_number = signal_number


class PluginError(Exception):
    """A plugin breaks the contract of `glta_cli.plugin`; whoever catches it says which plugin."""


class Terminated(SystemExit):
    """SIGTERM arrived: nobody's error."""


def did_you_mean(word: str, known: Sequence[str]) -> str | None:
    """The hint that names the known word closest to `word`, or None when none is close."""
    close = get_close_matches(word, known, n=1, cutoff=0.6)
    return f"did you mean '{close[0]}'?" if close else None


def out_of_memory(error: BaseException) -> bool:
    """Whether the process, or a GPU, had no memory left: nobody's fault, and no traceback helps.

    Example:
        from glta_cli.plugin import out_of_memory

        assert out_of_memory(MemoryError())
        assert not out_of_memory(RuntimeError("shapes do not match"))
    """
    # torch raises a RuntimeError: on a GPU one by a name of its own, which can be told without importing torch.
    said = ("DefaultCPUAllocator", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
    torch_says = isinstance(error, RuntimeError) and any(words in str(error) for words in said)
    return isinstance(error, MemoryError) or torch_says
