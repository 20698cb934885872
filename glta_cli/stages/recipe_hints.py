"""What data loading says of its options, for commands that take none: as a recipe calls them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from glta_cli.core.errors import GltaError, InputErrors
from glta_cli.core.printable import shell_word

# Options of `glta prepare` that stand for settings.
_SETTINGS = {
    "--min-rating": "dataset.min_rating",
    "--kcore": "dataset.kcore",
    "--split": "dataset.split.strategy",
    "--most-dropped": "dataset.most_dropped",
}


@contextmanager
def hints_of_run(name: str) -> Iterator[None]:
    """Inside, an error's hint that names an option names the setting instead, and how a run comes by another one."""
    try:
        yield
    except GltaError as error:
        for each in error.errors if isinstance(error, InputErrors) else [error]:
            told = in_words_of_recipe(each.hint or "")
            if each.hint and told != each.hint:
                command = f"glta recommend --recipe FILE --run {shell_word(name)}"
                each.hint = f"{told}; a run keeps its settings: say it in the recipe, and {command} trains it anew"
        raise


@contextmanager
def hints_as_overrides() -> Iterator[None]:
    """Inside, an error's hint that names an option of `glta prepare` names `--set` instead, as every command has it."""
    try:
        yield
    except GltaError as error:
        for each in error.errors if isinstance(error, InputErrors) else [error]:
            each.hint = each.hint and as_overrides(each.hint)
        raise


def in_words_of_recipe(text: str) -> str:
    """A sentence with the settings of a recipe in place of the options of `glta prepare` that stand for them."""
    return re.sub(r"(?<![\w-])--set (?=[\w.]+=)", "", as_overrides(text))


def as_overrides(text: str) -> str:
    """A sentence with `--set SETTING=` in place of the options of `glta prepare` that stand for settings."""
    for option, setting in _SETTINGS.items():
        text = re.sub(rf"{option} none\b", f"--set {setting}=null", text)
        text = re.sub(rf"{option} (?!and\b|or\b)(?=[\w.])", f"--set {setting}=", text)
        text = re.sub(rf"{option}\b", setting, text)
    return re.sub(r"(?<![\w-])(?:-o|--option) (?=\w+=)", "--set dataset.options.", text)
