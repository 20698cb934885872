"""A published run as vectors for another system's search: what is asked for, what is measured, what is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from glta_cli.answers.approximate_index import ApproximateIndex, approximate_index, measured_recall
from glta_cli.answers.export_files import ExportedCatalogue, write_vectors
from glta_cli.answers.export_folder import checked_folder, write_folder
from glta_cli.answers.export_loss import LossOnTest, loss_on_test
from glta_cli.answers.export_note import readme
from glta_cli.answers.exported_vectors import ExportedVectors, KnownFactors, exported_vectors
from glta_cli.core.errors import InputError, did_you_mean
from glta_cli.core.files import write_bytes, write_json
from glta_cli.data.prepared import PreparedDataset
from glta_cli.recipe.fused_terms import LINEAR
from glta_cli.serving.index import Index
from glta_cli.serving.rows import rows_held
from glta_cli.serving.served_row import ServedRow
from glta_cli.workspace.run import Run
from glta_cli.workspace.workspace import Workspace

NOTE = "export.json"
LAYOUT = 1


@dataclass(frozen=True)
class KeptTerms:
    """Which of a row's terms are exported, and with how many singular vectors a linear one.

    Attributes:
        terms: kept; left_out: the others; both of the row's.
    """

    terms: tuple[str, ...]
    left_out: tuple[str, ...]
    rank: int | None

    @property
    def exact(self) -> bool:
        """Whether inner products rank as the row does."""
        return not self.left_out and self.rank is None


def kept_terms(row: ServedRow, without: Sequence[str], rank: int | None) -> KeptTerms:
    """What is exported of a row.

    Args:
        without: terms to leave out, by the names of their rows, or as `linear`, `encoder` and `llm`.

    Raises:
        InputError: a term is unknown, none would be left, or `rank` is given and no linear term is.
    """
    names = {term: row.rows[term] for term in row.terms}
    by_name = {name: term for term, own in names.items() for name in (term, own)}
    for name in without:
        if name not in by_name:
            known = list(names.values())
            hint = did_you_mean(name, [*by_name]) or f"its terms are {', '.join(known)}"
            raise InputError(f"the row {row.name} has no term {name}", location=f"--without {name}", hint=hint)
    left_out = tuple(dict.fromkeys(by_name[name] for name in without))
    terms = tuple(term for term in row.terms if term not in left_out)
    if not terms:
        raise InputError("leaves no term", location=f"--without {','.join(without)}", hint="keep one of them")
    if rank is not None and LINEAR not in terms:
        shown = " + ".join(names[term] for term in terms)
        raise InputError(
            f"{shown} has no linear term to cut", location=f"--rank {rank}", hint="leave it out: its vectors are exact"
        )
    return KeptTerms(terms, left_out, rank)


@dataclass(frozen=True, eq=False)
class MeasuredRun:
    """What an evaluation ranks of the same run: its index, without test items, the row in it, and the test."""

    index: Index
    row: ServedRow
    prepared: PreparedDataset


def measured_run(workspace: Workspace, run: Run, row: ServedRow) -> MeasuredRun | None:
    """What `glta evaluate` measures of a run, and a row of it; None where it is no more, or has no such row."""
    index, prepared = (workspace.published(stage, run.stages.get(stage, "")) for stage in ("index", "prepare"))
    if index is None or prepared is None:
        return None
    found = Index(index)
    same = rows_held(found).get(row.name)
    alike = same is not None and set(same.terms) == set(row.terms)
    return MeasuredRun(found, same, PreparedDataset(prepared)) if same is not None and alike else None


def export_vectors(
    index: Index,
    row: ServedRow,
    kept: KeptTerms,
    measured: MeasuredRun | None,
    form: str,
    target: Path,
    named: dict[str, Any],
    approximate: str | None = None,
) -> dict[str, Any]:
    """Write the vectors of a row into a new folder, with a note of what they are.

    Args:
        index: that answers.
        measured: to measure on test items what an export costs that is not exact; None where there is no such thing.
        form: parquet, safetensors or faiss.
        named: `run` and `dataset`.
        approximate: how an index of faiss looks at a part of the catalogue; None for one that looks at all of it.

    Returns:
        What its `export.json` says.

    Raises:
        InputError: the folder is not empty, or the row has no short vectors.
        GltaError: the disk is full or fails.
    """
    target = checked_folder(target)
    factors: KnownFactors = {}
    vectors = exported_vectors(index, row, kept.terms, kept.rank, factors)
    figures = None
    if measured is not None and not kept.exact:
        figures = loss_on_test(measured.index, measured.row, kept.terms, kept.rank, measured.prepared, factors)
    catalogue = ExportedCatalogue.of(index, vectors)
    note = {**named, **_said(index, row, kept, vectors, figures, catalogue), "format": form}
    searched: ApproximateIndex | None = None
    if approximate is not None:
        searched = approximate_index(catalogue.item_vectors, approximate)
        note["approximate"] = {**searched.said, **measured_recall(searched, catalogue)}

    def write(folder: Path) -> None:
        write_vectors(form, catalogue, folder, None if searched is None else searched.index)
        write_json(folder / NOTE, {"glta_export": LAYOUT, **note})
        write_bytes(folder / "README.md", readme(note).encode())

    write_folder(target, write, catalogue.bytes + (0 if searched is None else searched.bytes))
    return note


def _said(
    index: Index,
    row: ServedRow,
    kept: KeptTerms,
    vectors: ExportedVectors,
    figures: LossOnTest | None,
    catalogue: ExportedCatalogue,
) -> dict[str, Any]:
    return {
        "row": row.name,
        "terms": [row.rows[term] for term in kept.terms],
        "left_out": [row.rows[term] for term in kept.left_out],
        "linear": row.rows[LINEAR] if LINEAR in kept.terms else None,
        "rank": None if kept.rank is None else min(kept.rank, len(index.item_ids)),
        "metric": "inner product",
        "users": len(catalogue.users),
        "items": len(catalogue.items),
        "dimensions": int(vectors.items.shape[1]),
        "longest_norm": float(np.linalg.norm(catalogue.item_vectors, axis=1).max(initial=0)),
        "overlap@10": float(vectors.overlap.mean()) if len(vectors.people) else 1.0,
        "same_lists": int(vectors.same.sum()),
        "evenly": vectors.evenly,
        "delisted": len(index.delisted),
        "test": None if figures is None else asdict(figures),
    }
