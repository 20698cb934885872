"""`glta update`: take in what a run's source says by now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from glta_cli.commands.options import DataDirOption, DeviceOption, JsonOption, RunOption, local_source
from glta_cli.core.counts import agreeing, counted
from glta_cli.core.terminal import say, shortened, show_json

if TYPE_CHECKING:
    from pathlib import Path

    from glta_cli.stages.retraining import Retraining
    from glta_cli.stages.update import Update
    from glta_cli.workspace.artefact import Artefact

# Columns of an example, behind a number and within 80.
EXAMPLE_WIDTH = 66
LABELS = {
    "interactions": ("new interaction", "new interactions"),
    "weights": ("interaction with another weight", "interactions with another weight"),
    "times": ("interaction at another time", "interactions at another time"),
    "seen": (
        "interaction that keeps its item out by now, or no more",
        "interactions that keep their item out by now, or no more",
    ),
    "users": ("new user", "new users"),
    "items": ("new item", "new items"),
    "titles": ("item with another title", "items with another title"),
    "untitled": ("item without a title by now", "items without a title by now"),
    "texts": ("item with another text", "items with another text"),
    "columns": ("item with another value in a column", "items with another value in a column"),
    "vanished": ("interaction that is no more", "interactions that are no more"),
}


def update(
    run: RunOption = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--source",
            metavar="FILE|-",
            help="Where the log is by now, if not where the run read it; - is piped in.",
        ),
    ] = None,
    vanished: Annotated[
        bool, typer.Option("--vanished", help="Let go what the log has no more, even if that is more than a third.")
    ] = False,
    train: Annotated[
        bool, typer.Option("--train", help="Train again on what the log says by now, from the weights there are.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what is new, and take in nothing.")] = False,
    data_dir: DataDirOption = None,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read a run's log again, and answer from all it says.

    Nothing is trained: the parameters that were selected are applied to every interaction there is. New users follow
    from their history, new items from their text and from who met them; titles are those of now. What `glta evaluate`
    measures stays as it was. It says when it is time to train again.

    --train does: all stages are trained on what the log says by now, from the weights of the last training. The run
    answers as before until that is finished.

    Example: glta update --run shop
    """
    from glta_cli.stages.update import published_pipeline
    from glta_cli.stages.update import update as bring_up_to_date
    from glta_cli.workspace.workspace import Workspace

    workspace = Workspace(data_dir)
    named = None if source is None else local_source(source, workspace)
    once = named != source  # nobody can read again what was piped in
    if train:
        from glta_cli.stages.retraining import train_again

        trained = train_again(run, workspace, device, source=named, once=once, vanished=vanished, dry_run=dry_run)
        if as_json:
            show_json(trained.as_json())
        else:
            _show(training_lines(trained, dry_run=dry_run))
        return
    pipeline, stored = published_pipeline(run, workspace, device)
    found = bring_up_to_date(pipeline, stored, source=named, once=once, vanished=vanished, dry_run=dry_run)
    if as_json:
        show_json(found.as_json())
    else:
        _show(update_lines(found, named=run is not None, data_dir=data_dir))
    if dry_run:
        say("dry run: nothing was taken in")


def _show(lines: Iterable[str]) -> None:
    """Lines on stdout, each as wide as the terminal, whatever letters a name is in."""
    from rich.console import Group
    from rich.markup import escape

    from glta_cli.core.terminal import show_table

    show_table(Group(*map(escape, lines)))


def update_lines(found: Update, *, named: bool = False, data_dir: Path | None = None) -> Iterator[str]:
    """What is new, with examples; what answers by now; and whether to train again.

    Args:
        named: whether the run was named, as it then has to be in the next command.
        data_dir: as it was given, for the same reason.
    """
    from glta_cli.core.printable import printable

    train_again = _train_again(found.run if named else None, data_dir)

    about = f"run {printable(found.run)} (dataset {printable(found.dataset)})"
    new = _told_counts(found)
    if not new and not found.delisted and not found.relisted:
        yield f"nothing new for {about}"
    else:
        yield f"new for {about}:"
    for name, count in new.items():
        yield f"  {count:>9,}  {agreeing(count, *LABELS[name])}"
        examples = found.examples.get(name, ())
        yield from map(_example, examples)
        if examples and count > len(examples):
            yield f"             and {count - len(examples):,} more"
    for reason, (count, example) in found.dropped.items():
        yield f"  {count:>9,}  {agreeing(count, 'row')} left out: {printable(reason)}"
        if example:
            yield _example(example)
    yield from _listing_lines(found, train_again)
    if found.served is not None:
        details = found.served.details
        until = f" until {details['newest']}" if details["newest"] else ""
        yield (
            f"answers from {counted(details['interactions'], 'interaction')}{until}; {found.read_out:,} of "
            f"{counted(details['users'], 'user')} {agreeing(found.read_out, 'was', 'were')} read out, "
            f"in {found.seconds:.1f} s"
        )
        if new.get("users") and _reads_words(found.served):
            yield "new users have no words of the language model about them until it is trained again"
    yield _advice(found, train_again)


def _told_counts(found: Update) -> dict[str, int]:
    """What is new, by what it is called; a title that is gone is told apart from one that is another."""
    counts = dict(found.new)
    if _only_titles(found):
        del counts["texts"]
    told = {}
    for name, count in counts.items():
        told[name] = count - found.untitled if name == "titles" else count
        if name == "titles":
            told["untitled"] = found.untitled
    return {name: count for name, count in told.items() if count}


def _train_again(run: str | None, data_dir: Path | None) -> str:
    """The command that trains this run again: without a name it would be the latest finished one."""
    from glta_cli.core.printable import shell_word

    words = ["glta", "update"] + ([] if run is None else ["--run", run])
    words += [] if data_dir is None else ["--data-dir", str(data_dir)]
    return " ".join(map(shell_word, [*words, "--train"]))


def _listing_lines(found: Update, train_again: str) -> Iterator[str]:
    """Which items the source names no more, and whether they are answered still."""
    from glta_cli.core.printable import printable

    told = (
        (found.delisted, "listed no more", "they are in nobody's answers until they are listed again"),
        (found.relisted, "listed again", "they are among the answers again"),
        (found.unlisted, "the source names no more", f"they stay among the answers until {train_again}"),
    )
    for items, what, so in told:
        if items:
            example = shortened(printable(items[0]), 28)
            yield f"  {len(items):>9,}  {agreeing(len(items), 'item')} {what}, such as {example}"
            yield f"             {so}"


def _example(text: str) -> str:
    from glta_cli.core.printable import printable

    return f"             {shortened(printable(text), EXAMPLE_WIDTH)}"


def training_lines(found: Retraining, *, dry_run: bool) -> Iterator[str]:
    """From what it was trained again, and how many epochs each training took, then and before."""
    from glta_cli.core.printable import printable

    about = f"run {printable(found.run)} (dataset {printable(found.dataset)})"
    now, before = found.interactions
    how = "from the weights it had" if found.warm else "from the start"
    if not found.new:
        yield f"nothing new for {about} since it was trained"
        return
    verb = "would be" if dry_run else "is"
    yield f"{about} {verb} trained again {how},"
    yield f"on {counted(now, 'interaction')} ({before:,} before)"
    if dry_run:
        return
    yield f"  {'training':<24}{'epochs':>8}{'best':>6}{'metric':>9}{'before: epochs':>17}{'best':>6}{'metric':>8}"
    for each in found.trainings:
        earlier = each["before"]
        then = "" if earlier is None else f"{earlier['epochs']:>17}{earlier['best']:>6}{earlier['metric']:>8.4f}"
        yield f"  {each['name']:<24}{each['epochs']:>8}{each['best']:>6}{each['metric']:>9.4f}{then}".rstrip()


def _reads_words(served: Artefact) -> bool:
    """Whether what answers knows words that the language model wrote about users."""
    return any(stage.endswith("describe-users") for stage in served.manifest["inputs"])


def _only_titles(found: Update) -> bool:
    return "texts" in found.new and found.new["texts"] == found.new["titles"]


def _advice(found: Update, train_again: str) -> str:
    reasons = found.reasons_to_train
    if reasons:
        return f"train again with {train_again}: {', '.join(reasons)} since it was trained"
    shares = ", ".join(f"{share:+.1%} {name}" for name, share in found.since_training.items())
    return f"since it was trained: {shares}; no need to train again"
