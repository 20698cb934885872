"""The registry: each plugin on its own, so that a broken one is named and harms no other."""

from __future__ import annotations

import json
import sys
from importlib.metadata import EntryPoint, PathDistribution
from pathlib import Path

import pytest
from glta_encoders.lightgcn import LightGCN

from glta_cli.core.errors import GltaError, InputError, Terminated
from glta_cli.main import report
from glta_cli.plugin import KINDS
from glta_cli.plugin.discovery import strict
from glta_cli.plugin.registry import Registry, culprit, installed

GOOD = """
from glta_cli.plugin import EncoderDeclaration, hookimpl

@hookimpl
def glta_graph_encoders():
    yield EncoderDeclaration(
        name="{name}", summary="for a test", target="{module}_code:Encoder", config="{module}_code:Own",
        extra="{name}[gpu]",
    )
"""
CODE = """
from glta_cli.plugin import GltaError, Settings

class Own(Settings):
    dimension: int = 8

class Encoder:
    def __init__(self, graph, settings):
        if graph is None:
            raise ValueError("no graph")
        if graph == "refused":
            raise GltaError("graphs like this are not supported")
        self.graph = graph

class Loose:
    pass
"""
HOOK = """
import glta_cli.plugin
from glta_cli.plugin import BackboneDeclaration, DatasetDeclaration, EncoderDeclaration, hookimpl

@hookimpl
def {name}({argument}):
    {body}
"""


def hook(body: str, *, name: str = "glta_graph_encoders", argument: str = "") -> str:
    return HOOK.format(name=name, argument=argument, body=body)


def declared(target: str = "a:B", *, kind: str = "Encoder", name: str = '"x"', more: str = "") -> str:
    return f'{kind}Declaration(name={name}, summary="one line", target="{target}", config="a:C"{more})'


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A folder on sys.path into which a test installs distributions, as pip would."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def install(distribution: str, source: str, *, package: str | None = None):
        """A module of the distribution's name; with `package` a folder, that text its module `code`."""
        module = distribution.replace("-", "_")
        text = source.format(name="mine", module=module)
        if package is None:
            (tmp_path / f"{module}.py").write_text(text)
        else:
            (tmp_path / module).mkdir()
            (tmp_path / module / "__init__.py").write_text(text)
            (tmp_path / module / "code.py").write_text(package)
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


# ------------------------------------------------------------------------------------------- selecting a component


@pytest.fixture
def component(site, tmp_path):
    (tmp_path / "stranger_code.py").write_text(CODE)
    return Registry([site("stranger", GOOD)]).find("encoder", "mine")


def test_nothing_of_a_component_is_imported_before_it_is_selected(component):
    assert "stranger_code" not in sys.modules
    assert component.target().__name__ == "Encoder"
    assert component.config().__name__ == "Own"


def test_selecting_what_cannot_be_imported_names_the_cause_and_the_extra(site):
    component = Registry([site("stranger", GOOD)]).find("encoder", "mine")
    with pytest.raises(GltaError) as caught:
        component.target()
    assert str(caught.value) == (
        "encoder 'mine' of stranger 1.2 cannot be imported: ModuleNotFoundError: No module named 'stranger_code'\n"
        "  hint: pip install 'mine[gpu]'"
    )
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("this is no python", "SyntaxError: invalid syntax"),
        ("", "AttributeError: module 'stranger_code' has no attribute 'Encoder'"),
    ],
)
def test_whatever_the_targets_module_raises_is_the_cause(site, tmp_path, code, reason):
    (tmp_path / "stranger_code.py").write_text(code)
    with pytest.raises(GltaError, match=reason):
        Registry([site("stranger", GOOD)]).find("encoder", "mine").target()


LOOSE = [
    "import pydantic\nclass Own(pydantic.BaseModel): ...",
    "from glta_cli.plugin import Settings\nclass Own(Settings, extra='allow'): ...",
    "Own = 3",
]


@pytest.mark.parametrize("code", LOOSE)
def test_settings_have_to_refuse_unknown_keys(site, tmp_path, code):
    (tmp_path / "stranger_code.py").write_text(code)
    with pytest.raises(GltaError, match=r"no subclass of glta_cli\.plugin\.Settings, or take unknown keys: stranger_c"):
        Registry([site("stranger", GOOD)]).find("encoder", "mine").config()


@pytest.mark.parametrize("given", [0, "stop"])
def test_a_constructor_cannot_end_the_process(site, tmp_path, given):
    (tmp_path / "stranger_code.py").write_text(f"class Encoder:\n    def __init__(self): raise SystemExit({given!r})")
    with pytest.raises(GltaError, match=rf"encoder 'mine' of stranger 1\.2 cannot be made: SystemExit: {given}"):
        Registry([site("stranger", GOOD)]).find("encoder", "mine").build()


def test_building_a_component_blames_the_plugin_for_what_it_raises(component):
    assert component.build("graph", component.config()()).graph == "graph"
    with pytest.raises(GltaError, match=r"encoder 'mine' of stranger 1\.2 cannot be made: ValueError: no graph"):
        component.build(None, component.config()())
    with pytest.raises(GltaError, match=r"^graphs like this are not supported$"):
        component.build("refused", component.config()())


# -------------------------------------------------------------------------------------------------- broken plugins

AS_A_CLASS = """
from glta_cli.plugin import hookimpl

class Plugin:
    @hookimpl
    def glta_graph_encoders(self):
        return []
"""

BROKEN = {
    "import a_package_nobody_has": "ModuleNotFoundError: No module named 'a_package_nobody_has'",
    "raise SystemExit(3)": "SystemExit: 3",
    "raise SystemExit": "SystemExit",
    "this is no python": "SyntaxError: invalid syntax",
    "def f(): return f()\nf()": "RecursionError: maximum recursion depth exceeded",
    "GLTA_API_VERSION = True": "was written for version True of the plugin API; this glta speaks 1",
    "class Odd:\n    __ne__ = __repr__ = None\nGLTA_API_VERSION = Odd()": "was written for version <Odd instance at",
    "class Odd(Exception):\n    def __str__(self): 1 / 0\nraise Odd": "an exception that cannot be shown",
    "raise ValueError('a\\udcff\\x1b[2Jb')": "ValueError: a\\udcff [2Jb",
    hook("yield", name="_glta_encoders"): "there is no hook called '_glta_encoders'",
    "class Text(str):\n    __eq__ = None\n"
    + hook(f"yield {declared(name='Text(3)')}"): "whose name is '3', not a name",
    "GLTA_API_VERSION = 2": "was written for version 2 of the plugin API; this glta speaks 1",
    hook("yield", name="glta_graph_encoder"): (
        "there is no hook called 'glta_graph_encoder'; did you mean 'glta_graph_encoders'?"
    ),
    hook("yield", argument="config"): (
        "hook 'glta_graph_encoders': Argument(s) {'config'} are declared in the hookimpl but can not be found"
    ),
    hook("1 / 0"): "ZeroDivisionError: division by zero",
    hook("return 3"): "TypeError: 'int' object is not iterable",
    hook("return []"): "declares nothing: is @hookimpl missing, or does its hook yield nothing?",
    "def glta_graph_encoders(): yield": "declares nothing: is @hookimpl missing, or does its hook yield nothing?",
    hook("yield 'a name'", name="glta_backbones"): "glta_backbones yields 'a name', which declares no backbone",
    hook(f"yield {declared(kind='Backbone')[:-1]}, generates='no')", name="glta_backbones"): (
        "glta_backbones yields a declaration whose generates is 'no', not true or false"
    ),
    hook(f"yield {declared(kind='Dataset')}"): ("glta_graph_encoders yields dataset 'x', which declares no encoder"),
    hook("yield EncoderDeclaration(name='x')"): "TypeError: ",
    hook(f"yield {declared(target='a.B')}"): "a declaration whose target is 'a.B', not package.module:Name",
    hook(f"yield {declared(name='None')}"): "a declaration whose name is None, not a name",
    hook(f"yield {declared(name='chr(10)')}"): "a declaration whose name is '\\n', not a name",
    hook(f"yield {declared(more=', grid=3')}"): "a declaration whose grid is 3, not lists of values by setting",
    hook(f"yield {declared(more=', grid=dict(layers=2)')}"): "a declaration whose grid is {'layers': 2}, not lists",
    hook(f"yield {declared(more=', grid=dict(start=str())')}"): "a declaration whose grid is {'start': ''}, not lists",
    hook(f"yield {declared(more=', grid=dict(layers=[])')}"): "a declaration whose grid is {'layers': []}, not lists",
    hook(f"yield from [{declared()}] * 2"): "encoder 'x' is declared twice",
    hook(f"yield {declared(kind='Backbone', more=', reads_text=None')}", name="glta_backbones"): (
        "a declaration whose reads_text is None, not true or false"
    ),
}


@pytest.mark.parametrize("reads_text", [True, False])
def test_what_a_backbone_declares_of_itself_is_kept(site, reads_text):
    body = f"yield {declared(kind='Backbone', more=f', reads_text={reads_text}')}"
    registry = Registry([site("stranger", hook(body, name="glta_backbones"))])
    [component] = registry.of_kind("backbone")
    assert component.declaration.reads_text is reads_text


@pytest.mark.parametrize(("source", "reason"), BROKEN.items(), ids=list(BROKEN.values()))
def test_a_broken_plugin_is_named_and_harms_no_other(site, capsys, source, reason):
    registry = Registry([site("wrecked", source.replace("{", "{{").replace("}", "}}")), site("stranger", GOOD)])
    assert [component.name for component in registry.of_kind("encoder")] == ["mine"]
    assert reason in registry.broken[0].reason
    registry.warn_of_broken()
    [warning] = capsys.readouterr().err.splitlines()
    assert warning.startswith("warning: plugin wrecked 1.2 is disabled: ")


def test_a_hook_that_may_be_missing_is_no_error(site):
    source = GOOD + "\n@hookimpl(optionalhook=True)\ndef glta_hook_of_the_future():\n    yield\n"
    assert Registry([site("stranger", source)]).find("encoder", "mine")


def test_an_entry_point_may_name_what_its_module_lacks(site, tmp_path):
    entry = site("stranger", GOOD)
    lacking = EntryPoint(entry.name, "stranger:plugin", entry.group)._for(entry.dist)
    assert "has no attribute 'plugin'" in Registry([lacking]).broken[0].reason


def test_an_entry_point_names_no_class(site):
    entry = site("stranger", AS_A_CLASS)
    broken = Registry([EntryPoint(entry.name, "stranger:Plugin", entry.group)._for(entry.dist)]).broken[0]
    assert broken.reason == "its entry point names the class Plugin: name a module or an instance"


@pytest.mark.parametrize("metadata", [None, "Metadata-Version: 2.1\nName: stranger\n"])
def test_a_package_half_removed_harms_nobody(site, tmp_path, metadata):
    site("other", GOOD)
    site("stranger", GOOD.replace("{name}", "theirs"))
    path = tmp_path / "stranger-1.2.dist-info" / "METADATA"
    path.unlink() if metadata is None else path.write_text(metadata)
    registry = Registry()
    assert registry.broken == []
    assert registry.find("encoder", "mine").origin.distribution == "other"
    assert str(registry.find("encoder", "theirs").origin) == "stranger unknown"


def test_entry_points_that_cannot_be_read_are_one_broken_plugin(site, tmp_path):
    site("other", GOOD)
    site("stranger", GOOD)
    (tmp_path / "stranger-1.2.dist-info" / "entry_points.txt").write_text("[glta]\nno equals sign\n")
    registry = Registry()
    assert registry.find("encoder", "mine").origin.distribution == "other"
    assert registry.find("encoder", "lightgcn").origin.distribution == "glta"
    assert [str(broken.origin) for broken in registry.broken] == ["stranger 1.2"]


def test_a_clumsy_wrapper_says_nothing_but_its_cause(site, recwarn):
    source = hook("1 / 0\n    yield").replace("@hookimpl", "@hookimpl(hookwrapper=True)")
    assert "ZeroDivisionError" in Registry([site("wrecked", source)]).broken[0].reason
    assert len(recwarn) == 0


def test_a_terminated_process_is_no_broken_plugin(site):
    with pytest.raises(Terminated):
        Registry([site("slow", "from glta_cli.core.errors import Terminated\nraise Terminated(143)\n")])


def test_what_a_plugin_prints_does_not_reach_stdout(site, capsys):
    Registry([site("loud", "print('hello')\n" + GOOD)])
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "hello\n")


def test_choosing_what_a_broken_plugin_declared_gives_its_cause(site):
    source = hook(f"yield {declared(name=repr('fine'))}\n    1 / 0")
    with pytest.raises(InputError) as caught:
        Registry([site("wrecked", source)]).find("encoder", "fine")
    assert str(caught.value) == (
        "encoder 'fine' belongs to the plugin wrecked 1.2, which is disabled: ZeroDivisionError: division by zero"
    )
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_an_unknown_name_suggests_the_nearest_and_says_what_is_disabled(site):
    registry = Registry([site("stranger", GOOD), site("wrecked", "import a_package_nobody_has\n")])
    with pytest.raises(InputError) as caught:
        registry.find("encoder", "mien")
    assert str(caught.value) == (
        "no encoder is called 'mien'\n  hint: did you mean 'mine'?\n"
        "  disabled: plugin wrecked 1.2: ModuleNotFoundError: No module named 'a_package_nobody_has'"
    )
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


def test_strict_mode_names_all_that_is_wrong(site, monkeypatch):
    monkeypatch.setenv("GLTA_STRICT_PLUGINS", "yes")
    entries = [site("wrecked", "raise SystemExit(0)"), site("stranger", GOOD), site("torn", "1 / 0")]
    with pytest.raises(GltaError) as caught:
        Registry(entries)
    assert str(caught.value) == (
        "plugin wrecked 1.2 is broken: SystemExit: 0; plugin torn 1.2 is broken: ZeroDivisionError: division by zero\n"
        "  hint: without GLTA_STRICT_PLUGINS it is left out and everything else works"
    )
    assert [type(each) for each in caught.value.__cause__.exceptions] == [SystemExit, ZeroDivisionError]


@pytest.mark.parametrize(("value", "expected"), [("1", True), ("On", True), ("", False), ("0", False), ("no", False)])
def test_strict_mode_is_a_yes_or_no(monkeypatch, value, expected):
    monkeypatch.setenv("GLTA_STRICT_PLUGINS", value)
    assert strict() is expected


def test_another_value_of_strict_mode_is_not_taken_for_a_no(monkeypatch):
    monkeypatch.setenv("GLTA_STRICT_PLUGINS", "2")
    with pytest.raises(InputError, match="GLTA_STRICT_PLUGINS: '2' is neither 1 nor 0"):
        strict()


def test_an_interrupt_is_no_broken_plugin(site):
    with pytest.raises(KeyboardInterrupt):
        Registry([site("slow", "raise KeyboardInterrupt\n")])


LIBRARY = GOOD.replace("{module}_code:Encoder", "json.decoder:JSONDecoder")
BORROWED = GOOD.replace("{module}_code:Encoder", "glta_encoders.lightgcn:LightGCN")
CRASHING = """
from glta_cli.plugin import Settings

class Own(Settings):
    dimension: int = 8

class Encoder:
    def __init__(self, graph, settings):
        super().__init__()

    def forward(self):
        return [][0]
"""


def test_an_error_in_the_code_of_a_plugin_is_blamed_on_it(site, tmp_path, monkeypatch, capsys):
    site("stranger", GOOD.replace("{module}_code", "stranger.code"), package=CRASHING)
    installed.cache_clear()
    try:
        encoder = installed().find("encoder", "mine").build(None, None)
        with pytest.raises(IndexError) as caught:
            encoder.forward()
        assert report(caught.value, debug=False) == 1
        with pytest.raises(IndexError) as own:
            [][0]
        assert report(own.value, debug=False) == 1
    finally:
        installed.cache_clear()
    assert capsys.readouterr().err.splitlines() == [
        f"error in plugin stranger 1.2, {tmp_path}/stranger/code.py:12: IndexError: list index out of range",
        "  hint: run it again with --debug and report the traceback to its author",
        "internal error: IndexError: list index out of range",
        "  hint: run it again with --debug and report the traceback",
    ]


@pytest.mark.parametrize("source", [LIBRARY, BORROWED])
def test_the_code_a_plugin_borrows_is_not_blamed_on_it(site, monkeypatch, source):
    site("stranger", source)
    monkeypatch.setattr("glta_cli.plugin.registry.packages_distributions", lambda: {"json": ["a-library"]})
    installed.cache_clear()
    try:
        installed()
        with pytest.raises((ValueError, AttributeError)) as caught:
            LightGCN(None, None) if source is BORROWED else json.JSONDecoder().decode("{")
        assert culprit(caught.value) is None
    finally:
        installed.cache_clear()


# --------------------------------------------------------------------------------------------- several plugins


def test_a_clash_names_both_distributions_once_the_name_is_chosen(site):
    registry = Registry([site("first", GOOD), site("second", GOOD)])
    assert registry.broken == []
    with pytest.raises(InputError, match=r"encoder 'mine' is declared by first 1\.2 and second 1\.2"):
        registry.find("encoder", "mine")


def test_one_name_may_serve_two_kinds(site):
    source = GOOD + GOOD.replace("Encoder", "Backbone").replace("graph_encoders", "backbones")
    registry = Registry([site("both", source)])
    assert registry.find("encoder", "mine").kind == "encoder"
    assert registry.find("backbone", "mine").kind == "backbone"


@pytest.mark.parametrize(
    ("listed", "loaded"),
    [
        (None, {"glta", "first-one", "second"}),
        ("", {"glta"}),
        ("second", {"glta", "second"}),
        ("First_One, second", {"glta", "first-one", "second"}),
        ("entry-of-first-one", {"glta", "first-one"}),
        ("glta", {"glta"}),
    ],
)
def test_the_environment_chooses_which_plugins_are_loaded(site, monkeypatch, listed, loaded):
    site("first-one", GOOD), site("second", GOOD)
    if listed is not None:
        monkeypatch.setenv("GLTA_LOAD_PLUGINS", listed)
    assert {component.origin.distribution for component in Registry().components} == loaded


def test_a_plugin_to_load_that_is_not_installed_is_the_users_error(site, monkeypatch):
    site("first-one", GOOD)
    monkeypatch.setenv("GLTA_LOAD_PLUGINS", "first-on")
    with pytest.raises(InputError) as caught:
        Registry()
    assert str(caught.value) == (
        "GLTA_LOAD_PLUGINS: no plugin is called first-on\n  hint: installed beside glta's own: first-one"
    )


def test_a_name_of_another_kind_is_told(site):
    with pytest.raises(InputError) as caught:
        Registry([site("stranger", GOOD)]).find("baseline", "mine")
    assert str(caught.value) == "no baseline is called 'mine'\n  hint: stranger 1.2 has an encoder of that name"


def test_a_name_that_is_not_loaded_may_have_been_left_out(site, monkeypatch):
    monkeypatch.setenv("GLTA_LOAD_PLUGINS", "")
    site("stranger", GOOD)
    with pytest.raises(InputError, match=r"left out: plugins that GLTA_LOAD_PLUGINS='' does not name"):
        Registry().find("encoder", "mine")


def test_first_party_components_are_declared_through_entry_points():
    registry = Registry()
    assert registry.broken == []
    some = {"encoder": "lightgcn", "backbone": "smollm2", "dataset": "table", "baseline": "ease", "logger": "jsonl"}
    assert tuple(some) == KINDS
    for kind, name in some.items():
        assert registry.find(kind, name).origin.distribution == "glta"
