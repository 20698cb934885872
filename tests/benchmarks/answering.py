"""What answers cost: one person in a process of its own beside `import torch`, all users beside a loop over one.

python tests/benchmarks/answering.py --data-dir DIR --run NAME --user ID --history ITEM,... --item ITEM [--runs N]

Each command runs N times in turn with the others, with one thread; the medians of its wall clock and of its processor
time are shown, the latter of itself and all its processes. Memory is what the process and its own take together, pages
they share counted once (PSS), the most of looks twenty times a second. The loop is extrapolated from the median of one.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

LOOK_SECONDS = 0.05
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS"), "1")


@dataclass(frozen=True)
class Cost:
    """Of one process and those it started: seconds on the wall, seconds of processors, and bytes at their peak."""

    wall: float
    cpu: float
    memory: int


def main() -> None:
    options = arguments()
    os.environ |= ONE_THREAD
    glta = [sys.executable, "-m", "glta_cli"]
    run = ["--run", options.run, "--data-dir", str(options.data_dir)]
    commands = {
        "python -c 'import torch'": [sys.executable, "-c", "import torch"],
        f"glta recommend --user {options.user}": [*glta, "recommend", "--user", options.user, *run],
        "glta recommend --history ...": [*glta, "recommend", "--history", options.history, *run],
        f"glta similar {options.item}": [*glta, "similar", options.item, *run],
    }
    print(f"load of the machine before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    costs = in_turn(commands, options.runs)
    print("| command | wall | processor time | memory |\n|---|---|---|---|")
    for name in commands:
        print(f"| {name} | {shown(median(costs[name]))} |")
    one = median(costs[f"glta recommend --user {options.user}"])
    with tempfile.TemporaryDirectory() as folder:
        for processes in options.processes:
            words = ["--users", "all", "-o", str(Path(folder, "o.parquet")), "--processes", str(processes), "--json"]
            command = [*glta, "recommend", *words, *run]
            many = [measured(command) for _ in range(options.batches)]
            told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
            best = median(many)
            rates = f"{told['users'] / best.wall:,.0f} users/s, {told['users'] / best.cpu:,.0f} a processor second"
            print(f"| --users all, {told['users']:,} users, {processes} process(es): {rates} | {shown(best)} |")
    loop = Cost(one.wall * told["users"], one.cpu * told["users"], one.memory)
    print(f"| the same one by one, from the median of {options.runs} | {shown(loop)} |")
    print(f"load of the machine after: {os.getloadavg()[0]:.1f}")


def in_turn(commands: dict[str, list[str]], runs: int) -> dict[str, list[Cost]]:
    """The costs of each command, which take turns; the first round is not counted."""
    costs: dict[str, list[Cost]] = {name: [] for name in commands}
    for number in range(runs + 1):
        for name, command in commands.items():
            cost = measured(command)
            if number:
                costs[name].append(cost)
    return costs


def measured(command: list[str]) -> Cost:
    """The cost of one command, which has to succeed."""
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    peak = 0
    while True:
        ended, status, used = os.wait4(process.pid, os.WNOHANG)
        if ended:
            break
        peak = max(peak, sum(memory_of(each) for each in family(process.pid)))
        time.sleep(LOOK_SECONDS)
    wall = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        assert process.stderr is not None
        sys.exit(f"{' '.join(command)} ended with {process.returncode}:\n{process.stderr.read().decode()}")
    return Cost(wall, used.ru_utime + used.ru_stime, peak)


def family(process: int) -> list[int]:
    """A process and those it started that are there now."""
    try:
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:
        return []
    return [process, *(each for child in children for each in family(int(child)))]


def memory_of(process: int) -> int:
    """Bytes, of pages shared with others its part; 0 where it has gone."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


def median(costs: list[Cost]) -> Cost:
    return Cost(
        statistics.median(each.wall for each in costs),
        statistics.median(each.cpu for each in costs),
        round(statistics.median(each.memory for each in costs)),
    )


def shown(cost: Cost) -> str:
    return f"{seconds(cost.wall)} | {seconds(cost.cpu)} | {cost.memory / 2**20:.0f} MiB"


def seconds(value: float) -> str:
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:,.1f} s"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True, help="where the run lies; it is only read")
    parser.add_argument("--run", required=True, help="a finished run")
    parser.add_argument("--user", required=True, help="the id of one of its users")
    parser.add_argument("--history", required=True, help="ids of items, with commas between them")
    parser.add_argument("--item", required=True, help="the id of one of its items")
    parser.add_argument("--runs", type=int, default=20, help="timed runs of each single command")
    parser.add_argument("--batches", type=int, default=3, help="timed runs for all users")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2], help="numbers of processes for all users")
    return parser.parse_args()


if __name__ == "__main__":
    main()
