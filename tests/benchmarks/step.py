"""What a benchmark step is: our way and a peer's way to one result, and how much faster ours has to be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Measure = Literal["wall", "cpu", "memory"]
Work = Callable[[], Mapping[str, Any]]
"""The timed part; returns arrays or numbers by name, so that results of two processes can be compared."""

SHARED_DATA = "GLTA_SHARED_DATA"
"""The environment variable that names the folder of real datasets; the runner sets it."""


@dataclass(frozen=True)
class Step:
    """One row of the table, or several where more than one measure has a target.

    A module below `steps/` is imported by the interpreter of either side, so at its top it imports this file, the
    standard library and NumPy, and everything else inside the functions.

    Attributes:
        name: of the step, as the table shows it.
        peer_name: what it is compared with.
        ours: size (1, 4 or 16; 1 is the step's data as it is) -> work. What it does before it returns the work
            is preparation and is not timed.
        peer: the same for the peer.
        check: raises AssertionError unless (our result, the peer's result) are the same.
        targets: least ratio peer / ours of each measure: wall seconds, processor seconds, extra peak memory.
        limits: most that ours may cost, in seconds.
        peer_interpreter: whether the peer runs in our environment or in the peers' own.
        sizes: at which ours is measured for the report on growth; the comparison is made at size 1.
        runs: timed calls of each side, in turn.
        note: what a reader has to know, such as why a target is missed.
    """

    name: str
    peer_name: str
    ours: Callable[[int], Work]
    peer: Callable[[int], Work]
    check: Callable[[Mapping[str, Any], Mapping[str, Any]], None]
    targets: Mapping[Measure, float]
    limits: Mapping[Measure, float] = field(default_factory=dict)
    peer_interpreter: Literal["ours", "peers"] = "ours"
    sizes: tuple[int, ...] = (1,)
    runs: int = 5
    note: str = ""
