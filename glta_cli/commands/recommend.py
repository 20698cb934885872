"""`glta recommend`: items of the catalogue for one user."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from glta_cli.answers.question import WISH_WEIGHT
from glta_cli.commands.options import (
    AnsweringRecipeOption,
    DataDirOption,
    DeviceOption,
    JsonOption,
    ProfileOption,
    RefreshOption,
    RunOption,
    SeedOption,
    SetOption,
    open_pipeline,
)
from glta_cli.commands.stage import estimated_seconds, stage_table, stages_up_to
from glta_cli.core.counts import counted
from glta_cli.core.errors import GltaError, InputError
from glta_cli.core.printable import printable
from glta_cli.core.terminal import (
    BOLD,
    CYAN,
    DIM,
    cells,
    padded,
    results_width,
    say,
    shortened,
    show_json,
    show_table,
    styled,
)
from glta_cli.stages.lineage import SERVING

if TYPE_CHECKING:
    from glta_cli.answers.question import Question
    from glta_cli.data.prepared import PreparedDataset
    from glta_cli.serving.recommender import AskedRun
    from glta_cli.stages.pipeline import Pipeline
    from glta_cli.workspace.artefact import Artefact

HISTORY_SHOWN = 5
# What a question may be wrong about, as its parts are called in Python.
QUESTIONS = frozenset({"user", "history", "model", "deep", "wish", "wish_weight"})


def recommend(
    user: Annotated[
        str | None, typer.Option("--user", metavar="ID", help="A user's id, as in the source data.")
    ] = None,
    history: Annotated[
        str | None,
        typer.Option(
            "--history",
            metavar="ITEM,...",
            help="Of somebody who is in no file: ids or titles, oldest first, with commas between them.",
        ),
    ] = None,
    k: Annotated[int, typer.Option("-k", metavar="N", min=1, help="How many items.")] = 10,
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="ROW", help="Rank by another row than the one validation found best."),
    ] = None,
    include_seen: Annotated[bool, typer.Option("--include-seen", help="Also what the person has met already.")] = False,
    deep: Annotated[
        bool,
        typer.Option("--deep", help="Have the trained models read the history, as they read the users of the log."),
    ] = False,
    wish: Annotated[
        str | None, typer.Option("--wish", metavar="WORDS", help="What is wanted, in words, beside the person.")
    ] = None,
    wish_weight: Annotated[
        float, typer.Option("--wish-weight", metavar="W", min=0, help="How much a wish counts beside the person.")
    ] = WISH_WEIGHT,
    recipe: AnsweringRecipeOption = None,
    run: RunOption = None,
    overrides: SetOption = None,
    data_dir: DataDirOption = None,
    seed: SeedOption = None,
    device: DeviceOption = None,
    refresh: RefreshOption = False,
    profile: ProfileOption = False,
    as_json: JsonOption = False,
) -> None:
    """Recommend items to one user, or to somebody who is in no file.

    Without --recipe or --run it asks the latest finished run. With nothing prepared it runs the quickstart recipe from
    the start and says what it does meanwhile.

    Example: glta recommend --user 42 -k 5
    Example: glta recommend --history "Heat (1995),Alien"
    Example: glta recommend --user 42 --wish "something funny for a long flight"
    """
    from glta_cli.answers.published import published_index
    from glta_cli.answers.question import Question
    from glta_cli.answers.run import Run

    question = Question(user, history_named(history), k, model, include_seen, deep, wish, wish_weight)
    with as_options():
        question.require_somebody()
        found = None
        if recipe is None and not overrides and seed is None and not refresh:
            found = published_index(run, data_dir)
            if found is not None and profile:
                say("nothing to profile: the index is up to date")
        if found is None:
            pipeline = open_pipeline(
                recipe, run, overrides, data_dir, seed, device, profile=profile, prefer_latest=True, refresh=refresh
            )
            found = made_index(pipeline, question)
        # The index is named by its content, so two runs may share one: only the command knows the run.
        answer = Run(*found, device).answer(question)
    if as_json:
        show_json(answer)
    else:
        show_answer(answer)


def history_named(history: str | None) -> tuple[str, ...] | None:
    """The items of `--history`, separated by commas; one that holds a comma stands in quotes.

    Raises:
        InputError: a quote has no end.
    """
    if history is None:
        return None
    import csv

    try:
        names = next(csv.reader([history], skipinitialspace=True, strict=True), [])
    except csv.Error as error:
        hint = 'separate ids or titles by commas; one with a comma stands in quotes: "Heat, 1995",A-12'
        raise InputError(f"cannot be read as a list: {error}", location="--history", hint=hint) from error
    return tuple(name.strip() for name in names if name.strip())


@contextmanager
def as_options() -> Iterator[None]:
    """Errors of a question name the option that asked it."""
    try:
        yield
    except GltaError as error:
        if error.location in QUESTIONS:
            error.location = f"--{error.location.replace('_', '-')}"
        raise


def made_index(pipeline: Pipeline, question: Question) -> tuple[AskedRun, Artefact]:
    """The index of a run whose stages run where they have not."""
    from glta_cli.serving.recommender import AskedRun

    pipeline.require(SERVING)
    asked = AskedRun(pipeline.name, pipeline.recipe.dataset.name)
    # Users are known once the data is prepared: a wrong id is not worth a training.
    prepared = pipeline.prepared()
    if question.user is not None:
        require_user(question.user, prepared, asked)
    announce(pipeline, prepared)
    return asked, pipeline.ensure(SERVING)


def require_user(user: str, prepared: PreparedDataset, asked: AskedRun) -> None:
    """Raise `InputError` where the prepared dataset has no user of that id."""
    from glta_cli.serving.recommender import USERS_FILE, unknown_user

    if user not in prepared.user_ids:
        raise unknown_user(user, prepared.user_ids, prepared.artefact.path / USERS_FILE, asked)


def announce(pipeline: Pipeline, prepared: PreparedDataset) -> None:
    """Say on stderr which stages are about to run, and about how long each takes here."""
    stages = stages_up_to(SERVING, pipeline)
    if all(artefact is not None for _, artefact in stages):
        return
    seconds = estimated_seconds(stages, pipeline, prepared)
    show_table(stage_table(pipeline.name, stages, seconds), on_stderr=True)
    # The table has said it.
    pipeline.announced = True


def show_answer(answer: Mapping[str, Any]) -> None:
    """The user's recent items, then the ranked list, on stdout."""
    width = results_width()
    user, run, dataset = (printable(str(answer[key])) for key in ("user", "run", "dataset"))
    somebody = "somebody new" if answer["user"] is None else f"user {user}"
    lines = []
    if answer["history"]:
        lines.append(styled(f"{somebody}, most recent first", DIM))
        lines += [shortened(f"  {printable(entry['title'])}", width) for entry in answer["history"][:HISTORY_SHOWN]]
        lines.append("")
    lines.append(styled(f"recommended to {somebody} by run {run} (dataset {dataset})", BOLD))
    if "answered_by" in answer:
        lines.append(styled(shortened(f"by {printable(answer['answered_by'])}", width), DIM))
    if "wish" in answer:
        wished = f"and by the wish (weight {answer['wish_weight']:g}): {printable(answer['wish'])}"
        lines.append(styled(shortened(wished, width), DIM))
    if answer["interactions"] is not None:
        until = f" until {answer['newest']}" if answer["newest"] else ""
        lines.append(styled(f"from {counted(answer['interactions'], 'interaction')}{until}{trained_on(answer)}", DIM))
    print("\n".join([*lines, "", *ranking_lines(answer["recommendations"], width)]))


def trained_on(answer: Mapping[str, Any]) -> str:
    """On how many of the interactions the parameters were trained, as the end of a sentence; '' where nobody knows."""
    if answer["trained"] is None:
        return ""
    trained, known = answer["trained"], answer["interactions"]
    if trained > known:
        return f", trained on {trained:,}"  # some are no more
    return f", trained on {'all' if trained == known else f'{trained:,}'} of them"


def ranking_lines(entries: Sequence[Mapping[str, Any]], width: int | None) -> list[str]:
    """Rank, item id, title and score, one item a line below a head; long ids, then titles are cut to fit into `width`.

    Written out here because importing rich would take longer than finding the items.
    """
    columns = ("rank", "item", "title", "score")
    rows = [(str(e["rank"]), printable(e["item"]), printable(e["title"]), f"{e['score']:.3f}") for e in entries]
    ranks, items, titles, scores = (max(map(cells, column)) for column in zip(columns, *rows, strict=True))
    if width is not None:
        # A title says more than an id: of what room there is, the ids take more than a third only if titles leave it.
        room = width - ranks - scores - 11
        items = max(len("item"), min(items, max(room // 3, room - titles)))
        titles = max(len("title"), min(titles, room - items))
        # The terminal would break the line anywhere, a score included.
        items = max(len("item"), min(items, room - titles))

    def line(rank: str, item: str, title: str, score: str, style: str) -> str:
        shown = styled(padded(item, items), style)
        return f" {rank:>{ranks}}   {shown}   {padded(title, titles)}   {score:>{scores}}"

    rule = f" {'─' * (ranks + items + titles + scores + 9)}"
    return [line(*columns, BOLD), rule, *(line(*row, CYAN) for row in rows)]
