"""Tokens a second of stages 2 and 3 beside a bare forward and backward of the same prompts, and their memory.

    python tests/benchmarks/throughput.py [--models MODEL ...] [--dtypes DTYPE ...] [--rows ROW ...]
        [--layers N] [--steps N] [--batch N] [--checkpointing]

A row is a stage of a model in one dtype, the model frozen or with adapters: its steps through the product's training
loop, then as many of transformers alone over the same batches (`stage_steps.py` says what both do), each side in a
process of its own. Figures are medians over the steps behind the first ones, which warm up. On a CPU they stand a
second of the processor, which other work on the machine does not change, and a second on the clock; on a GPU on the
clock alone. Behind them the most memory the stage had, as `estimates.py` measures it, beside what `--dry-run` said.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from estimates import MEBIBYTE, RUN
from stage_steps import StepTime, bare_side, products_side
from throughput_cases import DTYPES, MODELS, ROWS, SCRIPT, SHAPE_7B, TINY, Case, NoFiguresError, cases, child, sizes_of


@dataclass(frozen=True)
class Side:
    """Medians of a side's steps, tokens a second, and bytes its process and the GPU had at most."""

    by_processor: float
    by_clock: float
    host: int
    device: int
    steps: list[StepTime]


@dataclass(frozen=True)
class Row:
    """A stage of a case, as the product runs it and as transformers alone does.

    Attributes:
        place: whose memory counts: the `device`'s where a GPU computes, else the `host`'s.
        about: layers, device and threads.
        predicted: bytes.
    """

    name: str
    model: str
    dtype: str
    place: str
    about: str
    ours: Side
    bare: Side
    predicted: int

    @property
    def peak(self) -> int:
        return self.ours.device if self.place == "device" else self.ours.host


def compared(case: Case, name: str, work: Path, warm_up: int) -> Row:
    """A row: the product's steps, then the bare model's over the same prompts.

    Raises:
        NoFiguresError: one of them failed.
    """
    stage, _ = ROWS[name]
    folder = work / f"{case.model}-{case.dtype}-{name}"
    folder.mkdir()
    ours = child(SCRIPT, "--product", str(case.recipe), str(work / "data"), stage, str(folder))
    bare = child(SCRIPT, "--bare", str(folder))
    place = "device" if ours["device"] else "host"
    predicted = case.foretold[stage]["places"][place]["total"]
    sides = (side_of(each, warm_up) for each in (ours, bare))
    return Row(name, case.model, case.dtype, place, ours["about"], *sides, predicted)


def side_of(told: Mapping[str, Any], warm_up: int) -> Side:
    steps = [StepTime(**step) for step in told["steps"]]
    counted = steps[warm_up:]
    by_processor = statistics.median(step.tokens / step.processor for step in counted)
    by_clock = statistics.median(step.tokens / step.wall for step in counted)
    return Side(by_processor, by_clock, told["host"], told["device"], steps)


# ------------------------------------------------------------------------------------------------------ the table


def headings(row: Row) -> str:
    """Of the rows of one model in one dtype; no line is wider than 80 columns."""
    blocks = ["tokens/s by the clock", "MiB at most"]
    columns = [f"{'ours':>7} {'bare':>7} {'ratio':>5}", f"{'took':>7} {'said':>7} {'ratio':>5}"]
    if row.place == "host":
        blocks.insert(0, "tokens/processor s")
        columns.insert(0, columns[0])
    above = " ".join(f"{block:>21}" for block in blocks)
    return f"\n{row.model} in {row.dtype}: {row.about}\n{'':<14}{above}\n{'stage':<14}{' '.join(columns)}"


def shown(row: Row) -> str:
    """One line of the table."""
    pairs = [(row.ours.by_clock, row.bare.by_clock), (row.peak / MEBIBYTE, row.predicted / MEBIBYTE)]
    ratios = [row.ours.by_clock / row.bare.by_clock, row.predicted / row.peak]
    if row.place == "host":
        pairs.insert(0, (row.ours.by_processor, row.bare.by_processor))
        ratios.insert(0, row.ours.by_processor / row.bare.by_processor)
    cells = (f"{figure(a)} {figure(b)} {ratio:>5.2f}" for (a, b), ratio in zip(pairs, ratios, strict=True))
    return f"{row.name:<14}{' '.join(cells)}"


def figure(value: float) -> str:
    return f"{value:>7,.1f}" if value < 100 else f"{round(value):>7,}"


def compare(options: argparse.Namespace) -> int:
    """Measure every row that is asked for, print and keep them; 1 where one could not be measured."""
    from glta_cli.core.durations import shown_duration

    sizes = sizes_of(options)
    options.out.mkdir(parents=True, exist_ok=True)
    written = options.out / "throughput.json"
    begun = time.monotonic()
    rows: list[Row] = []
    failed = 0
    with tempfile.TemporaryDirectory(prefix="glta-throughput-") as temporary:
        work = Path(temporary)
        print("preparing data and asking glta what each case takes", flush=True)
        try:
            found = cases(options, sizes, work)
        except NoFiguresError as error:
            print(error, file=sys.stderr)
            return 1
        planned = [(case, row) for case in found for row in options.rows if ROWS[row][1] == case.lora]
        about = shown_duration(sum(case.seconds(row) for case, row in planned))
        print(f"rows: {len(planned)}, each of {sizes.all_steps} steps on either side; about {about}", flush=True)
        for outcome in measured_rows(planned, work, sizes.warm_up):
            if isinstance(outcome, str):
                failed += 1
                print(outcome, flush=True)
                continue
            if not rows or (rows[-1].model, rows[-1].dtype) != (outcome.model, outcome.dtype):
                print(headings(outcome))
            rows.append(outcome)
            print(shown(outcome), flush=True)
            # At once: whoever stops it keeps what was measured.
            written.write_text(json.dumps([asdict(row) | {"peak": row.peak} for row in rows], indent=1))
    if SHAPE_7B in options.models:
        print(sizes.remark(), end="")
    told = f"; written: {written}" if rows else ""
    print(f"\ntook {shown_duration(time.monotonic() - begun)}{told}")
    return 1 if failed else 0


def measured_rows(planned: Sequence[tuple[Case, str]], work: Path, warm_up: int) -> Iterator[Row | str]:
    """Each row, or why there is none."""
    for case, name in planned:
        try:
            yield compared(case, name, work, warm_up)
        except NoFiguresError as error:
            yield f"{name} of {case.model} in {case.dtype}: no figures: {error}"


# ---------------------------------------------------------------------------------------------------- the command


def main() -> int:
    options = arguments().parse_args()
    if options.prepare:
        return answered(lambda: publish(*options.prepare))
    if options.product:
        recipe, data, stage, folder = options.product
        return answered(lambda: products_side(Path(recipe), Path(data), stage, Path(folder)))
    if options.bare:
        print(json.dumps(bare_side(Path(options.bare))))
        return 0
    return compare(options)


def answered(work: Callable[[], Any]) -> int:
    """Print what a process of the product's found as JSON; where it cannot be had say why."""
    from glta_cli.core.errors import GltaError

    try:
        print(json.dumps(work()))
    except GltaError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def publish(recipe: str, data: str, *stages: str) -> None:
    """Run these stages of a recipe, and those they read."""
    from glta_cli.commands.options import open_pipeline

    pipeline = open_pipeline(recipe, RUN, None, Path(data), None, "auto")
    for stage in stages:
        pipeline.ensure(stage)


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=(*MODELS, TINY), default=MODELS, help="by default all but tiny")
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=DTYPES, help="both by default")
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS), help="all by default")
    parser.add_argument("--layers", type=count, help="of the 7B shape; by default 32 on a GPU, 2 without one")
    parser.add_argument("--steps", type=count, default=5, help="whose median counts (5)")
    parser.add_argument("--warm-up", type=count, default=2, help="steps before them (2)")
    parser.add_argument("--batch", type=count, help="prompts of a step of stage 2, of 3 twice; 16, 4 without a GPU")
    parser.add_argument("--checkpointing", action="store_true", help="compute activations again in the backward pass")
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks"), help="folder of throughput.json")
    parser.add_argument("--prepare", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--product", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--bare", help=argparse.SUPPRESS)
    return parser


def count(text: str) -> int:
    """A whole number from 1."""
    value = int(text) if text.isdecimal() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1")
    return value


if __name__ == "__main__":
    sys.exit(main())
