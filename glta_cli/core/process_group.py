"""The processes of one command as torch.distributed connects them: gloo between processors, NCCL between GPUs.

They meet in a key-value store, which the launcher keeps or else the first process. Through it the first one gives the
others their orders, so that who waits takes no processor; it also has why a process left, which those hear of by a
connection that breaks.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from glta_cli.core.errors import GltaError, InputError, InterruptedRunError
from glta_cli.core.interruption import CONTINUE
from glta_cli.core.terminal import say
from glta_cli.core.world import LOCAL_RANK, LOCAL_SIZE, RANK, SIZE, STARTED_BY_US, Content, Team, World, left

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

# The first one may prepare, fit and write for days while the others wait.
PATIENCE: Final = timedelta(days=30)
MEETING: Final = timedelta(minutes=30)
LATE_SECONDS: Final = 20.0
# How often who waits for the others looks for a signal.
LOOK_SECONDS: Final = 0.2
# How long a process that failed waits for the first one to say so before it does itself.
GRACE_SECONDS: Final = 20.0
# How long it may take until another one's reason is known once its connection broke.
REASON_SECONDS: Final = 2.0
MOST_DIMENSIONS: Final = 7
_LED_BY: Final = "MASTER_ADDR and MASTER_PORT lead to the first one; torchrun and accelerate launch set them"


class GroupLost(GltaError):  # noqa: N818 (it is what happened to the group, and this is how it is told)
    """A process of the group has gone without a word."""


class Meeting:
    """The store in which the processes of a command meet."""

    def __init__(self, world: World) -> None:
        """
        Raises:
            GltaError: the others cannot be reached.
            InputError: nothing says where they meet.
        """
        self.world = world
        place = _meeting_place()
        import torch.distributed  # noqa: F401 (it takes a while, in which nobody waits for the others yet)

        late = threading.Timer(LATE_SECONDS, self._tell_of_waiting, (place,))
        late.daemon = True
        late.start()
        try:
            self.store = _store_where_they_meet()
        except (RuntimeError, ValueError, OSError) as error:
            raise GltaError(
                f"the other processes cannot be reached: {str(error).splitlines()[0]}", location=place, hint=_LED_BY
            ) from error
        finally:
            late.cancel()
        self.orders = 0
        if os.environ.get(STARTED_BY_US):
            _end_with(os.getppid())
        # No library shall start a group of its own, and no process of ours take itself for one of these.
        for name in (RANK, SIZE, LOCAL_RANK, LOCAL_SIZE, "GROUP_RANK", "ROLE_RANK", "ROLE_WORLD_SIZE"):
            os.environ.pop(name, None)

    def _tell_of_waiting(self, place: str) -> None:
        limit = f"for up to {MEETING.total_seconds() / 60:.0f} minutes"
        if self.world.first:
            say(f"waiting {limit} for the other processes, {self.world.size - 1} of {self.world.size}, to come up")
        elif self.world.local_rank == 0:
            # Where the first one never comes, nobody else says anything.
            say(f"{self.world} waits {limit} for the first one, at {place}, and the others")

    def give(self, order: Any) -> None:
        """Give the others their next order."""
        self.store.set(f"order/{self.orders}", pickle.dumps(order))
        self.orders += 1

    def next_order(self) -> Any:
        """The next order of the first process, waited for; None once it has left."""
        key = f"order/{self.orders}"
        self.orders += 1
        until = time.monotonic() + PATIENCE.total_seconds()
        while time.monotonic() < until:
            with suppress(RuntimeError):
                self.store.wait([key], timedelta(seconds=1))  # where signals are looked at
                return pickle.loads(self.store.get(key))
            try:
                if self.left_by(0) is not None:
                    return None
            except RuntimeError:
                return None  # whoever kept the store has gone
        return None

    def leave_word(self, reason: dict[str, Any]) -> None:
        """Have the others know why this process leaves them; nobody may be there any more."""
        with suppress(RuntimeError):
            self.store.set(left(self.world.rank), json.dumps(reason).encode())

    def left_by(self, rank: int) -> dict[str, Any] | None:
        """Why a process left; None where it is there, as far as is known."""
        key = left(rank)
        if not self.store.check([key]):
            return None
        found: dict[str, Any] = json.loads(self.store.get(key))
        return found

    def reason(self, within: float = REASON_SECONDS) -> tuple[int, dict[str, Any]] | None:
        """The first other process that left word, and why, waited for a little while."""
        until = time.monotonic() + within
        while True:
            for rank in range(self.world.size):
                with suppress(RuntimeError):
                    reason = self.left_by(rank) if rank != self.world.rank else None
                    if reason is not None:
                        return rank, reason
            if time.monotonic() > until:
                return None
            time.sleep(0.05)


class Group(Team):
    """All processes of a command, connected.

    Args:
        device: that each of them computes on, whose gradients are reduced.

    Attributes:
        by_device: torch's group for tensors on the device.
        by_processor: torch's group for those in main memory.
    """

    def __init__(self, meeting: Meeting, device: torch.device) -> None:
        import torch.distributed as dist

        self.meeting = meeting
        self.rank, self.size = meeting.world.rank, meeting.world.size
        backend = "nccl" if device.type == "cuda" else "gloo"
        store = dist.PrefixStore("group", meeting.store)
        with self.working():
            self._wait_until_all_are_here()
            dist.init_process_group(
                backend,
                store=store,
                rank=self.rank,
                world_size=self.size,
                timeout=PATIENCE,
                device_id=device if backend == "nccl" else None,
            )
            self.by_device = dist.group.WORLD
            self.by_processor = (
                self.by_device if backend == "gloo" else dist.new_group(backend="gloo", timeout=PATIENCE)
            )

    def _wait_until_all_are_here(self) -> None:
        """Return once all are about to connect: within torch's C++ neither a signal nor a word would be looked at."""
        store = self.meeting.store
        store.set(f"here/{self.rank}", "")
        all_of_them = [f"here/{rank}" for rank in range(self.size)]
        until = time.monotonic() + PATIENCE.total_seconds()
        while not store.check(all_of_them) and time.monotonic() < until:
            with suppress(RuntimeError):
                store.wait(all_of_them, timedelta(seconds=LOOK_SECONDS))
            found = self.meeting.reason(0)
            if found is not None:
                raise self._told(*found)

    def leave(self) -> None:
        """Close the connections, by which the others learn of it."""
        import torch.distributed as dist

        # What still refers to a group keeps its connections open.
        self.by_device = self.by_processor = None
        if dist.is_initialized():
            with suppress(RuntimeError):
                dist.destroy_process_group()

    def broadcast(self, content: Content) -> Content:
        import torch.distributed as dist

        held = [content if self.first else None]
        with self.working():
            dist.broadcast_object_list(held, src=0, group=self.by_processor)
        return held[0]  # type: ignore[return-value]

    def gathered_objects(self, content: Content) -> list[Content]:
        import torch.distributed as dist

        held: list[Any] = [None] * self.size
        with self.working():
            dist.all_gather_object(held, content, group=self.by_processor)
        return held

    def gathered(self, array: NDArray[Any]) -> list[NDArray[Any]]:
        import numpy as np
        import torch
        import torch.distributed as dist

        shape = torch.zeros(MOST_DIMENSIONS + 1, dtype=torch.int64)
        shape[0] = array.ndim
        shape[1 : array.ndim + 1] = torch.tensor(array.shape)
        shapes = [torch.empty_like(shape) for _ in range(self.size)]
        own = torch.from_numpy(np.ascontiguousarray(array))
        found = []
        with self.working():
            dist.all_gather(shapes, shape, group=self.by_processor)
            for rank, each in enumerate(shapes):
                sizes = each[1 : int(each[0]) + 1].tolist()
                part = own if rank == self.rank else torch.empty(sizes, dtype=own.dtype)
                if part.numel():
                    dist.broadcast(part, src=rank, group=self.by_processor)
                found.append(part.numpy())
        return found

    def summed(self, numbers: Sequence[float]) -> list[float]:
        import torch
        import torch.distributed as dist

        held = torch.tensor(numbers, dtype=torch.float64)
        with self.working():
            dist.all_reduce(held, group=self.by_processor)
        found: list[float] = held.tolist()
        return found

    def largest(self, number: int) -> int:
        import torch
        import torch.distributed as dist

        held = torch.tensor(number)
        with self.working():
            dist.all_reduce(held, op=dist.ReduceOp.MAX, group=self.by_processor)
        return int(held)

    def wait_for_all(self) -> None:
        import torch.distributed as dist

        with self.working():
            dist.barrier(group=self.by_processor)

    @contextmanager
    def working(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            found = self.meeting.reason() if _is_of_group(error) else self.meeting.reason(0)
            if found is not None:
                raise self._told(*found) from error
            if not _is_of_group(error):
                raise
            if os.environ.get(STARTED_BY_US):
                raise SystemExit(1) from error  # whoever started the processes says which one has gone, and how
            raise GroupLost(
                f"one of the {self.size} processes has gone", hint="where memory is short, fewer processes take less"
            ) from error

    def _told(self, rank: int, reason: dict[str, Any]) -> BaseException:
        if "signal" in reason:
            return InterruptedRunError(reason["problem"], signal_number=signal.Signals(reason["signal"]), hint=CONTINUE)
        if rank == 0:
            return SystemExit(0)  # it says itself why
        if "told" in reason:
            return SystemExit(1)
        problem, location = reason["problem"], reason["location"]
        where = f"process {rank + 1} of {self.size}" + (f": {location}" if location else "")
        return GltaError(problem, location=where, hint=reason["hint"])


def _meeting_place() -> str:
    """The address of the first process, as its launcher gave it; raises `InputError` where it gave none."""
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        if not os.environ.get(name):
            raise InputError("is not set, but RANK and WORLD_SIZE are", location=name, hint=_LED_BY)
    return f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"


def _store_where_they_meet() -> Any:
    """The store, once all processes have come to it.

    It is waited for in a thread of its own: in torch's C++ no signal would be looked at, for as long as it takes.

    Raises:
        RuntimeError, ValueError, OSError: it cannot be reached.
    """
    import torch.distributed as dist

    found: list[Any] = []

    def meet() -> None:
        try:
            found.append(next(iter(dist.rendezvous("env://", timeout=MEETING)))[0])
        except Exception as error:
            found.append(error)

    meeting = threading.Thread(target=meet, name="meeting", daemon=True)
    meeting.start()
    while meeting.is_alive():
        meeting.join(LOOK_SECONDS)
    if isinstance(found[0], Exception):
        raise found[0]
    return found[0]


def _end_with(parent: int) -> None:
    """End, as by a signal, once the process that started all of them was killed and can pass none on."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def _is_of_group(error: RuntimeError) -> bool:
    """Whether it is one of the connection to another process."""
    import torch.distributed as dist

    words = str(error).lower()
    return isinstance(error, dist.DistError) or any(each in words for each in ("gloo", "nccl", "closed by peer"))
