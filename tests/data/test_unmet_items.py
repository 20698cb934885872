"""Products nobody met yet stay in the catalogue where they have a text, behind those that somebody met."""

from __future__ import annotations

from pathlib import Path

import pytest

from glta_cli.data.preparation import prepare
from glta_cli.data.prepared import PreparedDataset
from glta_cli.recipe.schema import DatasetSettings
from glta_cli.workspace.workspace import Workspace

LOG = "user,item\n" + "".join(f"u{n % 5},{n % 4:03d}\n" for n in range(20))
ITEMS = "item,title,description\nnew-2,Second,\n000,Zero,\n001,One,\n,Nameless,\nnew-1,,Words\nempty,,\nnew-2,Again,\n"


@pytest.fixture
def prepared(tmp_path: Path):
    def get(items: str = ITEMS, log: str = LOG, kcore: int = 0, **options: object) -> PreparedDataset:
        (tmp_path / "interactions.csv").write_text(log)
        (tmp_path / "items.csv").write_text(items)
        settings = DatasetSettings(name="table", source=str(tmp_path), kcore=kcore, options=options)
        return prepare(settings, Workspace(tmp_path / "workspace"))[0]

    return get


def test_they_stand_behind_the_others_in_the_order_of_their_file(prepared):
    dataset = prepared()
    assert dataset.item_ids == ["000", "001", "002", "003", "new-2", "new-1"]
    assert dataset.texts[4:] == ["Second", "Words"]
    assert dataset.history().item_count == 6
    assert dataset.account["items"] == {"unmet": 2, "without_text": 2, "only_in_item_file": 1}


@pytest.mark.parametrize("changes", [{"unmet_items": False}, {"kcore": 2}])
def test_they_are_left_out_where_that_was_asked_for(prepared, changes):
    dataset = prepared(**changes)
    assert dataset.item_ids == ["000", "001", "002", "003"]
    assert dataset.account["items"]["only_in_item_file"] == 3


def test_a_file_of_other_items_adds_none(prepared):
    dataset = prepared("item,title\nx1,One\nx2,Two\n")
    assert dataset.item_ids == ["000", "001", "002", "003"]
    assert any("0 of 4 items of the log are in items.csv" in warning for warning in dataset.warnings)


def test_an_item_in_another_writing_is_told_and_not_added(prepared):
    dataset = prepared("item,title\n000,Zero\n001,One\n002,Two\n3,Three\n4,Four\n")
    assert dataset.item_ids == ["000", "001", "002", "003", "4"]
    (told,) = [warning for warning in dataset.warnings if "not in items.csv" in warning]
    assert told.startswith("1 item of the log is not in items.csv, such as 003 (there: 3)")
    assert "leading zeros" in told
