"""Raw files to interactions by index, beside pandas."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from step import SHARED_DATA, Step, Work

REVIEWS = "reviews_Sports_and_Outdoors_5.json.gz"
FIELDS = ("reviewerID", "asin", "overall", "unixReviewTime")
COLUMNS = ("user", "item", "rating", "timestamp")
ROWS, KCORE = 1_000_000, 10


class Column:
    """A column that becomes an array when the result is written, outside the timed part."""

    def __init__(self, column: Any) -> None:
        self.column = column

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = np.asarray(self.column)
        return array if array.dtype.kind in "if" else np.array(list(self.column), dtype="S")


# ---------------------------------------------------------------------------------------------- data


def shared(*parts: str) -> Path:
    return Path(os.environ[SHARED_DATA]).joinpath(*parts)


def made(name: str, write: Callable[[Path], None]) -> Path:
    """A file both sides read; the first to want it writes it."""
    path = Path(tempfile.gettempdir()) / "glta-benchmarks" / name
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{os.getpid()}-{path.name}")
        write(part)
        part.rename(path)
    return path


def repeated(path: Path, size: int) -> Path:
    """The file `size` times over; gzip files may be written one behind the other."""

    def write(target: Path) -> None:
        with target.open("wb") as output:
            for _ in range(size):
                with path.open("rb") as source:
                    shutil.copyfileobj(source, output)

    return path if size == 1 else made(f"times-{size}/{path.name}", write)


def reviews_with_texts() -> Path:
    """The 2014 reviews with all fields of the release, their texts drawn from real reviews of other categories."""
    return made(f"with-texts/{REVIEWS}", _write_reviews)


def _write_reviews(path: Path) -> None:
    words = " ".join(_real_texts()).split()
    random = np.random.default_rng(0)
    with gzip.open(shared("amazon-sports-2014", REVIEWS), "rt") as source, gzip.open(path, "wt", 6) as output:
        for line in source:
            user, item, _, time = json.loads(line).values()
            length = int(min(random.lognormal(4.2, 0.9), 2000)) + 1
            phrases = [" ".join(words[start : start + 6]) for start in random.integers(0, len(words), length // 6 + 1)]
            review = {
                "reviewerID": user,
                "asin": item,
                "reviewerName": phrases[0][:20],
                "helpful": [0, int(random.integers(0, 9))],
                "reviewText": " ".join(phrases),
                "overall": float(random.integers(1, 6)),
                "summary": phrases[0],
                "unixReviewTime": time,
                "reviewTime": "08 1, 2013",
            }
            output.write(json.dumps(review) + "\n")


def _real_texts() -> Iterator[str]:
    with gzip.open(shared("amazon-giftcards-2018-raw", "Gift_Cards_5.json.gz"), "rt") as lines:
        for line in lines:
            yield json.loads(line).get("reviewText", "")
    for user in json.loads(shared("amazon-allbeauty-2023-5core", "filtered_user_reviews.json").read_bytes()):
        for review in user["reviews"]:
            yield review["text"]


def movielens() -> Path:
    """`ratings.dat` of MovieLens 1M: the real pairs, with drawn ratings and times."""
    return made("ratings.dat", _write_ratings)


def _write_ratings(path: Path) -> None:
    import polars as pl

    pairs = pl.read_parquet(shared("ml-1m-implicit", "ratings.parquet")).rows()
    random = np.random.default_rng(0)
    ratings, times = random.integers(1, 6, len(pairs)), random.integers(956_703_932, 1_046_454_590, len(pairs))
    rows = zip(pairs, ratings, times, strict=True)
    path.write_text("".join(f"{user}::{item}::{rating}::{time}\n" for (user, item), rating, time in rows))


def drawn_pairs(size: int) -> tuple[np.ndarray, np.ndarray]:
    """User and item indices [ROWS * size], user after user; few of each have many rows and many have few."""

    def write(path: Path) -> None:
        random = np.random.default_rng(0)
        users = np.sort(100_000 * size * random.random(ROWS * size) ** 3)
        items = 60_000 * size * random.random(ROWS * size) ** 3
        with path.open("wb") as file:
            np.save(file, np.stack([users, items]).astype(np.int64))

    users, items = np.load(made(f"pairs-{size}.npy", write))
    return users, items


def drawn_ids(size: int) -> dict[str, list[str]]:
    """The same as ids as long as Amazon's."""
    users, items = drawn_pairs(size)
    return {"user": [f"A{user:013d}" for user in users], "item": [f"B{item:09d}" for item in items]}


# --------------------------------------------------------------------------------------------- Amazon


def our_reviews(path: Callable[[], Path]) -> Callable[[int], Work]:
    def prepare(size: int) -> Work:
        from glta_cli.data.preparation import loader_of
        from glta_cli.recipe.schema import DatasetSettings

        loader = loader_of(DatasetSettings(name="amazon-sports"))
        files = {"interactions": repeated(path(), size)}

        def work() -> Mapping[str, Any]:
            rows = loader.read(files).interactions.collect()
            return {name: Column(rows[name]) for name in COLUMNS}

        return work

    return prepare


def pandas_reviews(path: Callable[[], Path]) -> Callable[[int], Work]:
    def prepare(size: int) -> Work:
        import pandas as pd

        file = repeated(path(), size)

        def work() -> Mapping[str, Any]:
            rows = pd.read_json(file, lines=True)
            return {name: Column(rows[field]) for name, field in zip(COLUMNS, FIELDS, strict=True)}

        return work

    return prepare


def placeholder_reviews() -> Path:
    return shared("amazon-sports-2014", REVIEWS)


def our_second_prepare(size: int) -> Work:
    from glta_cli.data.preparation import prepare
    from glta_cli.recipe.schema import DatasetSettings
    from glta_cli.workspace.workspace import Workspace

    folder = tempfile.TemporaryDirectory(prefix="glta-bench-")
    workspace = Workspace(Path(folder.name))
    settings = DatasetSettings(name="amazon-sports", source=str(repeated(reviews_with_texts(), size)), kcore=0)
    prepare(settings, workspace)

    def work() -> Mapping[str, Any]:
        dataset, up_to_date = prepare(settings, workspace)
        assert up_to_date
        assert folder.name
        return {name: dataset.summary()[name] for name in ("users", "items", "interactions")}

    return work


def pandas_prepare(size: int) -> Work:
    import pandas as pd

    file = repeated(reviews_with_texts(), size)

    def work() -> Mapping[str, Any]:
        rows = pd.read_json(file, lines=True).drop_duplicates(["reviewerID", "asin"])
        users, items = (pd.factorize(rows[name])[1] for name in FIELDS[:2])
        return {"users": len(users), "items": len(items), "interactions": len(rows)}

    return work


# ------------------------------------------------------------------------------------------ MovieLens


def our_ratings(size: int) -> Work:
    from glta_cli.data.preparation import loader_of
    from glta_cli.recipe.schema import DatasetSettings

    loader = loader_of(DatasetSettings(name="movielens-1m"))
    files = {"ratings": repeated(movielens(), size)}

    def work() -> Mapping[str, Any]:
        rows = loader.read(files).interactions.collect()
        return {name: Column(rows[name]) for name in COLUMNS}

    return work


def pandas_ratings(size: int) -> Work:
    import pandas as pd

    file = repeated(movielens(), size)

    def work() -> Mapping[str, Any]:
        rows = pd.read_csv(file, sep="::", engine="python", names=list(COLUMNS), encoding="latin-1")
        return {name: Column(rows[name]) for name in COLUMNS}

    return work


# ------------------------------------------------------------------------------- k-core and id mapping


def our_kcore(size: int) -> Work:
    from glta_cli.data.cleaning import kcore_mask

    users, items = drawn_pairs(size)
    return lambda: {"kept": np.flatnonzero(kcore_mask(users, items, KCORE))}


def pandas_kcore(size: int) -> Work:
    import pandas as pd

    users, items = drawn_pairs(size)
    pairs = pd.DataFrame({"user": users, "item": items})

    def work() -> Mapping[str, Any]:
        kept = pairs
        while True:
            counts = [kept.groupby(name)[name].transform("size") for name in ("user", "item")]
            enough = (counts[0] >= KCORE) & (counts[1] >= KCORE)
            if enough.all():
                return {"kept": kept.index.to_numpy()}
            kept = kept[enough]

    return work


def our_numbers(size: int) -> Work:
    import polars as pl

    from glta_cli.data.cleaning import codes_of, number_in_order

    ids = pl.DataFrame(drawn_ids(size))

    def work() -> Mapping[str, Any]:
        result: dict[str, Any] = {}
        for name, codes in zip(ids.columns, codes_of(ids, *ids.columns), strict=True):
            result[name], places = number_in_order(codes)
            result[f"{name}_ids"] = Column(ids[name].gather(places))
        return result

    return work


def pandas_numbers(size: int) -> Work:
    import pandas as pd

    ids = pd.DataFrame(drawn_ids(size))

    def work() -> Mapping[str, Any]:
        result: dict[str, Any] = {}
        for name in ids:
            result[name], kinds = pd.factorize(ids[name])
            result[f"{name}_ids"] = Column(kinds)
        return result

    return work


# ---------------------------------------------------------------------------------------------- checks


def same(ours: Mapping[str, Any], peer: Mapping[str, Any]) -> None:
    """Equal, value by value; an id that one side reads as a number counts by its digits."""
    assert set(ours) == set(peer)
    for name, theirs in peer.items():
        mine = ours[name].astype(theirs.dtype) if theirs.dtype.kind in "if" else ours[name]
        np.testing.assert_array_equal(mine, theirs, err_msg=name)


STEPS: tuple[Step, ...] = (
    Step(
        name="Amazon reviews to interactions",
        peer_name="pandas.read_json(lines=True)",
        ours=our_reviews(reviews_with_texts),
        peer=pandas_reviews(reviews_with_texts),
        check=same,
        targets={"cpu": 6, "wall": 10, "memory": 20},
        peer_interpreter="peers",
        sizes=(1, 4, 16),
        note="296,337 reviews, 76 MB packed and 236 MB unpacked; the wall time needs both cores free.",
    ),
    Step(
        name="Amazon reviews without texts to interactions",
        peer_name="pandas.read_json(lines=True)",
        ours=our_reviews(placeholder_reviews),
        peer=pandas_reviews(placeholder_reviews),
        check=same,
        targets={"cpu": 6, "wall": 10},
        peer_interpreter="peers",
        note="a line holds the four wanted fields and nothing else, so nothing is saved by leaving fields out.",
    ),
    Step(
        name="second prepare of the same reviews",
        peer_name="pandas, read and numbered anew",
        ours=our_second_prepare,
        peer=pandas_prepare,
        check=same,
        targets={"wall": 100},
        peer_interpreter="peers",
        sizes=(1, 4, 16),
        note="SHA-256 of the packed file, 76 MB at 1.5 GB/s, is nine tenths of it.",
    ),
    Step(
        name="MovieLens ratings.dat, 1M rows",
        peer_name="pandas.read_csv(engine='python')",
        ours=our_ratings,
        peer=pandas_ratings,
        check=same,
        targets={"wall": 20},
        peer_interpreter="peers",
        sizes=(1, 4, 16),
    ),
    Step(
        name="k-core, 1M rows",
        peer_name="pandas groupby and transform",
        ours=our_kcore,
        peer=pandas_kcore,
        check=same,
        targets={"wall": 8},
        peer_interpreter="peers",
        sizes=(1, 4, 16),
        note="three quarters of the rows leave, in some twenty rounds, each of which has to move what stays.",
    ),
    Step(
        name="id mapping, 1M rows",
        peer_name="pandas.factorize",
        ours=our_numbers,
        peer=pandas_numbers,
        check=same,
        targets={"wall": 3},
        peer_interpreter="peers",
        sizes=(1, 4, 16),
        note="both look up every string once; ours does the two columns at the same time, and pandas is spared the "
        "strings' hashes, which Python keeps from the first call.",
    ),
)
