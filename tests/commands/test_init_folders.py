"""`glta init` on a folder that holds more than the parts of one log."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(("log", "items"), [("verkauf.csv", "artikel.csv"), ("log.csv", "products.csv")])
def test_a_folder_with_log_and_items_says_how_to_name_them_apart(glta, log, items):
    folder = glta.folder / "shop"
    folder.mkdir()
    (folder / items).write_text("Artikel,Titel\na,Kanne\nb,Topf\n")
    (folder / log).write_text("Kunde,Artikel\nk,a\nl,b\n")
    refused = glta("init", "shop")
    assert refused.code == 2
    said = "not all files there are parts of one log: name log and items apart, as in "
    assert f"{said}glta init shop/{log} shop/{items}\n" in refused.err + "\n"
    assert glta("init", f"shop/{log}", f"shop/{items}").code == 0


@pytest.mark.parametrize("months", [2, 3])
def test_a_month_whose_users_are_called_otherwise_is_no_file_of_items(glta, months):
    folder = glta.folder / "m"
    folder.mkdir()
    for month in range(1, months + 1):
        user = "Kd" if month == 2 else "Kunde"
        (folder / f"0{month}.csv").write_text(f"{user},Artikel,Datum\nk,a,2023-0{month}-01\nl,b,2023-0{month}-02\n")
    refused = glta("init", "m")
    assert refused.code == 2
    assert "02.csv" in refused.err
    assert "name log and items apart" not in refused.err


def test_items_beside_the_parts_of_a_pattern_are_found(glta):
    folder = glta.folder / "logs" / "2023"
    folder.mkdir(parents=True)
    (folder / "part.csv").write_text("Kunde,Artikel\nk,a\nl,b\n")
    (folder / "stuff.csv").write_text("Artikel,Titel\na,Kanne\nb,Topf\n")
    finished = glta("init", "logs/*/part.csv", "stuff.csv")
    assert finished.code == 0, finished.err
    assert "title: Titel" in finished.out


def test_a_folder_without_users_anywhere_asks_for_their_column(glta):
    folder = glta.folder / "shop"
    folder.mkdir()
    for name in ("a.csv", "b.csv"):
        (folder / name).write_text("Artikel,Titel\na,Kanne\n")
    assert "hint: name it: --user COLUMN" in glta("init", "shop").err
