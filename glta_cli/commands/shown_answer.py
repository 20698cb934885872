"""An answer in a terminal: the history, what it is answered by, and the ranking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from glta_cli.commands.item_options import tell
from glta_cli.core.counts import agreeing, counted
from glta_cli.core.printable import printable
from glta_cli.core.terminal import BOLD, CYAN, DIM, cells, padded, results_width, shortened, styled

HISTORY_SHOWN = 5


def show_answer(answer: Mapping[str, Any]) -> None:
    """The user's recent items, then the ranked list, on stdout."""
    width = results_width()
    user, run, dataset = (printable(str(answer[key])) for key in ("user", "run", "dataset"))
    somebody = "somebody new" if answer["user"] is None else f"user {user}"
    lines = []
    if answer["history"]:
        lines.append(styled(f"{somebody}, most recent first", DIM))
        lines += [shortened(f"  {met(entry)}", width) for entry in answer["history"][:HISTORY_SHOWN]]
        lines.append("")
    lines.append(styled(f"recommended to {somebody} by run {run} (dataset {dataset})", BOLD))
    if "answered_by" in answer:
        lines.append(styled(shortened(f"by {printable(answer['answered_by'])}", width), DIM))
    if "not_read_by" in answer and answer["history"]:
        unheard = f"without {printable(answer['not_read_by'])}, which has not read this history: --deep has it read"
        lines.append(styled(shortened(unheard, width), DIM))
    if "wish" in answer:
        wished = f"and by the wish (weight {answer['wish_weight']:g}): {printable(answer['wish'])}"
        lines.append(styled(shortened(wished, width), DIM))
    if answer["interactions"] is not None:
        until = f" until {answer['newest']}" if answer["newest"] else ""
        lines.append(styled(f"from {counted(answer['interactions'], 'interaction')}{until}{trained_on(answer)}", DIM))
    if "among" in answer:
        lines.append(styled(f"among the {counted(answer['among'], 'item')} that are chosen", DIM))
        if seen := answer.get("among_seen"):
            lines.append(
                styled(f"{seen:,} of them {agreeing(seen, 'was', 'were')} met: --include-seen shows them", DIM)
            )
    tell(answer.get("remarks", ()))
    entries = answer["recommendations"]
    ranking = ranking_lines(entries, width) if entries else ["nothing is left to recommend"]
    if any("because" in entry for entry in entries):
        from glta_cli.commands.shown_reasons import with_reasons  # NumPy stays out of --help

        ranking = with_reasons(ranking, entries, width)
    print("\n".join([*lines, "", *ranking]))


def met(entry: Mapping[str, Any]) -> str:
    """An item of a history by its title, with the events by which it was asked."""
    events = f" ({', '.join(entry['events'])})" if "events" in entry else ""
    return printable(f"{entry['title']}{events}")


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
