"""How long `glta --help` takes, beside a bare interpreter and the import of torch: medians of five runs.

python tests/benchmarks/startup.py [--json]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time

from rich.console import Console
from rich.table import Table

RUNS = 5
COMMANDS = {
    "python": ["-c", "pass"],
    "glta --help": ["-m", "glta_cli", "--help"],
    "glta plugins": ["-m", "glta_cli", "plugins"],
    "import torch": ["-c", "import torch"],
}


def seconds(arguments: list[str]) -> float:
    """Wall-clock seconds of one fresh interpreter."""
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()

    for arguments in COMMANDS.values():
        seconds(arguments)  # the first run reads the disk and writes byte code
    medians = {name: statistics.median(seconds(arguments) for _ in range(RUNS)) for name, arguments in COMMANDS.items()}

    if options.json:
        print(json.dumps({name: round(value, 4) for name, value in medians.items()}, indent=2))
        return
    table = Table(title=f"median of {RUNS} runs", title_justify="left")
    table.add_column("command", style="cyan")
    table.add_column("seconds", justify="right")
    for name, value in medians.items():
        table.add_row(name, f"{value:.3f}")
    Console().print(table)


if __name__ == "__main__":
    main()
