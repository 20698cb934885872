"""What `glta update` says of what is new, in a terminal of 80 columns."""

from __future__ import annotations

from pathlib import Path

from glta_cli.commands.update import update_lines
from glta_cli.core.terminal import cells
from glta_cli.stages.update import Update

WIDE = "\u5546\u54c1" * 40


def found(**changes: object) -> Update:
    values: dict[str, object] = {
        "run": "shop",
        "dataset": "table",
        "new": {"interactions": 0, "texts": 0, "titles": 0},
        "examples": {},
        "dropped": {},
        "untitled": 0,
        "delisted": [],
        "relisted": [],
        "unlisted": [],
        "since_training": {"interactions": 0.0},
        "served": None,
        "read_out": 0,
        "seconds": 0.0,
    }
    return Update(**{**values, **changes})  # type: ignore[arg-type]


def test_examples_in_wide_letters_keep_within_the_terminal() -> None:
    new = {"interactions": 3, "texts": 0, "titles": 0}
    dropped = {"missing item": (1, f"line 405: '{WIDE}'")}
    listing = {"delisted": [WIDE], "relisted": [WIDE], "unlisted": [WIDE]}
    lines = list(update_lines(found(new=new, examples={"interactions": [WIDE]}, dropped=dropped, **listing)))
    assert max(map(cells, lines)) <= 80
    assert "          1  row left out: missing item" in lines


def test_what_is_new_once_is_told_as_one() -> None:
    new = {"interactions": 1, "users": 1, "titles": 1, "texts": 1}
    lines = list(update_lines(found(new=new)))
    assert lines[1:4] == [
        "          1  new interaction",
        "          1  new user",
        "          1  item with another title",
    ]


def test_examples_say_how_many_more_there_are() -> None:
    new = {"interactions": 4, "users": 3, "titles": 0, "texts": 0}
    examples = {"interactions": ["a", "b", "c"], "users": ["u", "v", "w"]}
    lines = list(update_lines(found(new=new, examples=examples)))
    assert [line.strip() for line in lines[1:10]] == [
        *("4  new interactions", "a", "b", "c", "and 1 more"),
        *("3  new users", "u", "v", "w"),
    ]


def test_the_command_that_trains_again_works_in_the_same_folder() -> None:
    lines = " ".join(update_lines(found(unlisted=["a"]), named=True, data_dir=Path("my runs")))
    assert "until glta update --run shop --data-dir 'my runs' --train" in lines
