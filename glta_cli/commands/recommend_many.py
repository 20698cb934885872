"""`glta recommend` for many users: into a file, or lines on standard output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from glta_cli.commands.item_options import tell
from glta_cli.core.counts import counted
from glta_cli.core.errors import InputError
from glta_cli.core.terminal import say, show_json

if TYPE_CHECKING:
    from glta_cli.answers.asked_users import AskedUsers
    from glta_cli.answers.batch import Answered
    from glta_cli.answers.question import Question
    from glta_cli.answers.run import Run


@dataclass(frozen=True)
class Many:
    """One question for many users, and where their lists go.

    Attributes:
        question: but for the user.
        ids: of the users, in order; None for everyone.
        where: the ids come from, for errors.
        output: a file, or - for standard output.
        form: of the file.
        processes: None for as many as processors are free.
    """

    question: Question
    ids: Sequence[str] | None
    where: str
    output: str
    form: str
    processes: int | None
    as_json: bool

    def answer(self, run: Run) -> None:
        """Write the lists, and say what came of it.

        Raises:
            InputError: nobody who is asked for is known, or the output cannot be there.
        """
        from glta_cli.answers.asked_users import everyone, told, users_called
        from glta_cli.answers.batch import answer_into_file, answer_into_stdout
        from glta_cli.answers.batch_formats import STANDARD_OUTPUT
        from glta_cli.answers.batch_part import BatchQuestion, part_size
        from glta_cli.serving.recommender import AskedRun, reading
        from glta_cli.serving.rows import row_called

        with reading(run.artefact):
            row = row_called(run.index, self.question.model)
            chosen = run.chosen(self.question)
            asked = everyone(run.index) if self.ids is None else users_called(run.index, self.ids, self.where)
        tell([*told(asked), *(() if chosen is None else chosen.remarks)])
        processes = self._processes(asked, part_size(len(asked), because=self.question.because))
        named, liking = AskedRun(run.name, run.dataset), run.liking_of(self.question)
        question = BatchQuestion(named, run.artefact.path, self.question, self.form, liking)
        say(_escaped(f"run {run.name} (dataset {run.dataset}), by {row.sentence()}"))
        if self.question.because:
            say("reasons are found user by user, which takes many times as long as the lists")
        if self.output == STANDARD_OUTPUT:
            self._say(run, asked, answer_into_stdout(question, asked, processes))
        else:
            self._say(run, asked, answer_into_file(question, asked, Path(self.output), processes))

    def _processes(self, asked: AskedUsers, part: int) -> int:
        """As many as are asked for or processors are free, but no more than there are parts."""
        from glta_cli.core.threads import chosen_threads

        parts = -(-len(asked) // part)
        if self.processes is not None or parts == 1:
            return min(self.processes or 1, parts)
        threads = chosen_threads()
        count = min(threads.count, parts)
        say(f"{counted(count, 'process', 'processes')} of {threads.most}: {threads.reason}")
        return count

    def _say(self, run: Run, asked: AskedUsers, answered: Answered) -> None:
        by_wish = self.question.wish is not None and self.question.wish_weight > 0
        if self.as_json:
            show_json(
                {
                    "run": run.name,
                    "dataset": run.dataset,
                    "output": self.output,
                    "users": answered.users,
                    "rows": answered.rows,
                    "without": answered.without,
                    "by_popularity": 0 if by_wish else answered.unknown,
                    **({"by_wish_alone": answered.unknown} if by_wish else {}),
                    "unknown": asked.unknown,
                    "repeated": asked.repeated,
                    "answered_before": answered.kept,
                    "seconds": round(answered.seconds, 3),
                }
            )
            return
        if answered.without:
            say(f"[yellow]note[/]: nothing is left to recommend to {counted(answered.without, 'user')}")
        if answered.unknown:
            who = counted(answered.unknown, "user")
            ranked_by = "the wish alone" if by_wish else "popularity"
            say(f"[yellow]note[/]: nothing is known of what {who} met: ranked by {ranked_by}")
        speed = answered.per_second
        rate = f", {speed:,.{0 if speed >= 10 else 1}f} users/s" if answered.users > answered.kept else ""
        many = f"{counted(answered.rows, 'row')} for {counted(answered.users, 'user')}"
        where = "" if self.output == "-" else f" in {self.output}"
        say(_escaped(f"{many}{where} ({answered.seconds:.1f} s{rate})"))


def many_asked(
    question: Question,
    ids: Sequence[str] | None,
    users: str | None,
    output: str | None,
    form: str | None,
    processes: int | None,
    *,
    as_json: bool,
) -> Many | None:
    """What is asked for many users; None where one list, or a few, are to be shown.

    Raises:
        InputError: options that do not go together, or a format that nothing says.
    """
    if users is None and output is None:
        for given, name in ((form, "--format"), (processes, "--processes")):
            if given is not None:
                raise InputError("nothing is written", location=name, hint="it goes with -o FILE")
        return None
    if question.history is not None:
        raise InputError("a history is of one person", location="--history", hint="--json > FILE keeps that list")
    if question.deep:
        hint = "the users of the log were read when the index was made"
        raise InputError("it is not for the lists of many users", location="--deep", hint=hint)
    if users is not None and ids:
        raise InputError("users are named twice", location="--user", hint="name them one by one, or by --users")
    if users is None and not ids:
        raise InputError("nobody is asked for", location="-o", hint="--users all, or --users FILE with an id a line")
    if output is None:
        hint = "-o out.parquet, .csv or .jsonl writes a file; -o - prints lines"
        raise InputError("the lists of many users need a place to go to", location="--users", hint=hint)
    from glta_cli.answers.asked_users import EVERYONE, ids_in
    from glta_cli.answers.batch_formats import STANDARD_OUTPUT, format_of
    from glta_cli.answers.kept_parts import require_place

    if as_json and output == STANDARD_OUTPUT:
        raise InputError("the lists are on standard output already", location="--json", hint="leave one of them out")
    known_form = format_of(output, form)
    if output != STANDARD_OUTPUT:
        require_place(Path(output))
    # Before anything is trained: a wrong file is not worth it.
    named = list(ids or ()) if users is None else None if users == EVERYONE else ids_in(users)
    return Many(question, named, users or "--user", output, known_form, processes, as_json)


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)
