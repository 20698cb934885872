"""Writes a made-up log of any size, in parts: items by Zipf's law, users by a power law, ids as texts, times.

    python tests/benchmarks/made_up_log.py FOLDER --rows 100000000 --users 5000000 --items 500000

The log depends on its numbers alone. It is written block by block, so that a log of any size takes the memory of one.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

ROWS_A_PART = 5_000_000
# Exponents of the power laws: a tenth of the users have half of the rows, a tenth of the items four fifths.
USERS_EXPONENT, ITEMS_EXPONENT = 0.7, 1.0
FIRST_SECOND, SECONDS = 1_600_000_000, 94_672_800  # three years from September 2020
SUFFIXES = {"parquet": ".parquet", "csv": ".csv", "jsonl": ".jsonl"}


def ranks(random: np.random.Generator, count: int, kinds: int, exponent: float) -> NDArray[np.int64]:
    """Draw `count` ranks of 0 to `kinds` - 1, rank r with a probability like (r + 1) ** -exponent."""
    drawn = random.random(count)
    if exponent == 1:
        continuous = np.exp(drawn * math.log(kinds + 1))
    else:
        power = 1 - exponent
        continuous = (drawn * ((kinds + 1) ** power - 1) + 1) ** (1 / power)
    return np.clip(continuous.astype(np.int64) - 1, 0, kinds - 1)


def shuffled(values: NDArray[np.int64], kinds: int) -> NDArray[np.int64]:
    """Another number for each, so that neither an id nor its place tells how frequent it is."""
    factor = next(f for f in range(int(kinds * 0.618) | 1, 2 * kinds + 3, 2) if math.gcd(f, kinds) == 1)
    return (values * factor + 7) % kinds


def block(number: int, count: int, start: float, stop: float, arguments: argparse.Namespace) -> pl.DataFrame:
    """Rows of one part: `user`, `item`, `timestamp` between two shares of the log's time, perhaps `rating`."""
    random = np.random.default_rng([arguments.seed, number])
    users = shuffled(ranks(random, count, arguments.users, USERS_EXPONENT), arguments.users)
    items = shuffled(ranks(random, count, arguments.items, ITEMS_EXPONENT), arguments.items)
    times = FIRST_SECOND + (SECONDS * random.uniform(start, stop, count)).astype(np.int64)
    columns = {"user": _ids("U", users), "item": _ids("I", items), "timestamp": pl.Series(times)}
    if arguments.ratings:
        columns["rating"] = pl.Series(random.integers(1, 11, count) / 2)
    return pl.DataFrame(columns)


def _ids(letter: str, numbers: NDArray[np.int64]) -> pl.Series:
    digits = pl.Series(numbers).cast(pl.String).str.zfill(7).alias("digits").to_frame()
    return digits.select(pl.concat_str(pl.lit(letter), "digits")).to_series()


def write(folder: Path, arguments: argparse.Namespace) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    parts = -(-arguments.rows // arguments.part)
    for number in range(parts):
        count = min(arguments.part, arguments.rows - number * arguments.part)
        rows = block(number, count, number / parts, (number + 1) / parts, arguments)
        path = folder / f"part-{number:05}{SUFFIXES[arguments.format]}"
        match arguments.format:
            case "parquet":
                rows.write_parquet(path)
            case "csv":
                rows.write_csv(path)
            case "jsonl":
                rows.write_ndjson(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--users", type=int, required=True)
    parser.add_argument("--items", type=int, required=True)
    parser.add_argument("--part", type=int, default=ROWS_A_PART, help="rows of a part")
    parser.add_argument("--format", choices=sorted(SUFFIXES), default="parquet")
    parser.add_argument("--ratings", action="store_true", help="half stars, as one more column")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    write(arguments.folder, arguments)


if __name__ == "__main__":
    main()
