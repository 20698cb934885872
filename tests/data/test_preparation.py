"""The stage `prepare` through its public way in: settings and a source to a published dataset and back."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from glta_datasets.table import Table

from glta_cli.core.errors import BusyError, GltaError, InputError
from glta_cli.data import dataset_files
from glta_cli.data.preparation import prepare, prepared_before, source_files
from glta_cli.recipe.schema import DatasetSettings
from glta_cli.workspace.workspace import Workspace

RATINGS = """user,item,rating,timestamp
ann,tea,5,1600000000
ann,jam,4,1600000001
ann,egg,2,1600000002
ann,tea,1,1600000003
bob,jam,5,1600000004
bob,tea,3,1600000005
bob,,3,1600000006
cy,jam,nan,1600000007
cy,egg,5,1600000008
cy,tea,4,1600000009
"""
ITEMS = """item,title,description
tea,Tea &amp; milk,<p>Hot</p>
jam,Jam,
unsold,Never bought,Nobody
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "interactions.csv").write_text(RATINGS)
    (folder / "items.csv").write_text(ITEMS)
    return folder


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace")


def settings(source: Path | None, **changes: object) -> DatasetSettings:
    source_text = None if source is None else str(source)
    return DatasetSettings.model_validate({"name": "table", "source": source_text, **changes})


def test_ids_texts_and_counts_come_out_as_they_went_in(shop, workspace):
    dataset, up_to_date = prepare(settings(shop), workspace)
    assert not up_to_date
    assert dataset.user_ids == ["ann", "bob", "cy"]
    assert dataset.item_ids == ["tea", "jam", "egg", "unsold"]
    assert dataset.titles == ["Tea & milk", "Jam", "egg", "Never bought"]
    assert dataset.texts == ["Tea & milk. Hot", "Jam", "egg", "Never bought. Nobody"]
    assert dataset.has_text
    assert dataset.warnings[1:] == ["1 of 4 items has neither title nor description"]
    assert dataset.summary() == {
        "dataset": "table",
        "users": 3,
        "items": 4,
        "interactions": 8,
        "density": 8 / 12,
        "dropped": {"missing item": 1, "duplicate": 1},
        "split": {"train": 4, "valid": 2, "test": 2},
    }


def test_the_splits_make_up_the_history_in_order_of_time(shop, workspace):
    dataset, _ = prepare(settings(shop), workspace)
    history = dataset.history()
    assert [dataset.item_ids[item] for item in history.of(dataset.user_ids.index("ann"))] == ["tea", "jam", "egg"]
    parts = [dataset.split(name) for name in ("train", "valid", "test")]
    assert {part.user_count for part in parts} == {3}
    assert {part.item_count for part in parts} == {4}
    for user in range(3):
        together = np.concatenate([part.of(user) for part in parts])
        assert sorted(together) == sorted(history.of(user))


def test_a_second_time_nothing_is_done(shop, workspace):
    first, _ = prepare(settings(shop), workspace)
    before = {path: path.stat().st_mtime_ns for path in first.artefact.path.iterdir()}
    second, up_to_date = prepare(settings(shop), workspace)
    assert up_to_date
    assert second.artefact.path == first.artefact.path
    assert {path: path.stat().st_mtime_ns for path in second.artefact.path.iterdir()} == before


def test_a_changed_file_or_setting_makes_another_dataset(shop, workspace):
    first, _ = prepare(settings(shop), workspace)
    other_setting, up_to_date = prepare(settings(shop, min_rating=3), workspace)
    assert not up_to_date
    assert other_setting.summary()["dropped"]["rating below min_rating"] == 2
    (shop / "interactions.csv").write_text(RATINGS + "bob,egg,5,110\n")
    changed, up_to_date = prepare(settings(shop), workspace)
    assert not up_to_date
    assert changed.summary()["interactions"] == first.summary()["interactions"] + 1
    assert first.summary()["interactions"] == 8


def test_a_dataset_prepared_from_a_local_copy_is_found_without_it(tmp_path, workspace):
    folder = tmp_path / "ml"
    folder.mkdir()
    (folder / "u.data").write_text("1\t10\t5\t100\n1\t11\t4\t101\n2\t10\t3\t102\n")
    named = {"name": "movielens-100k"}
    assert prepared_before(DatasetSettings.model_validate(named), workspace) is None
    first, _ = prepare(DatasetSettings.model_validate({**named, "source": str(folder)}), workspace)
    (folder / "u.data").unlink()
    again, up_to_date = prepare(DatasetSettings.model_validate(named), workspace)
    assert up_to_date
    assert again.artefact.path == first.artefact.path
    found = prepared_before(DatasetSettings.model_validate(named), workspace)
    assert found is not None
    assert found.artefact.path == first.artefact.path


def test_a_second_table_does_not_stand_in_for_the_first(shop, tmp_path, workspace):
    first, _ = prepare(settings(shop), workspace)
    other = tmp_path / "other.csv"
    other.write_text("user,item\nx,y\nx,z\n")
    second, _ = prepare(settings(other), workspace)
    assert second.user_ids == ["x"]
    again, up_to_date = prepare(settings(shop), workspace)
    assert up_to_date
    assert again.artefact.path == first.artefact.path
    with pytest.raises(InputError, match="no place to be fetched from"):
        prepare(settings(None), workspace)


def test_a_changed_published_file_is_noticed(shop, workspace):
    dataset, _ = prepare(settings(shop), workspace)
    path = dataset.artefact.path / "users.parquet"
    pl.DataFrame({"user": ["eve", "bob", "cy"]}).write_parquet(path)
    with pytest.raises(GltaError, match="changed after it was published"):
        _ = dataset.user_ids


def test_nothing_is_published_when_nothing_is_left(shop, workspace):
    with pytest.raises(InputError, match="no interaction is left") as caught:
        prepare(settings(shop, kcore=5), workspace)
    assert "k-core: 8" in str(caught.value)
    assert "lower --kcore" in str(caught.value)
    assert not list((workspace.root / "stages" / "prepare").iterdir())


def test_a_missing_source_is_named(tmp_path, workspace):
    with pytest.raises(InputError, match=r"nowhere\.csv: no such file or folder"):
        prepare(settings(tmp_path / "nowhere.csv"), workspace)


def test_two_preparations_of_one_dataset_do_not_mix_and_one_that_is_up_to_date_needs_no_lock(shop, workspace):
    dataset, _ = prepare(settings(shop), workspace)
    with workspace.locked(f"prepare-{dataset.artefact.fingerprint}"):
        assert prepare(settings(shop), workspace)[1]
        workspace.remove(dataset.artefact)
        with pytest.raises(BusyError, match="another process"):
            prepare(settings(shop), workspace)


def test_the_manifest_names_files_by_hash_and_no_folder(shop, workspace):
    dataset, _ = prepare(settings(shop), workspace)
    inputs = dataset.artefact.manifest["inputs"]
    assert {role: content["file"] for role, content in inputs.items()} == {
        "interactions": "interactions.csv",
        "items": "items.csv",
    }
    assert all(len(content["sha256"]) == 64 for content in inputs.values())
    assert set(dataset.artefact.manifest["outputs"]) == {
        "interactions.parquet",
        "users.parquet",
        "items.parquet",
        "item_columns.parquet",
    }


def test_a_source_without_a_name_is_refused_as_such(workspace):
    with pytest.raises(InputError, match="the source has no name"):
        prepare(settings(Path()).model_copy(update={"source": " "}), workspace)


@pytest.fixture
def while_read(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], None]:
    """Have something happen as soon as files of a table are read."""

    def do(then: Callable[[], Any]) -> None:
        read = Table.read
        monkeypatch.setattr(Table, "read", lambda table, files: (read(table, files), then())[0])

    return do


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda log: log.write_text(RATINGS + "dan,tea,5,1600000009\n"), "grew while it was read"),
        (lambda log: log.write_text(RATINGS.replace("ann", "eve")[1:]), "was changed while it was read"),
        (Path.unlink, "was changed while it was read"),
    ],
)
def test_a_file_that_changes_while_it_is_read_is_refused_before_anything_is_done(
    shop, workspace, monkeypatch, while_read, change, told
):
    log = shop / "interactions.csv"
    while_read(lambda: change(log))
    monkeypatch.setattr("glta_cli.data.dataset_files.clean", lambda *all_, **named: pytest.fail("went on"))
    with pytest.raises(GltaError) as refused:
        prepare(settings(shop), workspace)
    assert str(refused.value) == (
        f"{log}: {told}\n  hint: run it again once it is whole; a log that grows all the time, copy first, and name "
        "the copy"
    )
    assert not list(workspace.folder("stages").glob("prepare/[!.]*"))


def test_a_file_written_anew_with_the_same_bytes_is_the_same(shop, workspace, while_read):
    log = shop / "interactions.csv"
    while_read(lambda: (os.utime(log, ns=(1, 1)), log.write_text(RATINGS)))
    assert prepare(settings(shop), workspace)[0].user_count == 3


@pytest.mark.parametrize("reads", ["at once", "later"])
def test_a_log_may_grow_once_it_is_read_and_not_while_a_loader_still_reads_it(
    shop, workspace, monkeypatch, while_read, reads
):
    log = shop / "interactions.csv"

    def written_later(table, files):
        raw = read(table, files)
        raw.interactions = pl.scan_csv(log).select("user", "item")
        return raw

    read = Table.read
    if reads == "later":
        monkeypatch.setattr(Table, "read", written_later)
    split = dataset_files.split
    grown = RATINGS + "dan,tea,5,1600000009\n"
    with monkeypatch.context() as patch:
        patch.setattr(dataset_files, "split", lambda *all_: (split(*all_), log.write_text(grown))[0])
        if reads == "later":
            with pytest.raises(GltaError, match="grew while it was read"):
                prepare(settings(shop), workspace)
            return
        dataset, _ = prepare(settings(shop), workspace)
    assert dataset.user_count == 3
    assert source_files(dataset, settings(shop), workspace)[str(log)][0] == len(RATINGS)
    # It was prepared from what it was before; now it is another log.
    assert prepare(settings(shop), workspace)[0].user_count == 4
