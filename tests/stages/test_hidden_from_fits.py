"""What a split hides is hidden from every fit: with other hidden interactions and texts, the same is learnt."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from glta_cli.core.errors import InputErrors
from glta_cli.core.tensors import read_arrays, read_tensors
from glta_cli.data.prepared import PreparedDataset
from glta_cli.evaluation.baselines import fitted_baseline
from glta_cli.recipe.files import recipe_from
from glta_cli.recipe.schema import Recipe
from glta_cli.stages.context import FULL_PARAMETERS, MODEL, WHITENING
from glta_cli.stages.fitted_baselines import LEARNT, made_baseline
from glta_cli.stages.parameter_files import ALIGNMENT_PARAMETERS
from glta_cli.stages.pipeline import Pipeline
from glta_cli.workspace.workspace import Workspace

USERS, ITEMS = 50, 36
Pairs = list[tuple[int, int]]
# Of which neither the first user nor the first item is hidden: they hold all others in their places.
SEED = {"items": 0, "users": 0}


def pairs() -> Pairs:
    """Item 0 is met by every user and then every item by user 0, first of all: indices are what they are called."""
    generator = np.random.default_rng(3)
    rows = [(user, 0) for user in range(USERS)] + [(0, item) for item in range(1, ITEMS)]
    for user in range(1, USERS):
        taste = np.arange(1, 18) if user % 2 else np.arange(18, ITEMS)
        rows += [(user, int(item)) for item in generator.choice(taste, 9, replace=False)]
    return rows


def title_of(item: int) -> str:
    return f"{'Book' if item > 17 else 'Film'} about {item * 7919}"


def with_other_users(rows: Pairs, items: set[int]) -> Pairs:
    """The same rows, in which these items were met by as many others, drawn anew."""
    generator = np.random.default_rng(8)
    changed = list(rows)
    for item in items:
        places = [place for place, row in enumerate(rows) if row[1] == item]
        for place, user in zip(places, generator.choice(USERS, len(places), replace=False), strict=True):
            changed[place] = (int(user), item)
    return changed


def with_other_items(rows: Pairs, users: set[int]) -> Pairs:
    """The same rows, in which these users met as many other items, but for the first one, drawn anew."""
    generator = np.random.default_rng(9)
    changed = list(rows)
    for user in users:
        places = [place for place, row in enumerate(rows) if row[0] == user and row[1] != 0]
        for place, item in zip(places, generator.choice(np.arange(1, ITEMS), len(places), replace=False), strict=True):
            changed[place] = (user, int(item))
    return changed


class Run:
    """Pipelines of the toy recipe on a table, all in one workspace."""

    def __init__(self, root: Path, settings: Mapping[str, Any], kind: str) -> None:
        self.root, self.settings, self.kind = root, settings, kind

    def __call__(self, name: str, rows: Pairs, titles: Mapping[int, str], *overrides: str) -> Pipeline:
        folder = self.root / name
        folder.mkdir(exist_ok=True)
        lines = [f"u{user},i{item},{1_600_000_000 + time}\n" for time, (user, item) in enumerate(rows)]
        (folder / "interactions.csv").write_text("user,item,timestamp\n" + "".join(lines))
        named = [f"i{item},{titles.get(item, title_of(item))}\n" for item in range(ITEMS)]
        (folder / "items.csv").write_text("item,title\n" + "".join(named))
        split = {"strategy": f"cold-{self.kind}", "seed": SEED[self.kind]}
        settings = {**self.settings, "dataset": {"name": "table", "source": str(folder), "split": split}}
        return Pipeline(name, recipe_from(settings, list(overrides)), Workspace(self.root / "workspace"), device="cpu")


@pytest.fixture(params=["items", "users"])
def run(request: pytest.FixtureRequest, tmp_path: Path, tiny_settings: dict[str, Any]) -> Run:
    return Run(tmp_path, tiny_settings, request.param)


def two_datasets(run: Run, *overrides: str) -> tuple[Pipeline, Pipeline, set[int]]:
    """A dataset, the same with other interactions and texts of what is hidden, and which that is."""
    rows = pairs()
    first = run("first", rows, {}, *overrides)
    hidden = set(np.flatnonzero(first.prepared().hidden()).tolist())
    assert hidden
    assert 0 not in hidden
    other = with_other_users(rows, hidden) if run.kind == "items" else with_other_items(rows, hidden)
    # As long as before: texts are read in batches of one length, and a sum's last bit may depend on its batch.
    titles = {item: title_of(item)[::-1] for item in hidden} if run.kind == "items" else {}
    second = run("second", other, titles, *overrides)
    assert set(np.flatnonzero(second.prepared().hidden()).tolist()) == hidden
    return first, second, hidden


def training_of(prepared: PreparedDataset) -> set[tuple[int, int]]:
    train = prepared.split("train")
    return set(zip(train.users.tolist(), train.items.tolist(), strict=True))


def test_no_training_interaction_is_of_what_is_hidden(run: Run) -> None:
    first, second, hidden = two_datasets(run)
    training = training_of(first.prepared())
    assert training == training_of(second.prepared())
    assert not hidden & {pair[run.kind == "items"] for pair in training}
    whole = [len(each.prepared().history()) for each in (first, second)]
    assert whole[0] == whole[1] > len(training)


# What is hidden to choose by may choose a number: it is set here.
@pytest.mark.parametrize(
    ("name", "options"),
    [("popularity", {}), ("item-knn", {}), ("ease", {"regularization": 100}), ("text-only", {})],
)
def test_a_baseline_learns_nothing_of_what_is_hidden(run: Run, name: str, options: dict[str, Any]) -> None:
    first, second, hidden = two_datasets(run)
    learnt = [fitted_baseline(made_baseline(name, options), each) for each in (first, second)]
    one, other = (read_arrays(each.artefact.file(LEARNT), *each.artefact.details["arrays"]) for each in learnt)
    assert learnt[0].artefact.fingerprint != learnt[1].artefact.fingerprint
    warm = np.array([item not in hidden for item in range(ITEMS)]) if run.kind == "items" else np.ones(ITEMS, bool)
    for key, array in one.items():
        # What stands in an item's own row is that item's: its text is known, and is what it is scored by.
        rows = warm if name == "text-only" else slice(None)
        assert_array_equal(np.atleast_1d(array)[rows], np.atleast_1d(other[key])[rows], err_msg=key)


@pytest.mark.parametrize("encoder", ["lightgcn", "hccf", "rlmrec-gen", "alpharec"])
@pytest.mark.parametrize("loss", ["softmax", "bpr"])
def test_an_encoder_learns_nothing_of_what_is_hidden(run: Run, encoder: str, loss: str) -> None:
    overrides = (
        f"graph.encoder={encoder}",
        f"graph.loss={loss}",
        "graph.training.epochs=2",
        "graph.training.patience=9",
    )
    first, second, _ = two_datasets(run, *overrides)
    artefacts = [each.ensure("pretrain-graph") for each in (first, second)]
    for file in (FULL_PARAMETERS, ALIGNMENT_PARAMETERS):
        assert_same(artefacts, file)
    history = [artefact.details["full"]["history"] for artefact in artefacts]
    assert history[0] == history[1] or [each["loss"] for each in history[0]] == [each["loss"] for each in history[1]]


def test_neither_whitening_nor_the_language_model_s_training_knows_what_is_hidden(run: Run) -> None:
    first, second, _ = two_datasets(run)
    for stage, file in (("encode-items", WHITENING), ("align", MODEL), ("finetune", MODEL)):
        assert_same([each.ensure(stage) for each in (first, second)], file)


def assert_same(artefacts: list[Any], file: str) -> None:
    one, other = (read_tensors(artefact.file(file)) for artefact in artefacts)
    assert one.keys() == other.keys()
    assert one
    for name, tensor in one.items():
        assert_array_equal(tensor.numpy(), other[name].numpy(), err_msg=f"{file}: {name}")


def test_a_split_that_hides_nothing_shows_that_the_comparison_can_fail(
    tmp_path: Path, tiny_settings: dict[str, Any]
) -> None:
    run = Run(tmp_path, tiny_settings, "items")
    rows = pairs()
    ratio = "dataset.split.strategy=ratio"
    first, second = (
        run("first", rows, {}, ratio),
        run("second", with_other_users(rows, {3, 7}), {5: title_of(5)[::-1]}, ratio),
    )
    assert training_of(first.prepared()) != training_of(second.prepared())
    with pytest.raises(AssertionError):
        assert_same([each.ensure("encode-items") for each in (first, second)], WHITENING)


def test_a_refit_on_what_is_hidden_to_choose_by_is_refused(tiny_recipe: Callable[..., Recipe]) -> None:
    with pytest.raises(InputErrors, match="hides to choose by"):
        tiny_recipe("dataset.split.strategy=cold-items", "graph.refit=true", "finetune.enabled=false")
