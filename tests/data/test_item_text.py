"""Item texts: entities, tags and white space."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glta_cli.data.item_text import item_text, plain


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("Salt &amp; Pepper", "Salt & Pepper"),
        ("12&amp;quot; ruler", '12" ruler'),
        ("<b>Bold</b><br/>and\n\n new", "Bold and new"),
        ("a<script>var x = '<b>';</script>b", "a b"),
        ("<style>p { color: red }</style>text", "text"),
        ("3 < 4 and 5 > 2", "3 < 4 and 5 > 2"),
        ("I <3 jazz", "I <3 jazz"),
        ("L&eacute;on&nbsp;(1994)", "Léon (1994)"),
        ("&lt;p&gt;escaped tag&lt;/p&gt;", "escaped tag"),
        (" \t\n", None),
        ("<br>", None),
        ("cut off.</p and on", "cut off. and on"),
        ("", None),
        (None, None),
    ],
)
def test_text_comes_out_plain(raw, expected):
    assert plain(raw) == expected


@given(st.text(alphabet=st.characters(exclude_characters="<&"), max_size=200))
def test_text_without_markup_only_loses_white_space(raw):
    assert (plain(raw) or "") == " ".join(raw.split())


def test_title_and_description_become_one_text():
    assert item_text("Heat (1995)", "Crime, Drama") == "Heat (1995). Crime, Drama"
    assert item_text("Who Am I?", "Action") == "Who Am I? Action"
    assert item_text("Heat", "Heat") == item_text("Heat", None) == item_text(None, "Heat") == "Heat"
    assert item_text(None, None) is None
