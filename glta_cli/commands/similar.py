"""`glta similar`: the items most like one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from glta_cli.commands.options import DataDirOption, JsonOption, RunOption
from glta_cli.commands.shown_answer import ranking_lines
from glta_cli.core.errors import GltaError
from glta_cli.core.printable import printable
from glta_cli.core.terminal import BOLD, DIM, results_width, shortened, show_json, styled

ASKED_BY = {"graph": "the cosine of vectors of", "text": "the cosine of vectors of", "linear": "the weight in"}


def similar(
    item: Annotated[str, typer.Argument(metavar="ITEM", help="An item's id or title.")],
    k: Annotated[int, typer.Option("-k", metavar="N", min=1, help="How many items.")] = 10,
    by: Annotated[
        str | None,
        typer.Option(
            "--by", metavar="WAY", help="graph, text or linear; by default what the run's served row is made of."
        ),
    ] = None,
    run: RunOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the items most like one, and by what they are.

    Without --run it asks the latest finished run.

    Example: glta similar "Toy Story (1995)" -k 5
    """
    from glta_cli.answers.published import required_index
    from glta_cli.answers.run import Run

    try:
        answer = Run(*required_index(run, data_dir)).alike(item, k, by=by)
    except GltaError as error:
        # As its parts are called in Python.
        error.location = {"item": "ITEM", "k": "-k", "by": "--by", "run": "--run"}.get(
            error.location or "", error.location
        )
        raise
    if as_json:
        show_json(answer)
    else:
        show_similar(answer)


def show_similar(answer: Mapping[str, Any]) -> None:
    """What the list is of and by, then the list, on stdout."""
    width = results_width()
    title, run, dataset = (printable(answer[key]) for key in ("title", "run", "dataset"))
    print(styled(shortened(f"like {title}, by run {run} (dataset {dataset})", width), BOLD))
    print(styled(f"the score is {ASKED_BY[answer['by']]} {printable(answer['row'])} (--by {answer['by']})", DIM))
    if not answer["similar"]:
        print("\nnothing is")
        return
    print("\n".join(["", *ranking_lines(answer["similar"], width)]))
