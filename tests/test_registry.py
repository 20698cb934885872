"""The registry: each plugin on its own, so that a broken one is named and harms no other."""

from __future__ import annotations

import sys
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest

from glta_cli.errors import GltaError, InputError
from glta_cli.registry import Registry

GOOD = """
from glta_cli.plugin import EncoderDeclaration, hookimpl

@hookimpl
def glta_graph_encoders():
    yield EncoderDeclaration(
        name="{name}", summary="for a test", target="{module}_code:Encoder", config="{module}_code:Settings",
        extra="{name}[gpu]",
    )
"""
MISSPELT_HOOK = """
from glta_cli.plugin import hookimpl

@hookimpl
def glta_graph_encoder():
    yield None
"""
WRONG_YIELD = """
from glta_cli.plugin import DatasetDeclaration, hookimpl

@hookimpl
def glta_graph_encoders():
    yield DatasetDeclaration(name="x", summary="", target="a:B", config="a:C")
"""
NO_DECLARATION = """
from glta_cli.plugin import hookimpl

@hookimpl
def glta_backbones():
    yield "a name alone"
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A folder on sys.path into which a test installs distributions, as pip would."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def install(distribution: str, source: str, *, module: str | None = None):
        module = module or distribution.replace("-", "_")
        (tmp_path / f"{module}.py").write_text(source.format(name="mine", module=module))
        info = tmp_path / f"{distribution.replace('-', '_')}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[glta]\nentry-of-{distribution} = {module}\n")
        [entry] = PathDistribution(info).entry_points
        return entry

    yield install
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_component_knows_its_distribution(site):
    component = Registry([site("stranger", GOOD)]).find("encoder", "mine")
    assert (component.origin.distribution, component.origin.version) == ("stranger", "1.2")
    assert component.origin.entry_point == "entry-of-stranger"


def test_nothing_of_a_component_is_imported_before_it_is_selected(site, tmp_path):
    (tmp_path / "stranger_code.py").write_text("class Encoder: ...\nclass Settings: ...\n")
    component = Registry([site("stranger", GOOD)]).find("encoder", "mine")
    assert "stranger_code" not in sys.modules
    assert component.target().__name__ == "Encoder"
    assert component.config().__name__ == "Settings"


def test_selecting_what_cannot_be_imported_names_the_cause_and_the_extra(site):
    component = Registry([site("stranger", GOOD)]).find("encoder", "mine")
    with pytest.raises(GltaError) as caught:
        component.target()
    assert str(caught.value) == (
        "encoder 'mine' of stranger cannot be imported: No module named 'stranger_code'\n  hint: pip install mine[gpu]"
    )


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import a_package_nobody_has\n", "ModuleNotFoundError: No module named 'a_package_nobody_has'"),
        ("raise SystemExit(3)\n", "SystemExit: 3"),
        ("this is no python\n", "SyntaxError"),
        (MISSPELT_HOOK, "glta_graph_encoder"),
        (WRONG_YIELD, "TypeError: glta_graph_encoders yielded DatasetDeclaration"),
        (NO_DECLARATION, "TypeError: glta_backbones yielded 'a name alone', which declares no backbone"),
    ],
)
def test_a_broken_plugin_is_named_and_harms_no_other(site, capsys, source, reason):
    registry = Registry([site("wrecked", source.replace("{", "{{").replace("}", "}}")), site("stranger", GOOD)])
    assert [component.name for component in registry.of_kind("encoder")] == ["mine"]
    assert reason in registry.broken[0].reason
    registry.warn_of_broken()
    assert capsys.readouterr().err.startswith("warning: plugin wrecked 1.2 is disabled: ")


def test_strict_mode_raises(site, monkeypatch):
    monkeypatch.setenv("GLTA_STRICT_PLUGINS", "1")
    with pytest.raises(ModuleNotFoundError):
        Registry([site("wrecked", "import a_package_nobody_has\n")])


def test_an_interrupt_is_no_broken_plugin(site):
    with pytest.raises(KeyboardInterrupt):
        Registry([site("slow", "raise KeyboardInterrupt\n")])


def test_a_clash_names_both_distributions(site):
    registry = Registry([site("first", GOOD), site("second", GOOD)])
    with pytest.raises(InputError, match=r"encoder 'mine' is declared by first 1\.2 and second 1\.2"):
        registry.find("encoder", "mine")


def test_an_unknown_name_suggests_the_nearest_and_mentions_what_is_broken(site):
    registry = Registry([site("stranger", GOOD), site("wrecked", "import a_package_nobody_has\n")])
    with pytest.raises(InputError) as caught:
        registry.find("encoder", "mien")
    assert str(caught.value) == (
        "no encoder is called 'mien'\n  hint: did you mean 'mine'?; wrecked could not be loaded (`glta plugins`)"
    )


def test_one_name_may_serve_two_kinds(site):
    source = GOOD + GOOD.replace("Encoder", "Backbone").replace("graph_encoders", "backbones")
    registry = Registry([site("both", source)])
    assert registry.find("encoder", "mine").kind == "encoder"
    assert registry.find("backbone", "mine").kind == "backbone"


def test_first_party_components_are_declared_through_entry_points():
    registry = Registry()
    assert registry.broken == []
    for kind, name in [("encoder", "lightgcn"), ("backbone", "smollm2"), ("dataset", "movielens-100k")]:
        assert registry.find(kind, name).origin.distribution == "glta"
