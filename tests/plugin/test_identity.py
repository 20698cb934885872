"""What names the code of a component: its version, and of others' plugins the sources too."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from glta_cli.data.preparation import prepare, prepared_before
from glta_cli.plugin import EncoderDeclaration, read_json, write_json
from glta_cli.plugin.component import Component, Origin
from glta_cli.plugin.identity import OWN_RESULTS_SINCE_BY_TARGET, component_identity, source_digest
from glta_cli.plugin.registry import installed
from glta_cli.recipe.schema import DatasetSettings, Recipe
from glta_cli.stages.order import STAGES
from glta_cli.stages.refit_names import REFITTED, refit_name
from glta_cli.workspace.workspace import Workspace


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder packages are imported from, with a package that must not be imported."""
    folder = tmp_path / "site"
    (folder / "glta_sourced" / "inner").mkdir(parents=True)
    (folder / "glta_sourced" / "__init__.py").write_text("raise RuntimeError('imported')")
    (folder / "glta_sourced" / "inner" / "code.py").write_text("STEPS = 1")
    monkeypatch.syspath_prepend(str(folder))
    source_digest.cache_clear()
    yield folder
    source_digest.cache_clear()


def digest(module: str = "glta_sourced") -> str:
    source_digest.cache_clear()
    return source_digest(module)


def component(target: str, distribution: str = "glta-sourced") -> Component:
    declaration = EncoderDeclaration(name="sourced", summary="has sources", target=target, config=target)
    return Component(declaration, Origin("sourced", distribution, "1.0"))


def test_the_digest_changes_with_every_python_file_and_with_nothing_else(site: Path) -> None:
    package = site / "glta_sourced"
    first = digest()
    (package / "notes.txt").write_text("not code")
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "code.cpython-311.pyc").write_bytes(b"compiled")
    assert digest() == first

    (package / "inner" / "code.py").write_text("STEPS = 2")
    changed = digest()
    (package / "inner" / "code.py").rename(package / "inner" / "moved.py")
    moved = digest()
    (package / "inner" / "more.py").write_text("")
    assert len({first, changed, moved, digest()}) == 4
    assert "glta_sourced" not in sys.modules


def test_a_loader_that_reads_other_rows_has_an_identity_of_the_release_that_changed_it() -> None:
    since = {
        component.declaration.target: component_identity(component)[-1] for component in installed().of_kind("dataset")
    }
    assert since == {
        "glta_datasets.table:Table": "0.2.0",
        "glta_datasets.movielens:MovieLens": "0.1.0",
        "glta_datasets.amazon:Amazon": "0.1.0",
        "glta_datasets.goodreads:Goodreads": "0.1.0",
        "glta_datasets.adjacency:AdjacencySplit": "0.1.0",
    }


def test_every_release_of_a_change_is_of_a_target_there_is() -> None:
    targets = {component.declaration.target for component in installed().components}
    assert set(OWN_RESULTS_SINCE_BY_TARGET) <= targets


def test_a_module_of_one_file_has_a_digest_of_its_own(site: Path) -> None:
    (site / "glta_single.py").write_text("STEPS = 1")
    (site / "glta_other.py").write_text("")
    first = digest("glta_single")
    (site / "glta_other.py").write_text("STEPS = 5")
    assert digest("glta_single") == first
    (site / "glta_single.py").write_text("STEPS = 2")
    assert digest("glta_single") != first


def test_the_identity_of_glta_s_own_needs_no_sources(site: Path) -> None:
    own = component("glta_sourced.inner.code:Steps", "glta")
    assert component_identity(own) == ["glta_sourced.inner.code:Steps", "glta", "0.1.0"]
    foreign = component("glta_sourced.inner.code:Steps")
    assert component_identity(foreign) == ["glta_sourced.inner.code:Steps", "glta-sourced", "1.0", digest()]
    gone = component("glta_not_there.code:Steps")
    assert component_identity(gone)[:3] == ["glta_not_there.code:Steps", "glta-sourced", "1.0"]


@pytest.fixture
def foreign(site: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Have a component of glta come from another distribution, whose code is a package of `site`."""

    def make(kind: str, name: str) -> None:
        found = installed().find(kind, name)  # type: ignore[arg-type]
        module, _, attribute = found.declaration.target.partition(":")
        (site / "glta_foreign.py").write_text(f"from {module} import {attribute}\n")
        declaration = replace(found.declaration, target=f"glta_foreign:{attribute}")
        changed = replace(found, declaration=declaration, origin=Origin("foreign", "glta-foreign", "1.0"))
        others = [each for each in installed().components if each is not found]
        monkeypatch.setattr(installed(), "components", [*others, changed])

    return make


@pytest.mark.parametrize(
    ("kind", "name", "stages"),
    [
        ("encoder", "lightgcn", {"pretrain-graph"}),
        ("backbone", "tiny", {"encode-items", "align", "describe-users", "finetune"}),
    ],
)
def test_a_stage_depends_on_the_sources_of_its_plugin(
    foreign: Callable[[str, str], None],
    site: Path,
    tiny_recipe: Callable[..., Recipe],
    kind: str,
    name: str,
    stages: set[str],
) -> None:
    foreign(kind, name)
    before = {stage.name: stage.settings(tiny_recipe()) for stage in STAGES}
    with (site / "glta_foreign.py").open("a") as file:
        file.write("STEPS = 2\n")
    source_digest.cache_clear()
    after = {stage.name: stage.settings(tiny_recipe()) for stage in STAGES}
    assert {stage for stage in before if before[stage] != after[stage]} - set(map(refit_name, REFITTED)) == stages


def test_a_dataset_is_prepared_again_where_the_code_of_its_loader_changed(
    foreign: Callable[[str, str], None], site: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "ml"
    folder.mkdir()
    (folder / "u.data").write_text("1\t10\t5\t100\n1\t11\t4\t101\n2\t10\t3\t102\n")
    foreign("dataset", "movielens-100k")
    workspace = Workspace(tmp_path / "workspace")
    settings = DatasetSettings(name="movielens-100k", source=str(folder))
    unsourced = DatasetSettings(name="movielens-100k")
    first, _ = prepare(settings, workspace)
    assert prepare(settings, workspace)[1]
    assert prepare(unsourced, workspace)[1]

    with (site / "glta_foreign.py").open("a") as file:
        file.write("STEPS = 2\n")
    source_digest.cache_clear()
    assert prepared_before(unsourced, workspace) is None
    again, up_to_date = prepare(settings, workspace)
    assert not up_to_date
    assert again.artefact.fingerprint != first.artefact.fingerprint
    assert prepare(unsourced, workspace)[1]


def test_what_glta_s_own_components_made_before_stays_found(tiny_recipe: Callable[..., Recipe]) -> None:
    """The form their identity has in every manifest so far."""
    settings = {stage.name: stage.settings(tiny_recipe()) for stage in STAGES}
    assert settings["pretrain-graph"]["plugin"] == ["glta_encoders.lightgcn:LightGCN", "glta", "0.1.0"]
    assert settings["align"]["backbone"]["plugin"] == ["glta_backbones.tiny:Tiny", "glta", "0.1.0"]


def test_a_table_prepared_by_a_loader_that_read_other_rows_is_prepared_again(tmp_path: Path) -> None:
    source = tmp_path / "log.csv"
    source.write_text("user,item\na,1\nb,1\n")
    settings, workspace = DatasetSettings(name="table", source=str(source)), Workspace(tmp_path / "workspace")
    prepare(settings, workspace)
    assert prepared_before(settings, workspace) is not None
    (pointer,) = workspace.folder("datasets").glob("*.json")
    write_json(pointer, {**read_json(pointer), "loader": ["glta_datasets.table:Table", "0.1.0"]})
    assert prepared_before(settings, workspace) is None
