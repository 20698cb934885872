"""Stages that the processes of a command run together: the first one gives the order, the others carry it out.

All of them run the same stage on the same artefacts. Where it trains, reads out or ranks they share the work
(`core/world.py`, `team`); what they write goes into a scratch folder, but for the first one's, which is published.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from glta_cli.core.interruption import stops_at_once
from glta_cli.core.temporary import temporary_beside
from glta_cli.core.terminal import say
from glta_cli.core.world import working_in
from glta_cli.recipe.schema import Recipe
from glta_cli.workspace.artefact import Artefact
from glta_cli.workspace.workspace import Workspace

if TYPE_CHECKING:
    from glta_cli.core.process_group import Group, Meeting
    from glta_cli.stages.context import StageContext
    from glta_cli.stages.stage import Stage


class Order(Protocol):
    """What the first process has the others do beside it.

    Attributes:
        device: by its kind; each has its own.
        threads: that each computes with.
    """

    @property
    def device(self) -> str: ...

    @property
    def threads(self) -> int: ...

    def carry_out(self) -> None: ...


class Company:
    """The processes of this command as one of them sees it.

    Attributes:
        disbanded: whether the others may be at any place of some work, so that nothing can be done with them.
    """

    def __init__(self, meeting: Meeting) -> None:
        self.meeting = meeting
        self.disbanded = False
        self._group: Group | None = None

    @property
    def size(self) -> int:
        return self.meeting.world.size

    @property
    def notices_who_leaves(self) -> bool:
        """Whether they are connected so that a process that ends is missed at once, as gloo does and NCCL does not."""
        return self._group is not None and self._group.by_device is self._group.by_processor

    @contextmanager
    def ordered(self, order: Order) -> Iterator[None]:
        """Inside, the first process does itself what it has the others do."""
        self.meeting.give(order)
        try:
            with self.working(order):
                yield
        except BaseException:
            self.disband()
            raise

    @contextmanager
    def working(self, order: Order) -> Iterator[None]:
        """Inside, all of them work together; it ends once all have come to its end."""
        if self._group is None:
            from glta_cli.core.process_group import Group
            from glta_cli.training.devices import pick_device

            self._group = Group(self.meeting, pick_device(order.device))
        with working_in(self._group), self._group.working():
            yield
            self._group.wait_for_all()

    def disband(self) -> None:
        """Let go of the others, wherever they are."""
        self.meeting.leave_word({"over": True})
        self.leave()

    def leave(self) -> bool:
        """Close the connections to the others; returns whether there were any."""
        self.disbanded = True
        if self._group is None:
            return False
        self._group.leave()
        return True


_companies: list[Company] = []


def company() -> Company | None:
    """The processes this command works with; None where it is the only one, or the others are lost."""
    return _companies[-1] if _companies and not _companies[-1].disbanded else None


@contextmanager
def in_company(meeting: Meeting) -> Iterator[Company]:
    """Inside, stages that gain by it are run by all processes of the command, of which this is the first."""
    found = Company(meeting)
    _companies.append(found)
    try:
        yield found
    finally:
        _companies.remove(found)
        meeting.leave_word({"over": True})


@dataclass(frozen=True)
class StageOrder:
    """To run a stage.

    Attributes:
        artefacts, starts: as those of `StageContext`, by their folders.
        states: where the first process saves its training.
    """

    stage: str
    recipe: Recipe
    root: Path
    device: str
    threads: int
    artefacts: Mapping[str, Path]
    starts: Mapping[str, Path]
    states: Path

    def carry_out(self) -> None:
        from glta_cli.stages.context import StageContext
        from glta_cli.stages.order import STAGES
        from glta_cli.training.devices import pick_device

        [stage] = [each for each in STAGES if each.name == self.stage]
        context = StageContext(
            self.recipe,
            Workspace(self.root),
            pick_device(self.device),
            {name: Artefact(path) for name, path in self.artefacts.items()},
            starts={name: Artefact(path) for name, path in self.starts.items()},
        )
        with stops_at_once(kept=f"{self.stage} is not finished"), _scratch(self.states) as folder:
            stage.run(context, self.states, folder)


@contextmanager
def _scratch(states: Path) -> Iterator[Path]:
    """An empty folder for what only the first process is to publish, removed in the end."""
    folder = temporary_beside(states)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run_stage(stage: Stage, context: StageContext, states: Path, folder: Path) -> dict[str, Any]:
    """Run a stage into a folder, by all processes of the command where it gains by them; details for its manifest."""
    with_us = company()
    if with_us is None or not stage.shared:
        return stage.run(context, states, folder)
    import torch

    order = StageOrder(
        stage.name,
        context.recipe,
        context.workspace.root,
        context.device.type,
        torch.get_num_threads(),
        {name: artefact.path for name, artefact in context.artefacts.items()},
        {name: artefact.path for name, artefact in context.starts.items()},
        states,
    )
    say(f"  {with_us.size} processes share it")
    with with_us.ordered(order):
        details = stage.run(context, states, folder)
    return {**details, "processes": with_us.size}
