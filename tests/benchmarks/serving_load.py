"""Requests a second and how long they take, of `glta serve` on loopback: known users, then histories of new ones.

python tests/benchmarks/serving_load.py [--run NAME] [--seconds S] [--rate R] [--callers N] [--plain]

Callers of one process ask as fast as they are answered, each on a connection of its own, which says how many requests a
second there are at most. Then requests come at a fixed rate, each counted from when it was due, whether or not a
connection was free: a slow answer then counts for all that waited behind it.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx

import glta_cli

LONGEST = 20
HEADERS = "Host: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n"


@dataclass(frozen=True)
class Load:
    """What some requests came to; times in milliseconds, `cpu` of the service for one of them."""

    asked: str
    how: str
    requests: int
    per_second: float
    median: float
    p99: float
    cpu: float
    refused: int


def main() -> None:
    """Start the service, load it in both ways, and print a table."""
    options = arguments()
    run = glta_cli.load(options.run)
    draw = random.Random(0)
    users = draw.choices(run.index.user_ids.tolist(), k=2_000)
    histories = [run.index.history.of(draw.randrange(run.index.history.user_count)) for _ in range(2_000)]
    named = [[run.index.item_ids[int(item)] for item in history[-LONGEST:]] for history in histories]
    requests = {
        "known users": [request({"user": user}) for user in users],
        "histories": [request({"history": items}) for items in named if items],
    }
    plain = [sys.executable, str(Path(__file__).with_name("plain_service.py")), "--run", run.name]
    ours = [sys.executable, "-m", "glta_cli", "serve", "--run", run.name, "--port", "0"]
    command = plain if options.plain else ours
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as service:
        try:
            port = port_of(service)
            loads = [
                load for name, made in requests.items() for load in asyncio.run(measured(name, made, port, options))
            ]
        finally:
            service.send_signal(signal.SIGTERM)
    if options.json:
        print(json.dumps([asdict(load) for load in loads], indent=2))
        return
    items = run.index.history.item_count
    print(f"run {run.name}: {len(run.index.user_ids):,} users, {items:,} items, {os.cpu_count()} processors")
    print("\n| asked | how | requests/s | median | p99 | processor, each | refused |\n|---|---|---|---|---|---|---|")
    for load in loads:
        figures = (
            f"{load.per_second:.0f} | {load.median:.1f} ms | {load.p99:.1f} ms | {load.cpu:.2f} ms | {load.refused}"
        )
        print(f"| {load.asked} | {load.how} | {figures} |")


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", help="a finished run; the latest one by default")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    parser.add_argument("--rate", type=float, default=200.0, help="requests a second where they come at a fixed rate")
    parser.add_argument("--callers", type=int, default=16, help="connections that ask as fast as they are answered")
    parser.add_argument("--plain", action="store_true", help="load FastAPI without glta serve (plain_service.py)")
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")
    return parser.parse_args()


def port_of(service: subprocess.Popen[str]) -> int:
    """The port the service says it listens at."""
    assert service.stdout is not None
    for line in service.stdout:
        found = re.search(r"http://127\.0\.0\.1:(\d+)/openapi", line)
        if found:
            return int(found[1])
    sys.exit("the service did not start")


def request(asked: object) -> bytes:
    """A request as it goes over the network."""
    body = json.dumps(asked).encode()
    return f"POST /v1/recommendations HTTP/1.1\r\n{HEADERS.format(len(body))}".encode() + body


async def measured(name: str, requests: Sequence[bytes], port: int, options: argparse.Namespace) -> list[Load]:
    """The load of callers in turn, then of requests at a fixed rate."""
    assert await in_turn(requests, port, options.callers, 1.0), "nothing was answered"
    loads = []
    for how, load in (
        (f"{options.callers} in turn", lambda: in_turn(requests, port, options.callers, options.seconds)),
        (f"{options.rate:g} a second", lambda: at_rate(requests, port, options.rate, options.seconds)),
    ):
        before = processor_seconds(port)
        taken = await load()
        loads.append(summary(name, how, taken, processor_seconds(port) - before))
    return loads


def processor_seconds(port: int) -> float:
    """What the service has had of the processors so far."""
    text = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=60).text
    found = re.search(r"^process_cpu_seconds_total (\S+)$", text, flags=re.MULTILINE)
    assert found is not None
    return float(found[1])


async def in_turn(requests: Sequence[bytes], port: int, callers: int, seconds: float) -> list[tuple[float, float, int]]:
    """Of each request when it was asked, how long it took, in seconds, and the status of its answer."""
    taken: list[tuple[float, float, int]] = []
    turns = itertools.cycle(requests)
    until = time.perf_counter() + seconds

    async def call() -> None:
        ask = await connected(port)
        while (begun := time.perf_counter()) < until:
            status = await ask(next(turns))
            taken.append((begun, time.perf_counter() - begun, status))

    await asyncio.gather(*(call() for _ in range(callers)))
    return taken


async def at_rate(requests: Sequence[bytes], port: int, rate: float, seconds: float) -> list[tuple[float, float, int]]:
    """The same of requests that are due at a fixed rate."""
    taken: list[tuple[float, float, int]] = []
    free: asyncio.LifoQueue[Callable[[bytes], Awaitable[int]]] = asyncio.LifoQueue()
    start = time.perf_counter()

    async def call(due: float, asked: bytes) -> None:
        ask = free.get_nowait() if not free.empty() else await connected(port)
        status = await ask(asked)
        taken.append((due, time.perf_counter() - due, status))
        free.put_nowait(ask)

    calls = []
    for number, asked in zip(range(int(rate * seconds)), itertools.cycle(requests), strict=False):
        due = start + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        calls.append(asyncio.create_task(call(due, asked)))
    await asyncio.gather(*calls)
    return taken


async def connected(port: int) -> Callable[[bytes], Awaitable[int]]:
    """A connection: give it a request, and it gives the status of the answer once that is there whole."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def ask(asked: bytes) -> int:
        writer.write(asked)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = re.search(rb"content-length: (\d+)", head)
        assert length is not None
        await reader.readexactly(int(length[1]))
        return int(head.split()[1])

    return ask


def summary(asked: str, how: str, taken: Sequence[tuple[float, float, int]], processor: float) -> Load:
    """What the requests came to."""
    seconds = max(begun + lasted for begun, lasted, _ in taken) - min(begun for begun, _, _ in taken)
    lasted = sorted(lasted for _, lasted, _ in taken)
    return Load(
        asked,
        how,
        len(taken),
        len(taken) / seconds,
        1_000 * lasted[len(lasted) // 2],
        1_000 * lasted[int(0.99 * (len(lasted) - 1))],
        1_000 * processor / len(taken),
        sum(status != 200 for _, _, status in taken),
    )


if __name__ == "__main__":
    main()
