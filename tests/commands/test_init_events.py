"""`glta init` on logs whose column of events is not called so in English: a view is no purchase in any language."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml


def log_with(folder: Path, column: str, words: tuple[str, ...], further: str = "") -> None:
    rows = [f"k{n % 5};a{n % 7};{n % 28 + 1:02}.03.2023 12:30;{words[n % len(words)]}{further}\n" for n in range(60)]
    (folder / "log.csv").write_text(f"Kunde;Artikel;Zeitpunkt;{column}\n" + "".join(rows))


def options_in(folder: Path) -> dict[str, Any]:
    return yaml.safe_load((folder / "shop.yaml").read_text())["dataset"]["options"]


def test_german_events_are_found_and_weighed(glta):
    log_with(glta.folder, "Ereignis", ("Ansicht", "In den Warenkorb", "Kauf", "Retoure"))
    finished = glta("init", "log.csv")
    assert finished.code == 0, finished.err
    assert "warning" not in finished.err
    options = options_in(glta.folder)
    assert (options["event"], options["timestamp"]) == ("Ereignis", "Zeitpunkt")
    assert options["events"] == {"Ansicht": 1, "In den Warenkorb": 2, "Kauf": 3}
    assert "# seen: [Kauf]" in (glta.folder / "shop.yaml").read_text()
    prepared = glta("prepare", "--recipe", "shop.yaml", "--json").json
    assert prepared["dropped"] == {"event not in events": 15}
    assert prepared["events"]["Kauf"]["weight"] == 3


def test_events_are_found_by_their_words_where_no_name_says_it(glta):
    log_with(glta.folder, "Was", ("view", "cart", "order"))
    finished = glta("init", "log.csv")
    assert "warning: 'Was', such as view, is taken as the event by its values" in finished.err
    assert options_in(glta.folder)["events"] == {"view": 1, "cart": 2, "order": 3}


@pytest.mark.parametrize("words", [("mobil", "stationär"), ("Rechnung", "Kauf", "Karte", "Bar", "Vorkasse")])
def test_columns_of_other_words_hold_no_events(glta, words):
    log_with(glta.folder, "Kanal", words)
    assert glta("init", "log.csv").code == 0
    assert "event" not in options_in(glta.folder)


@pytest.mark.parametrize(
    "words",
    [
        ("cancelled", "returned"),
        ("open", "returned", "shipped", "cancelled"),
        ("bestellt", "bezahlt", "storniert"),
        ("open", "save"),
    ],
)
def test_states_and_ordinary_words_leave_out_no_row(glta, words):
    log_with(glta.folder, "status", words)
    seen = glta("init", "log.csv", "--json")
    assert seen.code == 0, seen.err
    assert "taken as the event" not in seen.err
    assert "event" not in options_in(glta.folder)
    assert seen.json["dropped"] == {}


def test_words_that_may_be_events_are_offered(glta):
    log_with(glta.folder, "status", ("open", "paid", "cancelled"))
    assert "looks like events, not used: --option event=status" in glta("init", "log.csv").err
    assert "event" not in options_in(glta.folder)


def test_events_that_all_take_something_back_are_kept_as_they_are(glta):
    log_with(glta.folder, "Ereignis", ("cancelled", "returned"))
    seen = glta("init", "log.csv", "--json")
    assert seen.code == 0, seen.err
    assert "events" not in options_in(glta.folder)
    assert seen.json["dropped"] == {}


def test_of_two_columns_of_such_words_none_is_taken_and_both_are_named(glta):
    log_with(glta.folder, "Was;Dann", ("view;cart", "order;view", "cart;order"))
    finished = glta("init", "log.csv")
    assert "event" not in options_in(glta.folder)
    for column in ("Was", "Dann"):
        assert f"looks like events, not used: --option event={column}" in finished.err
    named = glta("init", "log.csv", "--option", "event=Dann", "-o", "named.yaml")
    assert named.code == 0
    assert "looks like events" not in named.err


def test_a_log_that_is_prepared_without_a_recipe_is_read_as_before(glta):
    log_with(glta.folder, "type", ("Ansicht", "Kauf"))
    prepared = glta("prepare", "table", "--source", "log.csv", "-o", "user=Kunde", "-o", "item=Artikel", "--json")
    assert prepared.code == 0, prepared.err
    assert not prepared.json.get("events")
