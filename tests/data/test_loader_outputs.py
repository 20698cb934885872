"""A loader's slip is named where it returns, not by whatever stumbles over it later."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from glta_cli.core.errors import PluginError
from glta_cli.data.loader_outputs import check_files, check_raw
from glta_cli.plugin import RawDataset


def interactions(**columns: Any) -> pl.LazyFrame:
    return pl.LazyFrame({"user": ["a"], "item": ["x"], **columns})


def items(**columns: Any) -> pl.LazyFrame:
    return pl.LazyFrame({"item": ["x"], "title": ["X"], **columns})


@pytest.mark.parametrize(
    "raw",
    [
        RawDataset(interactions()),
        RawDataset(interactions(rating=[1], timestamp=[7]), items(description=[None])),
        RawDataset(interactions(rating=[0.5]), items(description=["long"])),
        RawDataset(interactions(split=["valid"])),
        RawDataset(interactions(weight=[2], seen=[False])),
    ],
)
def test_a_right_dataset_passes(raw: RawDataset) -> None:
    check_raw(raw)


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (None, "read() returns nothing, not a RawDataset"),
        (interactions(), "read() returns a LazyFrame, not a RawDataset"),
        (
            RawDataset(interactions().collect()),  # type: ignore[arg-type]
            "read() returns interactions that are a DataFrame, not a polars LazyFrame",
        ),
        (
            RawDataset(interactions().rename({"user": "usr"})),
            "read() returns interactions with the columns usr, item, not item, user and perhaps "
            "rating, seen, split, timestamp, weight",
        ),
        (RawDataset(interactions(user=[7])), "read() returns interactions whose user is Int64, not strings"),
        (
            RawDataset(interactions(timestamp=["2020"])),
            "read() returns interactions whose timestamp is String, not whole seconds",
        ),
        (RawDataset(interactions(split=[1])), "read() returns interactions whose split is Int64, not strings"),
        (RawDataset(interactions(weight=["2"])), "read() returns interactions whose weight is String, not numbers"),
        (RawDataset(interactions(seen=[1])), "read() returns interactions whose seen is Int64, not true or false"),
        (
            RawDataset(interactions(split=["dev"])),
            "read() returns interactions whose split is 'dev' in a row, not train, valid or test",
        ),
        (
            RawDataset(pl.LazyFrame({"user": ["a", "a"], "item": ["x", "y"], "split": ["train", None]})),
            "read() returns interactions whose split is None in a row, not train, valid or test",
        ),
        (RawDataset(interactions(rating=["5"])), "read() returns interactions whose rating is String, not numbers"),
        (
            RawDataset(interactions(), items(colour=["red"])),
            "read() returns items with the columns item, title, colour, not item, title and perhaps description",
        ),
        (RawDataset(interactions(), items(title=[1])), "read() returns items whose title is Int64, not strings"),
    ],
)
def test_a_slip_is_named(raw: Any, told: str) -> None:
    with pytest.raises(PluginError) as caught:
        check_raw(raw)
    assert str(caught.value) == told


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (None, "locate() returns nothing, not a mapping of roles to files"),
        (Path("x"), "locate() returns a PosixPath, not a mapping of roles to files"),
        ({}, "locate() returns a dict, not a mapping of roles to files"),
        ({"ratings": Path("/nowhere")}, "locate() returns PosixPath('/nowhere') as 'ratings', which is no file"),
        ({"ratings": "text"}, "locate() returns 'text' as 'ratings', which is no file"),
    ],
)
def test_files_have_to_be_there(files: Any, told: str) -> None:
    with pytest.raises(PluginError) as caught:
        check_files(files)
    assert str(caught.value) == told


def test_files_that_are_there_pass(tmp_path: Path) -> None:
    (tmp_path / "ratings.csv").touch()
    check_files({"ratings": tmp_path / "ratings.csv"})
