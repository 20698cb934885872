"""`glta similar`: the items most like one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from glta_cli.commands.item_options import WhereOption, tell
from glta_cli.commands.options import DataDirOption, JsonOption, RunOption
from glta_cli.commands.shown_answer import ranking_lines
from glta_cli.core.counts import agreeing, counted
from glta_cli.core.errors import GltaError, InputError, InputErrors
from glta_cli.core.printable import printable
from glta_cli.core.terminal import BOLD, DIM, results_width, shortened, show_json, styled

ASKED_BY = {"graph": "the cosine of vectors of", "text": "the cosine of vectors of", "linear": "the weight in"}
# What a question may be wrong about: as its parts are called in Python, and on the command line.
OPTIONS = {"item": "ITEM", "k": "-k", "by": "--by", "run": "--run", "text": "--text", "where": "--where"}


def similar(
    item: Annotated[str | None, typer.Argument(metavar="ITEM", help="An item's id or title.")] = None,
    k: Annotated[int, typer.Option("-k", metavar="N", min=1, help="How many items.")] = 10,
    by: Annotated[
        str | None,
        typer.Option(
            "--by", metavar="WAY", help="graph, text or linear; by default what the run's served row is made of."
        ),
    ] = None,
    text: Annotated[
        str | None,
        typer.Option("--text", metavar="WORDS", help="In place of an item: words that items' texts are near."),
    ] = None,
    where: WhereOption = None,
    run: RunOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the items most like one, or most like words.

    Without --run it asks the latest finished run.

    \b
    Example: glta similar "Toy Story (1995)" -k 5
    Example: glta similar --text "a heist that goes wrong" --where "year>=1990"
    """
    from glta_cli.answers.published import required_index
    from glta_cli.answers.run import Run

    require_one(item, text, by)
    try:
        asked = Run(*required_index(run, data_dir))
        if text is None:
            answer = asked.alike(str(item), k, by=by, where=where or ())
        else:
            answer = asked.like_words(text, k, where=where or ())
    except GltaError as error:
        for each in error.errors if isinstance(error, InputErrors) else [error]:
            each.location = OPTIONS.get(each.location or "", each.location)
        raise
    if as_json:
        show_json(answer)
    else:
        show_similar(answer)


def require_one(item: str | None, text: str | None, by: str | None) -> None:
    """Raise `InputError` unless an item or words are given, and words are to be compared with texts."""
    if item is None and text is None:
        hint = "name an item by its id or title, or words by --text"
        raise InputError("nothing is named that items are to be like", location="ITEM", hint=hint)
    if item is not None and text is not None:
        raise InputError("items are asked for like an item already", location="--text", hint="name an item or words")
    if text is not None and by not in (None, "text"):
        raise InputError(f"words are no part of '{printable(by)}'", location="--by", hint="leave it out beside --text")


def show_similar(answer: Mapping[str, Any]) -> None:
    """What the list is of and by, then the list, on stdout."""
    width = results_width()
    named = f"'{printable(answer['text'])}'" if "text" in answer else printable(answer["title"])
    run, dataset = (printable(answer[key]) for key in ("run", "dataset"))
    print(styled(shortened(f"like {named}, by run {run} (dataset {dataset})", width), BOLD))
    way = "" if "text" in answer else f" (--by {answer['by']})"
    print(styled(f"the score is {ASKED_BY[answer['by']]} {printable(answer['row'])}{way}", DIM))
    if "among" in answer:
        print(styled(f"among the {counted(answer['among'], 'item')} that are chosen", DIM))
    if "unmet" in answer:
        them = agreeing(answer["unmet"], "it", "them")
        print(
            styled(f"without {counted(answer['unmet'], 'item')} nobody has met: the graph knows nothing of {them}", DIM)
        )
    tell(answer.get("remarks", ()))
    if not answer["similar"]:
        print("\nnothing is")
        return
    print("\n".join(["", *ranking_lines(answer["similar"], width)]))
