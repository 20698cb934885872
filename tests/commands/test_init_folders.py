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


def test_a_folder_without_users_anywhere_asks_for_their_column(glta):
    folder = glta.folder / "shop"
    folder.mkdir()
    for name in ("a.csv", "b.csv"):
        (folder / name).write_text("Artikel,Titel\na,Kanne\n")
    assert "hint: name it: --user COLUMN" in glta("init", "shop").err
