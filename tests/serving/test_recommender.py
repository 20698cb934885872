"""Recommendations: the contract others rely on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from safetensors.numpy import load_file

from glta_cli.answers.published import published_index
from glta_cli.commands.shown_answer import ranking_lines, show_answer
from glta_cli.core.errors import GltaError, InputError
from glta_cli.core.terminal import cells
from glta_cli.ranking.top_k import rank_users
from glta_cli.serving.index import Index, LanguageScores, mapped_tensors
from glta_cli.serving.nearest_ids import nearest_ids
from glta_cli.serving.recommender import recommend, unknown_user
from glta_cli.workspace.artefact import Artefact

HEAVY = {"torch", "transformers", "accelerate", "peft", "torch_geometric", "polars", "pydantic", "rich", "scipy"}


@pytest.fixture(scope="module")
def artefact(run_toy: Any) -> Artefact:
    return run_toy().ensure("index")


def interactions_of(toy_table: Path, user: str) -> list[str]:
    """The user's items in the file itself, in order of time."""
    lines = (toy_table / "interactions.csv").read_text().splitlines()[1:]
    return [item for name, item, _ in (line.split(",") for line in lines) if name == user]


def test_the_answer_has_the_shape_others_rely_on(artefact: Artefact) -> None:
    answer = recommend(artefact, "u7", 5)
    assert set(answer) == {"user", "row", "terms", "answered_by", "history", "recommendations"}
    assert answer["user"] == "u7"
    assert [entry["rank"] for entry in answer["recommendations"]] == [1, 2, 3, 4, 5]
    for entry in answer["recommendations"]:
        assert list(entry) == ["rank", "item", "title", "score"]
        number = int(entry["item"].removeprefix("i"))
        assert entry["title"] == f"{'Space film' if number < 20 else 'Garden book'} {number}"
    scores = [entry["score"] for entry in answer["recommendations"]]
    assert scores == sorted(scores, reverse=True)
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("user", ["u0", "u29", "u40", "u59"])
def test_nothing_the_user_ever_met_is_recommended_again(artefact: Artefact, toy_table: Path, user: str) -> None:
    met = interactions_of(toy_table, user)
    items = [entry["item"] for entry in recommend(artefact, user, 1000)["recommendations"]]
    assert not set(items) & set(met)
    assert len(set(items)) == len(items) == 40 - len(met)


def test_the_history_shows_the_latest_items_first(artefact: Artefact, toy_table: Path) -> None:
    for user in ("u3", "u59"):
        shown = [entry["item"] for entry in recommend(artefact, user, 1)["history"]]
        assert shown == interactions_of(toy_table, user)[::-1][:10]


def test_the_list_is_that_of_the_evaluated_model(artefact: Artefact) -> None:
    index = Index(artefact)
    ranked = rank_users(index.scorer(index.history), np.array([12]), 7, index.history)[0]
    items = [entry["item"] for entry in recommend(artefact, "u12", 7)["recommendations"]]
    assert items == [index.item_ids[item] for item in ranked]


def test_recommendations_follow_the_users_taste(artefact: Artefact) -> None:
    for user, taste in (("u2", "Space film"), ("u45", "Garden book")):
        titles = [entry["title"] for entry in recommend(artefact, user, 5)["recommendations"]]
        assert sum(title.startswith(taste) for title in titles) >= 4


def test_an_unknown_user_is_told_how_many_there_are_and_how_to_find_one(artefact: Artefact) -> None:
    with pytest.raises(InputError) as caught:
        recommend(artefact, "u600", 5)
    message = str(caught.value)
    assert "no user is called 'u600'; there are 60 users" in message
    assert "the nearest ids are u6, u0; all of them are in " in message
    assert "users.parquet" in message
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("wanted", "ids", "near"),
    [
        ("42", ["1", "9", "40", "41", "100", "1000"], ["41", "40", "9"]),
        ("bo", ["cy", "ann", "bob", "dan"], ["bob"]),
        ("zoe", ["cy", "ann", "bob", "dan"], []),
        ("42", ["41", "ann"], []),
        ("C-1092", ["C-1029", "C-1", "D-77", "C-1092x"], ["C-1092x", "C-1029"]),
        ("c-0042 ", ["C-0043", "D-42", "C-0042"], ["C-0042", "C-0043"]),
        ("6fa459ea-ee8a-3ca4-894e-db77e160355e", ["16fd2706-8baf-433b-82eb-8c7fada847da", "x"], []),
    ],
)
def test_near_ids_are_near_by_number_or_else_by_spelling(wanted: str, ids: list[str], near: list[str]) -> None:
    assert nearest_ids(wanted, ids) == near


@pytest.mark.parametrize("k", [0, -3])
def test_fewer_than_one_item_is_no_request(artefact: Artefact, k: int) -> None:
    with pytest.raises(InputError, match="at least one"):
        recommend(artefact, "u1", k)


def test_a_user_who_has_met_everything_gets_an_empty_list(artefact: Artefact, monkeypatch: pytest.MonkeyPatch) -> None:
    from glta_cli.plugin.interactions import Interactions

    everything = Interactions.from_pairs(
        np.repeat(np.arange(60), 40), np.tile(np.arange(40), 60), user_count=60, item_count=40
    )
    monkeypatch.setattr(Index, "history", everything)
    assert recommend(artefact, "u1", 5)["recommendations"] == []


def test_a_damaged_index_is_an_error_and_no_recommendation(artefact: Artefact, tmp_path: Path) -> None:
    copy = tmp_path / artefact.fingerprint
    copy.mkdir()
    for file in artefact.path.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    vectors = bytearray((copy / "vectors.safetensors").read_bytes())
    vectors[-1] ^= 1
    (copy / "vectors.safetensors").write_bytes(vectors)
    with pytest.raises(GltaError, match="changed after it was published"):
        recommend(Artefact(copy), "u1", 5)


def test_reading_an_index_maps_it_and_copies_no_vectors(artefact: Artefact) -> None:
    stored = load_file(artefact.path / "vectors.safetensors")
    mapped = mapped_tensors(artefact.path / "vectors.safetensors")
    assert mapped.keys() == stored.keys()
    for name, tensor in mapped.items():
        assert_array_equal(tensor, stored[name])
        assert tensor.dtype == stored[name].dtype
        assert not tensor.flags.owndata
        assert not tensor.flags.writeable
    language = LanguageScores(mapped["rows"], mapped["items"].T, mapped["bias"])
    assert np.shares_memory(language.columns, mapped["items"])


def test_an_index_of_an_older_layout_is_built_again(
    tiny_recipe_file: Path, run_toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serving = run_toy(stage="serving-index")
    workspace = serving.workspace
    monkeypatch.setattr("glta_cli.serving.index.SERVING_LAYOUT", 1)
    assert published_index("toy", workspace.root) is None
    monkeypatch.undo()
    asked, found = published_index("toy", workspace.root)
    assert (asked.name, asked.dataset) == ("toy", "table")
    assert found.fingerprint == serving.ensure("serving-index").fingerprint


ENTRIES = [
    {"rank": 1, "item": "i7", "title": "Short", "score": 1.5},
    {"rank": 10, "item": "item11", "title": "A much longer title", "score": -0.25},
    {"rank": 11, "item": "i9", "title": "映画", "score": 12.0},
]


def test_the_list_stands_in_columns() -> None:
    assert ranking_lines(ENTRIES, None) == [
        " rank   item     title                  score",
        " ────────────────────────────────────────────",
        "    1   i7       Short                  1.500",
        "   10   item11   A much longer title   -0.250",
        "   11   i9       映画                  12.000",
    ]


def test_a_long_id_gives_way_to_the_titles() -> None:
    entries = [{**entry, "item": f"{entry['item']}-0123456789-0123456789-0123456789"} for entry in ENTRIES]
    lines = ranking_lines(entries, 60)
    assert lines[3] == "   10   item11-0123456789-0…   A much longer title   -0.250"
    # Where titles leave it, the ids have the room.
    assert all(entry["item"] in line for entry, line in zip(entries, ranking_lines(entries, 82)[2:], strict=True))


def test_titles_are_cut_to_the_width_of_the_terminal() -> None:
    lines = ranking_lines(ENTRIES, 40)
    assert lines[3] == "   10   item11   A much longe…   -0.250"
    assert max(map(cells, lines)) <= 40


@pytest.mark.parametrize("width", [30, 40, 43, 50])
def test_a_score_is_whole_however_long_the_ids_are(width: int) -> None:
    entries = [{**entry, "item": f"{entry['item']}-0123456789-0123456789-0123456789"} for entry in ENTRIES]
    lines = ranking_lines(entries, width)
    assert max(map(cells, lines)) <= width
    assert [line.split()[-1] for line in lines[2:]] == ["1.500", "-0.250", "12.000"]


def test_an_unknown_user_shows_the_ids_beside_it_and_obeys_none() -> None:
    error = unknown_user(
        "a\nb\x1b[31m", ["a\nb\x1b[32m", "a\nb\x1b[32\u202e", "a\n  hint: do this"], Path("users.parquet")
    )
    assert all(line.isprintable() for line in str(error).split("\n"))
    assert len(str(error).split("\n")) == 2
    assert r"a\nb\x1b[32\u202e" in str(error)
    assert r"'a\nb\x1b[31m'" in str(error)


def test_strangers_are_not_named(tmp_path: Path) -> None:
    assert "hint: all of them are in " in str(unknown_user("zoe", ["cy", "ann"], tmp_path))


def test_a_near_id_among_very_many_is_found() -> None:
    ids = [f"{number * 7919 % 999_983:06d}-{number}" for number in range(60_000)]
    wanted = ids[41_234].replace("-", "_")
    assert ids[41_234] in nearest_ids(wanted, ids)


def test_an_id_of_any_length_does_no_harm() -> None:
    assert nearest_ids("9" * 5_000, ["1", "2", "3", "4"]) == []
    assert nearest_ids("9" * 5_000, ["1", "9" * 4_999]) == ["9" * 4_999]


@pytest.mark.parametrize("width", [None, 40])
def test_titles_neither_break_a_line_nor_command_the_terminal(
    width: int | None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("glta_cli.commands.shown_answer.results_width", lambda: width)
    title = "\x1b[2JTwo\nlines, and then so many words that it ends nowhere"
    entry = {"item": "i\t7", "title": title}
    answer = {
        "user": "u\n7",
        "run": "toy",
        "dataset": "d\x1b",
        "interactions": 1_234,
        "newest": "2020-09-13",
        "trained": 1_000,
    }
    answer |= {"history": [entry], "recommendations": [{"rank": 1, **entry, "score": 1.0}]}
    show_answer(answer)
    lines = capsys.readouterr().out.splitlines()
    # A head and an item of the history, a blank, two lines of what answers, a blank, then the table's head, its rule
    # and its one row.
    assert len(lines) == 9
    assert all(line.isprintable() for line in lines)
    assert lines[0] == "user u 7, most recent first"
    assert lines[1].startswith("   [2JTwo lines,")
    if width is None:
        assert lines[1].endswith("nowhere")
    else:
        assert max(map(cells, [lines[1], *lines[6:]])) == width


def test_answering_from_an_index_imports_nothing_heavy_but_numpy(run_toy: Any, toy_root: Path) -> None:
    run_toy(stage="serving-index")
    code = (
        "import sys; from glta_cli.main import main\n"
        "try: main()\n"
        "except SystemExit as stop: assert not stop.code, stop.code\n"
        f"print('loaded:', sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr)\n"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code, "recommend", "--user", "u7", "--run", "toy"],
        capture_output=True,
        text=True,
        env={**os.environ, "GLTA_DATA_DIR": str(toy_root)},
        cwd=toy_root,
    )
    assert finished.returncode == 0, finished.stderr
    assert "loaded: []" in finished.stderr
    assert "recommended to user u7 by run toy (dataset table)" in finished.stdout
