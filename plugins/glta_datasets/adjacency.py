"""Splits as adjacency lists: train.txt, test.txt and perhaps valid.txt, in each line a user and its items.

The layout in which NGCF and LightGCN publish Gowalla, Yelp2018 and Amazon-book, and many after them their own.
Source: Wang et al., NGCF, SIGIR 2019; He et al., LightGCN, SIGIR 2020.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from glta_cli.plugin import Fetch, InputError, RawDataset, SeenColumn, SeenFile
from glta_datasets.encodings import as_utf8
from glta_datasets.files import read_bytes
from glta_datasets.settings import NoSettings

# In the order in which a pair that stands in several of them counts.
PARTS: Final = ("train", "valid", "test")
EXPECTED: Final = "a line is a user and its items, such as `0 12 7 345`: integers with spaces between"

_ITEMS_SHOWN: Final = 3
_LINE: Final = r"^[ \t\r]*([0-9]+([ \t\r]+[0-9]+)*[ \t\r]*)?$"


@dataclass(frozen=True)
class Remote:
    """A file of a split and what is known of it."""

    url: str
    size: int | None = None
    sha256: str | None = None


_LIGHTGCN: Final = "https://raw.githubusercontent.com/kuandeng/LightGCN/b067ec05f16a24e0e1efe63cd82385f0c469af20/Data"

# Dataset -> part -> where it is published; the authors publish no validation part.
PUBLISHED: Final[Mapping[str, Mapping[str, Remote]]] = {
    "lightgcn-gowalla": {
        "train": Remote(f"{_LIGHTGCN}/gowalla/train.txt"),
        "test": Remote(
            f"{_LIGHTGCN}/gowalla/test.txt",
            1_372_559,
            "099a2a73924e4b754dc6efd730d764f492321b53c38eb93298850c83acf57be3",
        ),
    },
}


class AdjacencySplit:
    """Loads a split from a folder of adjacency lists, or from where it is published."""

    def __init__(self, name: str, options: NoSettings) -> None:
        self.name = name
        self.published = PUBLISHED.get(name, {})
        self.needs_source = not self.published

    def locate(self, source: Path | None, fetch: Fetch) -> Mapping[str, Path]:
        """Roles `train` and `test` and, where it lies beside them, `valid`."""
        if source is None and self.needs_source:
            raise InputError(
                f"{self.name} has no place to be fetched from",
                location=f"dataset {self.name}",
                hint=f"name the folder of train.txt and test.txt: glta prepare {self.name} --source FOLDER",
            )
        if source is None:
            return {
                part: fetch.url(file.url, size=file.size, sha256=file.sha256) for part, file in self.published.items()
            }
        folder = source if source.is_dir() else source.parent
        files = {part: folder / f"{part}.txt" for part in PARTS}
        found = {part: path for part, path in files.items() if path.is_file()}
        missing = [files[part].name for part in ("train", "test") if part not in found]
        if missing or not (source.is_dir() or source in found.values()):
            raise InputError(
                f"there is no {' and no '.join(missing)}" if missing else "it is none of the split's files",
                location=str(source),
                hint=f"{self.name} reads train.txt, test.txt and perhaps valid.txt of one folder",
            )
        return found

    def read(self, files: Mapping[str, Path]) -> RawDataset:
        """Every pair of every part, with the part it stands in as `split`."""
        parts = {part: _pairs(files[part], part) for part in PARTS if part in files}
        pairs = pl.concat(parts.values())
        seen = tuple(_seen(files[part], rows) for part, rows in parts.items())
        return RawDataset(pairs.lazy(), read=pairs.height, files=seen)


def _seen(path: Path, pairs: pl.DataFrame) -> SeenFile:
    """What is told of a file: it has no columns, but a first number and those behind it."""
    user = None if pairs.is_empty() else str(pairs["user"][0])
    items = ", ".join(pairs.filter(pl.col("user") == user)["item"].head(_ITEMS_SHOWN)) or None
    columns = (SeenColumn("first number of a line", "user", user), SeenColumn("numbers behind it", "item", items))
    return SeenFile(path, {"format": "a user and its items a line"}, columns, pairs.height)


def _pairs(path: Path, part: str) -> pl.DataFrame:
    """A file's pairs in its order; a user who stands alone in a line has none."""
    content = as_utf8(read_bytes(path), str(path))
    lines = pl.Series("line", content.decode("utf-8").split("\n"), dtype=pl.String)
    readable = lines.str.contains(_LINE)
    if not readable.all():
        raise _unreadable(path, lines, int(readable.arg_min() or 0))
    numbers = pl.DataFrame({"numbers": lines.str.extract_all("[0-9]+")})
    return (
        numbers.select(user=pl.col("numbers").list.first(), item=pl.col("numbers").list.slice(1))
        .filter(pl.col("item").list.len() > 0)
        .explode("item")
        .with_columns(split=pl.lit(part))
    )


def _unreadable(path: Path, lines: pl.Series, index: int) -> InputError:
    word = next(word for word in re.split("[ \t\r]+", lines[index]) if word and not re.fullmatch("[0-9]+", word))
    shown = word if len(word) <= 40 else f"{word[:40]}..."
    return InputError(f"'{shown}' is no integer", location=f"{path}:{index + 1}", hint=EXPECTED)
