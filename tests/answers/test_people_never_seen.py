"""How well people are served whom no training saw, beside the same people trained on, on real data.

`make unseen` prints the table of recipes/results/PARTS.md. It trains the recipe amazon-scientific twice, half an
hour, but for what a folder named by GLTA_DATA_DIR holds already: once with everybody, once with a tenth of the people
left out of the log. Those are then asked for by their training histories, and their test items are looked for.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from glta_cli.data.prepared import PreparedDataset
from glta_cli.plugin.interactions import Interactions
from glta_cli.plugin.scorer import Scorer
from glta_cli.ranking.metrics import ranking_metrics
from glta_cli.recipe.files import load_recipe
from glta_cli.recipe.fused_terms import ENCODER, LANGUAGE, LINEAR
from glta_cli.serving.choice import ALL, best_of
from glta_cli.serving.guests import PeopleRead, guest_scorer
from glta_cli.serving.index import Index
from glta_cli.serving.rows import rows_held
from glta_cli.serving.served_row import POPULARITY, ServedRow
from glta_cli.stages.deep_reading import DeepReader
from glta_cli.stages.lineage import SERVING
from glta_cli.stages.pipeline import Pipeline
from glta_cli.workspace.workspace import Workspace

SERVED = "served"
Figures = dict[str, tuple[float, float, float]]
"""NDCG@10 by row: trained on, at once, and read; nan where the row has none."""


def by_kind(index: Index) -> dict[str, ServedRow]:
    """The rows of an index by what they are, as two runs may have chosen different linear ones."""
    kinds = {SERVED: index.row}
    for row in rows_held(index).values():
        if row.weights is None:
            kinds[row.terms[0]] = row
    return kinds


def as_guests(part: Interactions, people: NDArray[np.int64], items: NDArray[np.int64], item_count: int) -> Interactions:
    """Some users' interactions as rows of their own, items by their places in another catalogue."""
    met = [items[part.of(int(user))] for user in people]
    rows = np.repeat(np.arange(len(met)), [len(each) for each in met])
    return Interactions.from_pairs(rows, np.concatenate(met), user_count=len(met), item_count=item_count)


def never_seen(full: Pipeline, reduced: Pipeline, left_out: Callable[[str], bool]) -> tuple[int, Figures]:
    """How many people were asked for, and the figures of each row.

    Args:
        full: trained on everybody.
        reduced: trained on a log without those who are left out.
    """
    prepared, known = PreparedDataset(full.ensure("prepare")), Index(full.ensure("index"))
    train, valid, test = (prepared.split(part) for part in ("train", "valid", "test"))
    tested = [place for place, user in enumerate(prepared.user_ids) if left_out(user) and test.counts[place]]
    people = np.array(tested)
    index = Index(reduced.ensure(SERVING))
    ids = index.item_ids.tolist()
    places = np.array([ids.index(item) for item in prepared.item_ids])  # every item, in the other catalogue
    guests, seen, targets = (as_guests(part, people, places, len(ids)) for part in (train, valid, test))
    reader = DeepReader.of(reduced, index.artefact)
    language = reader.language_rows(guests) if reader.reads_language else None
    of_models = PeopleRead(language, reader.graph_vectors(guests))

    def ndcg(score: Scorer, users: NDArray[np.int64], wanted: Interactions, *masked: Interactions) -> float:
        ranked = np.stack([each.items for each in best_of(score, users, 10, ALL, *masked)])
        return float(ranking_metrics(ranked, users, wanted, [10])["ndcg@10"].mean())

    everybody, figures = np.arange(len(people)), {}
    trained = by_kind(known)
    for kind, row in by_kind(index).items():
        with_them = ndcg(known.scorer(train, valid, row=trained[kind]), people, test, train, valid)
        at_once = read = float("nan")
        if kind != LANGUAGE:
            at_once = ndcg(guest_scorer(index, row, guests)[0], everybody, targets, guests, seen)
        if {LANGUAGE, ENCODER} & set(row.terms):
            read = ndcg(guest_scorer(index, row, guests, of_models)[0], everybody, targets, guests, seen)
        figures[f"{kind}: {row.name}"] = with_them, at_once, read
    return len(people), figures


def without(people: Callable[[str], bool], log: Mapping[str, list[int]]) -> dict[str, list[int]]:
    return {user: items for user, items in log.items() if not people(user)}


@pytest.mark.slow
@pytest.mark.minilm
@pytest.mark.smollm2
def test_people_never_seen_are_served_nearly_as_well(shared_data: Path, tmp_path: Path) -> None:
    source, reduced = shared_data / "amazon-scientific-2018", tmp_path / "reduced"
    reduced.mkdir()
    shutil.copy(source / "Scientific.item.json", reduced)
    log = json.loads((source / "Scientific.inter.json").read_text())
    (reduced / "Scientific.inter.json").write_text(json.dumps(without(is_tenth, log)))
    workspace = Workspace(Path(os.environ.get("GLTA_DATA_DIR", tmp_path)))

    def pipeline(name: str, *overrides: str) -> Pipeline:
        recipe = load_recipe("amazon-scientific", overrides).recipe
        return Pipeline(name, recipe, workspace, device="cpu")

    everybody = pipeline("everybody", f"dataset.source={source}")
    # The same linear row, so that two columns of a line are of one model.
    terms = f"fusion.terms=[{Index(everybody.ensure('index')).row.rows[LINEAR]}, encoder, llm]"
    # Whom the full log keeps, the reduced one keeps, too: a user of five items must not fall for another's absence.
    without_them = pipeline("without-a-tenth", f"dataset.source={reduced}", "dataset.kcore=0", terms)
    people, figures = never_seen(everybody, without_them, is_tenth)
    print(f"\n{people} people, NDCG@10")
    print(f"{'':24}{'trained on':>12}{'at once':>12}{'read':>12}")
    for row, values in figures.items():
        print(f"{row:24}" + "".join(f"{value:12.4f}" for value in values))
    [served] = [values for row, values in figures.items() if row.startswith(SERVED)]
    # Whom it never saw, it serves to within a tenth of how it serves those it was trained on, and far above popularity.
    assert max(served[1:]) > 0.9 * served[0]
    assert max(served[1:]) > 2 * next(values[1] for row, values in figures.items() if row.startswith(POPULARITY))


def is_tenth(user: str) -> bool:
    """Whether somebody is among the tenth who are left out."""
    return int(user.lstrip("u")) % 10 == 0


def test_every_row_is_measured_for_people_in_no_log(
    run_toy: Callable[..., Pipeline], toy_table: Path, tmp_path: Path
) -> None:
    source = shutil.copytree(toy_table, tmp_path / "source")
    log = source / "interactions.csv"
    head, *lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join([head, *(line for line in lines if not is_tenth(line.split(",")[0]))]))
    terms = "fusion.terms=[ease, encoder, llm]"
    everybody = run_toy(terms, stage=SERVING, name="answers")
    people, figures = never_seen(everybody, run_toy(terms, f"dataset.source={source}", stage=SERVING), is_tenth)
    assert people == 6
    kinds = {row.split(":")[0] for row in figures}
    assert {SERVED, LINEAR, ENCODER, POPULARITY} <= kinds
    for row, (trained, at_once, read) in figures.items():
        assert 0 <= trained <= 1
        assert np.isnan(at_once) == row.startswith(LANGUAGE)
        assert np.isnan(read) == row.startswith((LINEAR, POPULARITY))
