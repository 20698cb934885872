"""`glta recommend`: items of the catalogue for one user."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from glta_cli.commands.item_options import ExceptOption, OnlyOption, WhereOption, chosen_by
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
from glta_cli.commands.recommend_many import many_asked
from glta_cli.commands.shown_answer import show_answer
from glta_cli.commands.stage import stage_table, stages_up_to
from glta_cli.core.errors import GltaError, InputErrors
from glta_cli.core.terminal import (
    say,
    show_json,
    show_table,
)
from glta_cli.stages.lineage import SERVING

if TYPE_CHECKING:
    from glta_cli.answers.history_entries import Entry
    from glta_cli.data.prepared import PreparedDataset
    from glta_cli.serving.recommender import AskedRun
    from glta_cli.stages.pipeline import Pipeline
    from glta_cli.workspace.artefact import Artefact

# What a question may be wrong about: as its parts are called in Python, and on the command line.
PARTS = ("user", "users", "history", "model", "only", "where", "diversity", "deep", "wish")
OTHERS = {"k": "-k", "without": "--except", "wish_weight": "--wish-weight"}
QUESTIONS = {name: f"--{name}" for name in PARTS} | OTHERS


def recommend(
    user: Annotated[
        list[str] | None,
        typer.Option("--user", metavar="ID", help="A user's id, as in the source data; repeatable."),
    ] = None,
    users: Annotated[
        str | None,
        typer.Option(
            "--users",
            metavar="all|FILE",
            help="Everyone, or those in a file: an id a line, or a table with a column user; - is standard input.",
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write the lists to a .parquet, .csv or .jsonl file; - is standard output.",
        ),
    ] = None,
    form: Annotated[
        str | None, typer.Option("--format", metavar="FORMAT", help="parquet, csv or jsonl, whatever FILE ends in.")
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option(
            "--processes", metavar="N", min=1, help="Processes that answer; by default the processors that are free."
        ),
    ] = None,
    history: Annotated[
        str | None,
        typer.Option(
            "--history",
            metavar="ITEM[=EVENT],...",
            help="Of somebody who is in no file: ids or titles, oldest first, with commas between them, each with an "
            "event of the log where it has such; one named again weighs more where the log's repeated rows do.",
        ),
    ] = None,
    k: Annotated[int, typer.Option("-k", metavar="N", min=1, help="How many items.")] = 10,
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="ROW", help="Rank by another row than the one validation found best."),
    ] = None,
    include_seen: Annotated[bool, typer.Option("--include-seen", help="Also what the person has met already.")] = False,
    only: OnlyOption = None,
    without: ExceptOption = None,
    where: WhereOption = None,
    diversity: Annotated[
        float,
        typer.Option(
            "--diversity",
            metavar="SHARE",
            help="0 to 1: how much an item loses that is like those above it; 0 ranks by score alone.",
        ),
    ] = 0.0,
    because: Annotated[
        bool,
        typer.Option(
            "--because",
            help="Show which items of the history each recommendation comes from; by an encoder, as of somebody new.",
        ),
    ] = False,
    deep: Annotated[
        bool,
        typer.Option("--deep", help="Have the trained models read the history, as they read the users of the log."),
    ] = False,
    wish: Annotated[
        str | None, typer.Option("--wish", metavar="WORDS", help="What is wanted, in words, beside the person.")
    ] = None,
    wish_weight: Annotated[
        float | None,
        typer.Option("--wish-weight", metavar="W", min=0, help="Of a wish beside the person, by default 1.4."),
    ] = None,
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
    """Recommend items to users, or to somebody who is new.

    Without --recipe or --run it asks the latest finished run. With nothing prepared it runs the quickstart recipe from
    the start and says what it does meanwhile.

    \b
    Example: glta recommend --user 42 -k 5
    Example: glta recommend --history "Heat (1995),Alien"
    Example: glta recommend --history "A-653=purchase, A-12=view"
    Example: glta recommend --user 42 --where "genres=Comedy" --because
    Example: glta recommend --user 42 --wish "something funny for a long flight"
    Example: glta recommend --users all -o lists.parquet
    """
    from dataclasses import replace

    from glta_cli.answers.published import published_index
    from glta_cli.answers.question import WISH_WEIGHT, Question
    from glta_cli.answers.run import Run

    with as_options():
        question = Question(
            user[0] if user else None,
            history_named(history),
            k,
            model,
            include_seen,
            **chosen_by(only, without, where),
            diversity=diversity,
            because=because,
            deep=deep,
            wish=wish,
            wish_weight=WISH_WEIGHT if wish_weight is None else wish_weight,
        )
        many = many_asked(question, user, users, output, form, processes, as_json=as_json)
        question.require_sense()
        if many is None:
            question.require_somebody()
        found = pipeline = None
        if recipe is None and not overrides and seed is None and not refresh:
            found = published_index(run, data_dir)
            if found is not None and profile:
                say("nothing to profile: the index is up to date")
        if found is None:
            pipeline = open_pipeline(
                recipe, run, overrides, data_dir, seed, device, profile=profile, prefer_latest=True, refresh=refresh
            )
            found = made_index(pipeline, user or ())
        # The index is named by its content, so two runs may share one: only the command knows the run.
        asked = Run(*found, device, made_by=pipeline)
        if history is not None and "," in history:
            question = replace(question, history=asked.history_listed(history.strip()))  # or one title, commas and all
        if many is not None:
            many.answer(asked)
            return
        people = [replace(question, user=each) for each in dict.fromkeys(user or ())] or [question]
        answers = asked.answers(people)
    if as_json:
        show_json(answers[0] if len(user or ()) < 2 else answers)
        return
    for place, answer in enumerate(answers):
        if place:
            print()
        show_answer(answer)


def history_named(history: str | None) -> tuple[Entry, ...] | None:
    """The entries of `--history`, separated by commas; a name that holds a comma stands in quotes.

    Raises:
        InputError: a quote has no end.
    """
    from glta_cli.answers.history_entries import entries_between_commas

    return None if history is None else entries_between_commas(history, "--history")


@contextmanager
def as_options() -> Iterator[None]:
    """Errors of a question name the option that asked it."""
    try:
        yield
    except GltaError as error:
        for each in error.errors if isinstance(error, InputErrors) else [error]:
            if each.location in QUESTIONS:
                each.location = QUESTIONS[each.location]
        raise


def made_index(pipeline: Pipeline, users: Sequence[str]) -> tuple[AskedRun, Artefact]:
    """The index of a run whose stages run where they have not, to answer for these users, if for any."""
    from glta_cli.serving.recommender import AskedRun

    pipeline.require(SERVING)
    asked = AskedRun(pipeline.name, pipeline.recipe.dataset.name)
    # Users are known once the data is prepared: a wrong id is not worth a training.
    prepared = pipeline.prepared()
    for user in users:
        require_user(user, prepared, asked)
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
    from glta_cli.commands.stage_times import stage_times

    times = stage_times(stages, pipeline, prepared)
    show_table(stage_table(pipeline.name, stages, times), on_stderr=True)
    # The table has said it.
    pipeline.announced = True
