"""Times that order ids alone are told before a split in time rests on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from glta_cli.main import app

USERS, EACH = 120, 10


def prepared(folder: Path, items: list[list[str]], split: str) -> list[str]:
    """What `glta prepare` warns of, for users with these items in order of time."""
    folder.mkdir(exist_ok=True)
    rows = [
        f"u{user},{item},{1_600_000_000 + place}" for user, own in enumerate(items) for place, item in enumerate(own)
    ]
    (folder / "log.csv").write_text("user,item,timestamp\n" + "\n".join(rows) + "\n")
    result = CliRunner().invoke(
        app,
        ["prepare", "table", "--source", str(folder / "log.csv"), "--split", split, "--json"],
        catch_exceptions=False,
    )
    return [line for line in " ".join(result.stderr.split()).split("warning: ") if "in the order of their ids" in line]


def drawn(names: list[str]) -> list[list[str]]:
    generator = np.random.default_rng(0)
    return [[str(each) for each in generator.choice(names, EACH, replace=False)] for _ in range(USERS)]


@pytest.mark.parametrize("names", [[f"B{number:04}" for number in range(60)], [str(number) for number in range(60)]])
def test_items_sorted_by_id_are_told_where_the_split_is_in_time(
    names: list[str], tmp_path: Path, workspace_root: Path
) -> None:
    key = (lambda each: int(each)) if names[0].isdigit() else str
    items = [sorted(own, key=key) for own in drawn(names)]
    assert prepared(tmp_path / "up", items, "leave-last-out")
    assert prepared(tmp_path / "down", [own[::-1] for own in items], "temporal")
    assert not prepared(tmp_path / "up", items, "ratio")


def test_items_in_an_order_of_their_own_are_not_told(tmp_path: Path, workspace_root: Path) -> None:
    assert not prepared(tmp_path / "log", drawn([f"B{number:04}" for number in range(60)]), "leave-last-out")
