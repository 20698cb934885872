"""`glta init` on a folder that holds more than the parts of one log."""

from __future__ import annotations


def test_a_folder_with_log_and_items_says_how_to_name_them_apart(glta):
    folder = glta.folder / "shop"
    folder.mkdir()
    (folder / "artikel.csv").write_text("Artikel,Titel\na,Kanne\nb,Topf\n")
    (folder / "verkauf.csv").write_text("Kunde,Artikel\nk,a\nl,b\n")
    refused = glta("init", "shop")
    assert refused.code == 2
    said = "not all files there are parts of one log: name log and items apart, as in "
    assert f"{said}glta init shop/verkauf.csv shop/artikel.csv\n" in refused.err + "\n"
    assert glta("init", "shop/verkauf.csv", "shop/artikel.csv").code == 0


def test_a_folder_without_users_anywhere_asks_for_their_column(glta):
    folder = glta.folder / "shop"
    folder.mkdir()
    for name in ("a.csv", "b.csv"):
        (folder / name).write_text("Artikel,Titel\na,Kanne\n")
    assert "hint: name it: --user COLUMN" in glta("init", "shop").err
