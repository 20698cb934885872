"""`glta export`: a published run as vectors for another system, or as a model to publish."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from glta_cli.answers.export_formats import MODEL
from glta_cli.commands import completion
from glta_cli.commands.options import DataDirOption, JsonOption, RunOption, open_pipeline
from glta_cli.core.counts import counted
from glta_cli.core.terminal import say, show_json
from glta_cli.stages.lineage import SERVING

if TYPE_CHECKING:
    from glta_cli.workspace.artefact import Artefact
    from glta_cli.workspace.run import Run
    from glta_cli.workspace.workspace import Workspace


def export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder.", show_default=False)],
    form: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="parquet, safetensors or faiss: vectors; huggingface: the model, which `glta import` reads.",
            autocompletion=completion.export_formats,
        ),
    ],
    run: RunOption = None,
    model: Annotated[
        str | None, typer.Option("--model", metavar="ROW", help="A row of the run, in place of the one it serves.")
    ] = None,
    rank: Annotated[
        int | None,
        typer.Option(
            "--rank", metavar="N", min=1, help="Singular vectors of a linear term, which is no short vector; measured."
        ),
    ] = None,
    without: Annotated[
        str | None, typer.Option("--without", metavar="ROW,...", help="Terms of the row to leave out; measured.")
    ] = None,
    approximate: Annotated[
        str | None,
        typer.Option(
            "--approximate",
            metavar="METHOD",
            help="With faiss, an index that looks at a part of the catalogue: ivf or hnsw; its recall is measured.",
            autocompletion=completion.approximate_methods,
        ),
    ] = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write what a run ranks by, for another system's search.

    One vector an item and one query a user, whose inner products rank as the run does: parquet, safetensors, or an
    index of FAISS. Where that is not exact it is measured and said. The format huggingface holds adapter, projectors,
    head and a model card, and all that `glta import` needs to make the same run of it elsewhere.

    Example: glta export --format parquet vectors
    """
    from glta_cli.answers.export_folder import checked_folder
    from glta_cli.answers.export_formats import require_format, require_method
    from glta_cli.workspace.workspace import Workspace

    require_format(form)
    if approximate is not None:
        require_method(approximate, form)
    target = checked_folder(folder)
    if form == MODEL:
        _require_no_vectors({"--model": model, "--rank": rank, "--without": without})
    workspace = Workspace(data_dir)
    stored = finished_run(workspace, run)
    if form == MODEL:
        config = _model(workspace, stored, target, data_dir)
        if as_json:
            show_json(config)
        else:
            _show(_model_lines(config, target))
        return
    note = _vectors(workspace, stored, form, target, model, rank, without, approximate, data_dir)
    if approximate is not None:
        _warn_of_few_found(note)
    if as_json:
        show_json(note)
    else:
        _show(_lines(note, target))


def _show(lines: Iterable[str]) -> None:
    """Lines on stdout, each as wide as the terminal, whatever letters a name is in."""
    from rich.console import Group
    from rich.markup import escape

    from glta_cli.core.terminal import show_table

    show_table(Group(*map(escape, lines)))


def finished_run(workspace: Workspace, name: str | None) -> Run:
    """The run to export, as it was last finished; raises `InputError` where there is none."""
    from glta_cli.core.errors import InputError

    stored = workspace.answering_run(name)
    if stored is None:
        raise InputError(
            "nothing was run here yet",
            location=str(workspace.root),
            hint="`glta finetune` trains a run; --data-dir names another workspace",
        )
    if not stored.finished:
        raise InputError(
            f"run {stored.name} {stored.state}: there is nothing to export yet",
            location="--run",
            hint=f"`glta finetune --run {stored.name}` goes on with it",
        )
    return stored


def _require_no_vectors(given: Mapping[str, Any]) -> None:
    """Raise `InputError` where an option about vectors is given with the format that writes the whole run."""
    from glta_cli.core.errors import InputError

    for option, value in given.items():
        if value is not None:
            hint = "it is about vectors: parquet, safetensors or faiss"
            raise InputError(f"means nothing with --format {MODEL}", location=option, hint=hint)


def _model(workspace: Workspace, stored: Run, target: Path, data_dir: Path | None) -> dict[str, Any]:
    from glta_cli.answers.export_folder import write_folder
    from glta_cli.answers.model_folder import artefacts_of, bytes_of, write_model_folder
    from glta_cli.core.storage import shown_bytes
    from glta_cli.serving.index import Index
    from glta_cli.workspace.evaluations import kept_evaluation

    index = Index(_answering(stored, data_dir))
    stored = workspace.required_run(stored.name).last_finished or stored  # with the index, where it was made now
    artefacts = artefacts_of(workspace, stored)
    evaluation = kept_evaluation(workspace, stored.name, stored.stages.get("index", ""))
    size = bytes_of(artefacts)
    say(f"writing {shown_bytes(size)}, with the ids and histories of {counted(len(index.user_ids), 'user')}")
    config: dict[str, Any] = {}

    def write(folder: Path) -> None:
        config.update(write_model_folder(folder, stored, artefacts, index, evaluation))

    write_folder(target, write, size)
    return config


def _model_lines(config: Mapping[str, Any], target: Path) -> Iterator[str]:
    from glta_cli.core.printable import printable

    yield f"model of run {printable(config['run'])} (dataset {printable(config['dataset'])})"
    yield f"by {printable(' + '.join(config['terms']))}"
    yield "It holds personal data: publish it only where that may be read."
    yield f"written to {printable(str(target))}; `glta import` makes the run of it elsewhere"


def _vectors(
    workspace: Workspace,
    stored: Run,
    form: str,
    target: Path,
    model: str | None,
    rank: int | None,
    without: str | None,
    approximate: str | None,
    data_dir: Path | None,
) -> dict[str, Any]:
    from glta_cli.answers.export import export_vectors, kept_terms, measured_run
    from glta_cli.serving.index import Index
    from glta_cli.serving.rows import row_called

    index = Index(_answering(stored, data_dir))
    row = row_called(index, model)
    named = [] if without is None else [part.strip() for part in without.split(",") if part.strip()]
    kept = kept_terms(row, named, rank)
    about = {"run": stored.name, "dataset": stored.dataset}
    return export_vectors(index, row, kept, measured_run(workspace, stored, row), form, target, about, approximate)


def _warn_of_few_found(note: Mapping[str, Any]) -> None:
    from glta_cli.answers.approximate_index import few_found

    warning = few_found(note["approximate"])
    if warning is not None:
        say(f"[yellow]warning:[/] {warning}")


def _answering(stored: Run, data_dir: Path | None) -> Artefact:
    """The index a run answers from, made now where it was never asked."""
    from rich.markup import escape

    from glta_cli.answers.published import published_index

    found = published_index(stored.name, data_dir)
    if found is not None:
        return found[1]
    say(f"run {escape(stored.name)} was not asked before: it gets its index first")
    pipeline = open_pipeline(None, stored.name, None, data_dir, None, None, prefer_latest=True)
    return pipeline.ensure(SERVING)


def _lines(note: Mapping[str, Any], target: Path) -> Iterator[str]:
    from glta_cli.answers.export_note import measured_lines
    from glta_cli.core.printable import printable

    sizes = f"{counted(note['users'], 'user')}, {counted(note['items'], 'item')}, {note['dimensions']} dimensions"
    yield f"{note['format']} of run {printable(note['run'])} (dataset {printable(note['dataset'])})"
    yield f"{sizes}, by {printable(' + '.join(note['terms']))}"
    yield from measured_lines(note)
    yield "Seen items are not masked: leave them out by the list beside the vectors."
    yield f"written to {printable(str(target))}; its README.md shows a search"
