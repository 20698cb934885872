"""`glta plugins`: everything installed is a row, and so is everything broken."""

from __future__ import annotations

from pathlib import Path

import pytest

SECOND_LIGHTGCN = """
from glta_cli.plugin import EncoderDeclaration, hookimpl

@hookimpl
def glta_graph_encoders():
    yield EncoderDeclaration(name="lightgcn", summary="again", target="a:B", config="a:C")
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder for PYTHONPATH with one broken and one clashing distribution."""
    for distribution, source in [("wrecked", "import a_package_nobody_has\n"), ("rival", SECOND_LIGHTGCN)]:
        (tmp_path / f"{distribution}.py").write_text(source)
        info = tmp_path / f"{distribution}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[glta]\n{distribution} = {distribution}\n")
    return tmp_path


def test_the_json_has_a_row_for_every_component(glta):
    rows = glta("plugins", "--json").json
    assert all(set(row) == {"name", "kind", "distribution", "version", "status", "summary"} for row in rows)
    assert {(row["kind"], row["name"], row["distribution"], row["status"]) for row in rows} >= {
        ("encoder", "lightgcn", "glta", "ok"),
        ("backbone", "smollm2", "glta", "ok"),
        ("dataset", "amazon-sports", "glta", "ok"),
    }
    assert all(row["summary"] for row in rows)


def test_the_table_folds_large_families_and_puts_datasets_last(glta):
    shown = glta("plugins").out
    assert "amazon-... (" in shown
    assert "amazon-sports" not in shown
    assert "movielens-100k" in shown
    assert shown.index("lightgcn") < shown.index("smollm2") < shown.index("movielens-100k")
    assert max(map(len, shown.splitlines())) <= 80


def test_a_kind_is_shown_in_full(glta):
    shown = glta("plugins", "--kind", "dataset").out
    assert "amazon-sports" in shown
    assert "lightgcn" not in shown
    assert {row["kind"] for row in glta("plugins", "--kind", "encoder", "--json").json} == {"encoder"}


def test_an_unknown_kind_is_the_users_error(glta):
    finished = glta("plugins", "--kind", "encoders")
    assert finished.code == 2
    assert finished.err == (
        "--kind: 'encoders' is not one of encoder, backbone, dataset\n  hint: did you mean 'encoder'?\n"
    )


def test_broken_and_clashing_plugins_are_rows_with_the_reason(glta, site):
    rows = glta("plugins", "--json", PYTHONPATH=str(site)).json
    [broken] = [row for row in rows if row["distribution"] == "wrecked"]
    assert broken["kind"] == "plugin"
    assert broken["status"] == "broken: ModuleNotFoundError: No module named 'a_package_nobody_has'"
    clash = {row["distribution"]: row["status"] for row in rows if row["name"] == "lightgcn"}
    assert clash == {
        "glta": "broken: rival declares the same name",
        "rival": "broken: glta declares the same name",
    }
    assert "a_package_nobody_has" in glta("plugins", PYTHONPATH=str(site), COLUMNS="200").out


def test_a_broken_plugin_is_a_warning_elsewhere(glta, site):
    finished = glta("recipes", "validate", "movielens-1m", PYTHONPATH=str(site))
    assert finished.err.splitlines()[0] == (
        "warning: plugin wrecked 1.2 is disabled: ModuleNotFoundError: No module named 'a_package_nobody_has'"
    )
    assert "graph.encoder: encoder 'lightgcn' is declared by" in finished.err
    assert finished.code == 2
