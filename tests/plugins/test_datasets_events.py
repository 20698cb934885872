"""A log of views, carts and purchases: what each counts for, and what keeps a product from being shown again."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import polars as pl
import pytest

from glta_cli.core.errors import GltaError, InputError
from glta_cli.data.preparation import prepare
from glta_cli.data.prepared import PreparedDataset
from glta_cli.recipe.schema import DatasetSettings
from glta_cli.workspace.workspace import Workspace

WEIGHTS = {"purchase": 3.0, "cart": 2.0, "view": 1.0}


@pytest.fixture
def prepared(tmp_path: Path, shop_folder: Path):
    """Prepare the shop's log, or another source, with options of the loader."""

    def get(source: Path | str | None = None, **options: object) -> PreparedDataset:
        source = str(shop_folder / "log.csv" if source is None else source)
        settings = DatasetSettings.model_validate(
            {"name": "table", "source": source, "most_dropped": 1, "options": options}
        )
        return prepare(settings, Workspace(tmp_path / "workspace"))[0]

    return get


@pytest.fixture
def log(shop_folder: Path) -> pl.DataFrame:
    return pl.read_csv(shop_folder / "log.csv", schema_overrides={"sku": pl.String})


def weights_of(dataset: PreparedDataset) -> dict[tuple[str, str], float]:
    history = dataset.history()
    assert history.weights is not None
    pairs = zip(history.users, history.items, history.weights, strict=True)
    return {(dataset.user_ids[user], dataset.item_ids[item]): float(weight) for user, item, weight in pairs}


def test_events_weigh_and_repeated_ones_add_up(prepared, log):
    expected: dict[tuple[str, str], float] = defaultdict(float)
    for user, item, event, _, _ in log.iter_rows():
        expected[user, item] += WEIGHTS[event]
    dataset = prepared(events=WEIGHTS)
    assert weights_of(dataset) == expected
    summary = dataset.summary()
    assert summary["dropped"] == {}
    assert summary["added_up"] == log.height - len(expected)
    assert summary["events"] == {
        event: {"rows": rows, "weight": WEIGHTS[event], "seen": True}
        for event, rows in Counter(log["event"]).most_common()
    }
    assert dataset.seen().items.tolist() == dataset.history().items.tolist()


def test_a_quantity_multiplies_the_weight_of_its_event(prepared, log):
    expected: dict[tuple[str, str], float] = defaultdict(float)
    for user, item, event, _, quantity in log.filter(pl.col("event") != "view").iter_rows():
        expected[user, item] += WEIGHTS[event] * quantity
    dataset = prepared(events={"purchase": 3.0, "cart": 2.0}, weight="qty")
    assert weights_of(dataset) == expected
    views = (log["event"] == "view").sum()
    assert dataset.summary()["dropped"] == {"event not in events": views}
    assert dataset.examples["event not in events"].startswith("line 2: 'C-")


def test_what_is_kept_counts_the_same_each_time(prepared, log):
    dataset = prepared(keep=("purchase",))
    bought = log.filter(event="purchase")
    pairs = bought.select("customer", "sku").n_unique()
    assert len(dataset.history()) == pairs
    assert dataset.history().weights is None
    dropped = {"event not in keep": log.height - bought.height}
    assert dataset.summary()["dropped"] == dropped | (
        {"duplicate": bought.height - pairs} if bought.height > pairs else {}
    )


def test_only_what_counts_as_seen_is_seen(prepared, log):
    dataset = prepared(events=WEIGHTS, seen=("purchase",))
    seen = dataset.seen()
    pairs = {(dataset.user_ids[u], dataset.item_ids[i]) for u, i in zip(seen.users, seen.items, strict=True)}
    assert pairs == set(log.filter(event="purchase").select("customer", "sku").iter_rows())
    assert len(dataset.history()) == log.select("customer", "sku").n_unique()
    assert dataset.summary()["seen"] == len(pairs)


def test_events_of_which_nothing_is_said_count_the_same_and_that_is_told(prepared, log):
    dataset = prepared()
    counts = ", ".join(f"{event} {rows:,}" for event, rows in Counter(log["event"]).most_common())
    assert dataset.warnings[0] == (
        f"column 'event' holds {counts}: all count the same; -o events='{{view: 1, cart: 2, purchase: 3}}' weighs them"
    )
    assert dataset.history().weights is None
    assert dataset.summary()["dropped"] == {"duplicate": log.height - log.select("customer", "sku").n_unique()}


@pytest.mark.parametrize(
    ("options", "problem", "hint"),
    [
        ({"events": {"purchas": 3.0}}, "no row has the event 'purchas': column 'event' holds view", "'purchase'?"),
        ({"events": {"Purchase": 3.0, "view": 1.0}}, "no row has the event 'Purchase'", "did you mean 'purchase'?"),
        ({"keep": ("sale",)}, "no row has the event 'sale'", "-o event=COLUMN"),
        ({"seen": ("bought",)}, "no row has the event 'bought'", "-o event=COLUMN"),
        ({"keep": ("purchase",), "seen": ("view",)}, "'view' keeps no item out: its rows are left out", "kept are"),
        ({"keep": ("view",), "events": {"view": 1.0}}, "events names the events that are kept already", "leave out"),
        ({"event": "kind", "keep": ("view",)}, "no column 'kind'; the columns are customer", "names one of them"),
        ({"events": {"view": 0.0}}, "events.view: has to be greater than 0", None),
        ({"weight": "amount"}, "no column 'amount'", "names one of them"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_what_there_is(prepared, options, problem, hint):
    with pytest.raises(InputError) as caught:
        prepared(**options)
    assert problem in str(caught.value)
    assert hint is None or hint in str(caught.value)


def test_an_event_that_does_not_occur_yet_is_told_beside_those_that_do(prepared):
    dataset = prepared(events={**WEIGHTS, "refund": 1.0})
    assert dataset.warnings[0].startswith("no row has the event 'refund' that events names: column 'event' holds view")


def test_without_a_column_of_events_none_can_be_named(prepared, tmp_path):
    (tmp_path / "plain.csv").write_text("user,item\na,1\na,2\nb,1\n")
    with pytest.raises(InputError, match="no column is known as event; the columns are user, item"):
        prepared(tmp_path / "plain.csv", keep=("view",))


@pytest.mark.parametrize(
    "rows",
    [
        # The numbers of events, and the types of products, are no kinds of events.
        ["user,item,event"] + [f"a,{item},{item}" for item in range(40)],
        ["user,item,type"] + [f"a,{item},{'shoe' if item % 2 else 'hat'}" for item in range(40)],
        ["user,item,event"] + [f"a,{item},view" for item in range(40)],
    ],
)
def test_a_column_that_tells_no_kinds_of_events_apart_is_none(prepared, tmp_path, rows):
    (tmp_path / "other.csv").write_text("\n".join(rows) + "\n")
    dataset = prepared(tmp_path / "other.csv")
    assert not any("all count the same" in warning for warning in dataset.warnings)
    assert "events" not in dataset.summary()


def test_events_may_be_numbers_and_stand_in_parts(prepared, tmp_path):
    folder = tmp_path / "parts"
    folder.mkdir()
    for part, events in enumerate([[1, 1], [2, 4]]):
        rows = {"user": ["a", "b"], "item": [f"{part}", "x"], "behavior_type": events}
        pl.DataFrame(rows).write_parquet(folder / f"part-{part}.parquet")
    dataset = prepared(folder, events={"1": 1.0, "4": 3.0})
    assert weights_of(dataset) == {("a", "0"): 1.0, ("b", "x"): 4.0}
    assert dataset.summary()["dropped"] == {"event not in events": 1}


def test_a_part_without_the_column_of_events_is_read_as_before(prepared, tmp_path):
    folder = tmp_path / "parts"
    folder.mkdir()
    (folder / "a.csv").write_text("user,item,event\nu,1,view\nu,2,purchase\n")
    (folder / "b.csv").write_text("user,item\nv,1\n")
    assert prepared(folder).summary()["interactions"] == 3
    with pytest.raises(InputError, match="its event is in no column, and that of a"):
        prepared(folder, keep=("view",))


@pytest.mark.parametrize("decimal", [".", ","])
def test_weights_that_are_no_positive_numbers_are_dropped_with_an_example(prepared, tmp_path, decimal):
    amounts = ["1.5", "-1", "0", "x", "", "2"]
    rows = "".join(f"u;{item};{amount.replace('.', decimal)}\n" for item, amount in enumerate(amounts))
    (tmp_path / "shop.csv").write_text("user;item;amount\n" + rows)
    dataset = prepared(tmp_path / "shop.csv", weight="amount")
    assert dataset.summary()["dropped"] == {"bad weight": 4}
    assert dataset.examples == {"bad weight": "line 3: 'u;1;-1'"}
    assert weights_of(dataset) == {("u", "0"): 1.5, ("u", "5"): 2.0}


def test_a_log_without_a_readable_weight_is_refused(prepared, tmp_path):
    (tmp_path / "shop.csv").write_text("user,item,qty\nu,1,none\nu,2,-3\n")
    with pytest.raises(GltaError, match="no line can be read: bad weight: 2, such as line 2: 'u,1,none'"):
        prepared(tmp_path / "shop.csv", weight="qty")
