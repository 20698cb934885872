"""Histories of people who are in no file, by what they did: each item with an event of the log."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import glta_cli
from glta_cli.answers.history_entries import History, Met, entries_between_commas
from glta_cli.answers.question import Question
from glta_cli.answers.run import Run
from glta_cli.core.errors import InputError, InputErrors
from glta_cli.core.files import read_sealed_json, write_sealed_json
from glta_cli.main import app
from glta_cli.stages.lineage import SERVING
from glta_cli.stages.pipeline import Pipeline

WEIGHED = ("events={purchase: 3, cart: 2, view: 1}", "seen=[purchase]")
INSTANT = ("fusion.terms=[ease, encoder]", "finetune.enabled=false", "align.enabled=false")
# Oldest first: what is viewed before it is bought, what is only viewed, again and again, and what is put back.
PEOPLE = (
    [
        ("0001", "view"),
        ("0002", "purchase"),
        ("0001", "cart"),
        ("0003", "view"),
        ("0001", "purchase"),
        ("0004", "cart"),
    ],
    [("0013", "view"), ("0014", "cart"), ("0013", "view"), ("0015", "remove"), ("0014", "cart"), ("0013", "view")],
    [("0005", "purchase"), ("0006", "purchase"), ("0007", "remove")],
)
EASE = ("--model", "ease", "-k", "24")
RunShop = Callable[..., Pipeline]


@pytest.fixture(scope="module")
def shop(shop_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The made-up shop, in whose log products are put back, too, and one title holds a sign, a comma and quotes."""
    folder = shutil.copytree(shop_folder, tmp_path_factory.mktemp("events") / "shop")
    append(folder, [("C-00", "0000", "remove"), ("C-01", "0013", "remove")])
    products = folder / "products.csv"
    products.write_text(products.read_text().replace("0008,Lamp 8", '0008,"Lamp=view, ""the"" 8"'))
    return folder


def append(shop: Path, rows: list[tuple[str, str, str]]) -> None:
    with (shop / "log.csv").open("a") as log:
        log.writelines(f"{user},{item},{event},{1_800_000_000 + at},1\n" for at, (user, item, event) in enumerate(rows))


@pytest.fixture(scope="module")
def run_shop(run_toy: Callable[..., Pipeline], shop: Path) -> RunShop:
    def run(name: str, options: tuple[str, ...] = WEIGHED, settings: tuple[str, ...] = INSTANT) -> Pipeline:
        source = [f"dataset.source={shop / 'log.csv'}", "dataset.options.items=products.csv"]
        loader = [f"dataset.options.{option}" for option in options]
        return run_toy(*source, *loader, *settings, name=name, stage=SERVING)

    return run


@pytest.fixture(scope="module")
def run(run_shop: RunShop) -> Run:
    return glta_cli.load("by-events", run_shop("by-events").workspace.root)


def shell(run: Run, *arguments: str) -> Any:
    root = str(run.artefact.path.parents[2])
    options = ["recommend", "--run", run.name, "--data-dir", root, *arguments]
    return CliRunner().invoke(app, options, catch_exceptions=False)


def lists(run: Run, history: History, **options: Any) -> list[dict[str, Any]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is left out is another test's
        return run.recommend_for(history, k=24, **{"model": "ease", **options}).to_dicts()


# ------------------------------------------------------------------------------------- as an update takes them in


@pytest.mark.parametrize(
    ("options", "settings", "deep"),
    [
        (WEIGHED, INSTANT, False),
        (("events={purchase: 3, cart: 2, view: 1}", "weight=qty"), INSTANT, False),
        (("keep=[purchase, view]", "seen=[purchase]"), INSTANT, False),
        (("events={purchase: 3}",), INSTANT, False),
        (("events={purchase: 0.1}",), INSTANT, False),
        (WEIGHED, (*INSTANT, "graph.encoder=sasrec"), True),
    ],
    ids=["weighed", "quantities", "kept", "all alike", "all alike by a tenth", "in order"],
)
def test_they_are_answered_as_users_whom_an_update_took_in(
    run_shop: RunShop,
    shop: Path,
    tmp_path: Path,
    options: tuple[str, ...],
    settings: tuple[str, ...],
    deep: bool,
) -> None:
    root = tmp_path / "workspace"
    shutil.copytree(run_shop("grows", options, settings).workspace.root, root)
    before = glta_cli.load("grows", root)
    counting = {event.name for event in before.index.events.counting}
    people = [person for person in PEOPLE if any(event in counting for _, event in person)]
    rows = [(f"n{place}", *row) for place, person in enumerate(people) for row in person]
    source = shutil.copytree(shop, tmp_path / "source")
    append(source, rows)
    grow = ["update", "--run", "grows", "--data-dir", str(root), "--source", str(source / "log.csv"), "--json"]
    assert json.loads(CliRunner().invoke(app, grow).stdout)["new"]["users"] == len(people)

    after = glta_cli.load("grows", root)
    assert after.artefact != before.artefact
    for place, person in enumerate(people):
        for row in (before.index.encoder,) if deep else (None, "ease", before.index.encoder):
            asked = before.answer(Question(history=tuple(Met(*each) for each in person), k=24, model=row, deep=deep))
            known = after.answer(Question(f"n{place}", k=24, model=row))
            found, stored = (
                [(each["item"], each["score"]) for each in answer["recommendations"]] for answer in (asked, known)
            )
            assert found == [(item, pytest.approx(score, abs=2e-4)) for item, score in stored], (row, place)
            assert [each["item"] for each in asked["history"]] == [each["item"] for each in known["history"]]


# ------------------------------------------------------------------------------------------ how they are written


def test_events_are_named_alike_in_every_way_in(run: Run) -> None:
    expected = lists(run, [("0001", "purchase"), ("0002", "view"), "0003"])
    assert lists(run, {"0001": "purchase", "0002": "view", "0003": None}) == expected
    assert lists(run, [{"item": "0001", "event": "purchase"}, ("lamp 2", "view"), {"item": "0003"}]) == expected
    assert lists(run, ["0001=purchase", "Lamp 2 = view", "0003"]) == expected
    written = '0001=purchase, "lamp 2"=view, "0003"'
    assert lists(run, written) == expected
    assert lists(run, written.replace(", ", "\n")) == expected
    assert lists(run, {"item": "0001", "event": "purchase"}) == lists(run, "0001=purchase")
    assert json.loads(shell(run, "--history", written, *EASE, "--json").stdout)["recommendations"] == expected
    assert lists(run, ["0001", "0002", "0003"]) != expected
    pairs: Any = (("0001", "purchase"), ("0002", "view"), "0003")
    assert run.answer(Question(history=pairs, k=24, model="ease"))["recommendations"] == expected
    # Only what is bought is kept out of the answers; what is met without an event is, too.
    assert {"0001", "0003"} & {each["item"] for each in expected} == set()
    assert "0002" in {each["item"] for each in expected}


def test_a_title_that_holds_the_sign_is_that_title(run: Run) -> None:
    title = 'Lamp=view, "the" 8'
    in_list = '"Lamp=view, ""the"" 8"'
    plain = lists(run, ["0008"])
    for history in ([title], title, in_list):
        assert lists(run, history) == plain
    assert json.loads(shell(run, "--history", title, *EASE, "--json").stdout)["recommendations"] == plain
    bought = lists(run, [("0008", "purchase")])
    for history in ([f"{title}=purchase"], f"{title}=purchase", f"{in_list} = purchase", f'{in_list}="purchase"'):
        assert lists(run, history) == bought
    assert bought != plain


def test_entries_stand_between_commas_and_names_in_quotes() -> None:
    assert entries_between_commas('A-1="add, cart", A=1 = "x ""y""",B 12" = "z', "history") == (
        'A-1="add, cart"',
        'A=1 = "x ""y"""',
        'B 12" = "z',
    )
    assert entries_between_commas('A-1=view,"Heat, 1995"=buy , \n"a ""b""", ,c:d=e', "history") == (
        "A-1=view",
        Met("Heat, 1995", "buy"),
        'a "b"',
        "c:d=e",
    )
    for wrong in ('"i3', 'i1,"Heat" 1995', '"Heat"=buy"'):
        with pytest.raises(InputError, match="cannot be read as a list") as caught:
            entries_between_commas(wrong, "history")
        assert "quotes" in str(caught.value.hint)


def test_an_answer_says_by_which_events_it_took_the_history(run: Run) -> None:
    asked = "0001=view,0001=purchase,0002"
    answer = json.loads(shell(run, "--history", asked, "--json").stdout)
    assert answer["history"] == [
        {"item": "0002", "title": "Lamp 2"},
        {"item": "0001", "title": "Lamp 1", "events": ["view", "purchase"]},
    ]
    shown = shell(run, "--history", asked).stdout
    assert "\n  Lamp 1 (view, purchase)\n" in shown
    assert max(map(len, shown.splitlines())) <= 80


# ----------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("history", "said", "hint"),
    [
        (
            "0001=purchse",
            "the log has no event 'purchse'; it has view, cart, purchase, remove",
            "did you mean 'purchase'",
        ),
        ("0001=Purchase", "the log has no event 'Purchase'", "did you mean 'purchase'"),
        ("0001=xyzzy", "the log has no event 'xyzzy'", "name one of them"),
        ("0001:view", "'0001:view' is no item", "an event stands behind '=': 0001=view"),
        ("0002=view, lamp 1 @ cart", "'lamp 1 @ cart' is no item", "an event stands behind '=': lamp 1=cart"),
        ("0001=", "the log has no event ''", "name one of them"),
        ("Lmap 1=purchase", "no item has the id or the title 'Lmap 1'", "Lamp 1"),
        ([("0001", True)], "no item with its event", "such as"),
        ([("0001", 2)], "the log has no event '2'", "name one of them"),
        ([("0001", "purchase", 3)], "no item with its event", "such as"),
        ([{"itm": "0001"}], "no item with its event", "such as"),
        ("0001=remove", "nothing is left of it: the log's rows of remove are not kept", "view, cart, purchase"),
    ],
)
def test_what_is_no_event_is_told_with_what_there_is(run: Run, history: Any, said: str, hint: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        run.recommend_for(history)
    assert caught.value.location == "history"
    assert hint in str(caught.value.hint)
    if isinstance(history, str):
        with pytest.raises(InputError, match=said) as caught:
            shell(run, "--history", history)
        assert caught.value.location == "--history"


def test_all_that_is_unknown_is_told_together(run: Run) -> None:
    with pytest.raises(InputErrors) as caught:
        run.recommend_for("0001=bought,0002=seen,0003=bought,lampe=view")
    assert [str(error).split("'")[1] for error in caught.value.errors] == ["lampe", "bought", "seen"]


def test_what_the_log_does_not_keep_is_left_out_with_a_line(run: Run) -> None:
    history = "0001=remove, 0002=purchase, 0003=remove"
    line = "2 items of the history are left out: the log's rows of remove are not kept"
    with pytest.warns(UserWarning, match=line):
        frame = run.recommend_for(history, k=24, model="ease")
    assert frame.to_dicts() == lists(run, "0002=purchase")
    shown = shell(run, "--history", history)
    assert line in " ".join(shown.stderr.split())
    assert run.answer(Question(history=(Met("0001", "remove"), Met("0002", "cart"))))["remarks"] == [
        "1 item of the history is left out: the log's rows of remove are not kept"
    ]


def test_a_run_without_events_says_so(run_toy: Callable[..., Pipeline]) -> None:
    run = glta_cli.load("plain", run_toy(*INSTANT, stage=SERVING, name="plain").workspace.root)
    for history in (["i1=view"], [("i1", "view")]):
        with pytest.raises(InputError, match="the run knows of no events in its log") as caught:
            run.recommend_for(history)
        assert "dataset.options.events" in str(caught.value.hint)
    assert "events" not in run.artefact.manifest["details"]


def test_an_index_of_an_earlier_version_is_told_by_its_dataset_while_that_is_there(run: Run, tmp_path: Path) -> None:
    root = tmp_path / "workspace"
    shutil.copytree(run.artefact.path.parents[2], root)
    manifest = root / "stages" / SERVING / run.artefact.fingerprint / "manifest.json"
    said = read_sealed_json(manifest, [])
    assert said["details"].pop("events")
    write_sealed_json(manifest, {key: value for key, value in said.items() if key != "checksum"})
    history = "0001=purchase,0002=view"
    assert lists(glta_cli.load(run.name, root), history) == lists(run, history)
    shutil.rmtree(root / "stages" / "prepare")
    alone = glta_cli.load(run.name, root)
    with pytest.raises(InputError, match="the run knows of no events"):
        alone.recommend_for(history)
    assert lists(alone, "0001,0002") == lists(run, "0001,0002")


def test_reasons_of_a_history_with_events_add_up(run: Run) -> None:
    history = (Met("0001", "view"), Met("0002", "purchase"), Met("0001", "cart"))
    answer = run.answer(Question(history=history, k=5, because=True, model="ease"))
    for entry in answer["recommendations"]:
        parts = {each["item"]: each["part"] for each in entry["because"]["history"]}
        assert parts.keys() == {"0001", "0002"}
        assert sum(parts.values()) == pytest.approx(entry["score"], abs=1e-3)
