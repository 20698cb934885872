"""Every step beside its peer: equal first, then timed in turn.

python tests/benchmarks/run.py [--only MODULE ...] [--peers PYTHON] [--out FOLDER] [--runs N] [--no-growth]
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER))

from measure import Located, Outcome, run_step  # noqa: E402 (found by the line above)
from report import table, write_report  # noqa: E402
from rich.console import Console  # noqa: E402
from step import SHARED_DATA  # noqa: E402


def main() -> int:
    options = arguments()
    if sys.platform != "linux":
        sys.exit("the benchmarks measure memory by Linux's /proc")
    os.environ.setdefault(SHARED_DATA, str(FOLDER.parents[2] / "shared" / "data"))
    console = Console(width=max(110, Console().width))
    outcomes: list[Outcome] = []
    for located in steps(options.only):
        console.print(f"[dim]{located.module}: {located.step.name} / {located.step.peer_name}[/]", highlight=False)
        outcomes.append(run_step(located, options.peers, runs=options.runs, growth=options.growth))
        if outcomes[-1].problem:
            console.print(f"  [red]{outcomes[-1].problem}[/]", highlight=False)
    console.print(table(outcomes))
    for outcome in outcomes:
        if outcome.note:
            console.print(f"[dim]{outcome.name} / {outcome.peer_name}[/]: {outcome.note}", highlight=False)
    written = write_report(outcomes, options.out)
    console.print(f"written: {', '.join(map(str, written))}", highlight=False)
    return 0 if all(outcome.problem is None for outcome in outcomes) else 1


def steps(modules: list[str] | None) -> list[Located]:
    """The steps of these modules, or of all."""
    names = modules or sorted(path.stem for path in (FOLDER / "steps").glob("[!_]*.py"))
    found = ((name, importlib.import_module(f"steps.{name}").STEPS) for name in names)
    return [Located(name, number, step) for name, all_steps in found for number, step in enumerate(all_steps)]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", metavar="MODULE", help="modules below steps/; all by default")
    parser.add_argument("--peers", type=Path, metavar="PYTHON", help="an interpreter with peers.txt installed")
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks"), help="folder of the report")
    parser.add_argument("--runs", type=int, help="timed calls of each side; the step's own number by default")
    parser.add_argument("--no-growth", dest="growth", action="store_false", help="leave out the larger sizes")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
