"""The plugin API documents itself: every hook and protocol has an example, and the examples run as they stand."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from importlib.metadata import PathDistribution
from pathlib import Path
from typing import Any

import pytest
import torch

from glta_cli import plugin
from glta_cli.plugin import HOOK_OF_KIND, KINDS, Kind
from glta_cli.plugin.component import OWN_DISTRIBUTION, Component
from glta_cli.plugin.registry import Registry, installed
from glta_cli.plugin.settings import BackboneSettings
from glta_cli.recipe.schema import Recipe
from glta_cli.stages.backbone import backbone_of
from glta_cli.testing.backbone import backbone_promises
from glta_cli.testing.baseline import baseline_promises
from glta_cli.testing.contract import Contract
from glta_cli.testing.dataset import dataset_promises
from glta_cli.testing.encoder import encoder_promises
from glta_cli.testing.logger import logger_promises

PROTOCOL_OF_KIND: dict[Kind, type] = {
    "encoder": plugin.GraphEncoder,
    "backbone": plugin.Backbone,
    "dataset": plugin.DatasetLoader,
    "baseline": plugin.Baseline,
    "logger": plugin.StageLogger,
}
NAMED = [getattr(plugin, name) for name in dir(plugin) if not name.startswith("_")]
PROTOCOLS = [each for each in NAMED if inspect.isclass(each) and getattr(each, "_is_protocol", False)]
PROTOCOLS = [each for each in PROTOCOLS if each.__module__.startswith(f"{plugin.__name__}.")]
DATACLASSES = [each for each in NAMED if inspect.isclass(each) and dataclasses.is_dataclass(each)]


def example_of(documented: Any) -> str:
    """The code under `Example:` of a docstring; fails where there is none."""
    found = re.search(r"^Example:\n((?:    .*\n|\n)+)", inspect.getdoc(documented) + "\n", re.MULTILINE)
    assert found, f"{documented.__name__} has no example"
    return textwrap.dedent(found[1])


def parameters(function: Callable[..., Any]) -> list[tuple[str, Any, Any]]:
    """Name, kind and default of each parameter."""
    return [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]


def own_methods(protocol: type) -> list[str]:
    """What a protocol asks for: its constructor, where it states one, and its public methods; inherited ones too."""
    members = {name: each for base in reversed(protocol.__mro__) for name, each in vars(base).items()}
    stated = {
        name for name, each in members.items() if getattr(each, "__qualname__", "").split(".")[0] in names_of(protocol)
    }
    return [name for name in members if name in stated and (name == "__init__" or not name.startswith("_"))]


def names_of(protocol: type) -> set[str]:
    """Of the protocol and those it is derived from."""
    return {base.__name__ for base in protocol.__mro__ if base.__module__.startswith(f"{plugin.__name__}.")}


def drift(implementation: Any, protocol: type) -> dict[str, Any]:
    """What of a protocol an implementation lacks or spells otherwise; more parameters of a method need defaults.

    A class has the attributes that are annotated in the protocol only once it is made: then give an instance.
    """
    missing = [name for name in vars(protocol).get("__annotations__", {}) if not hasattr(implementation, name)]
    found: dict[str, Any] = dict.fromkeys(missing, "missing")
    implementation = implementation if inspect.isclass(implementation) else type(implementation)
    for name in own_methods(protocol):
        method = getattr(implementation, name, None)
        wanted = parameters(getattr(protocol, name))
        given = [] if method is None else parameters(method)
        more = given[len(wanted) :]
        if given[: len(wanted)] != wanted or any(default is inspect.Parameter.empty for _, _, default in more):
            found[name] = (wanted, given)
    return found


@pytest.fixture(params=KINDS)
def example(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The component made of a kind's two examples: its hook's and its protocol's, installed as a package."""
    kind: Kind = request.param
    hook, protocol = getattr(plugin, HOOK_OF_KIND[kind]), PROTOCOL_OF_KIND[kind]
    package = tmp_path / "my_package"
    package.mkdir()
    (package / "__init__.py").write_text(example_of(hook))
    for name in (*KINDS, "settings"):
        (package / f"{name}.py").write_text(example_of(protocol))
    information = tmp_path / "my_package-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[glta]\nmine = my_package\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    [component] = Registry(PathDistribution(information).entry_points).components
    yield component
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_package"]:
        del sys.modules[name]


def test_every_hook_belongs_to_a_kind() -> None:
    # pluggy leaves its mark on a function that is declared a hook.
    hooks = {name for name in dir(plugin) if getattr(getattr(plugin, name), "glta_spec", None) is not None}
    assert hooks == set(HOOK_OF_KIND.values())


def test_there_is_a_protocol_for_every_kind() -> None:
    assert tuple(PROTOCOL_OF_KIND) == KINDS == tuple(HOOK_OF_KIND)
    assert set(PROTOCOL_OF_KIND.values()) <= set(PROTOCOLS)


@pytest.mark.parametrize("hook", HOOK_OF_KIND.values())
def test_every_hook_has_an_example(hook: str) -> None:
    assert f"def {hook}():" in example_of(getattr(plugin, hook))


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda protocol: protocol.__name__)
def test_every_protocol_has_an_example_and_says_what_each_method_does(protocol: type) -> None:
    assert example_of(protocol)
    silent = [
        name for name in own_methods(protocol) if not name.startswith("_") and not getattr(protocol, name).__doc__
    ]
    assert silent == []


@pytest.mark.parametrize("documented", DATACLASSES, ids=lambda documented: documented.__name__)
def test_every_field_is_explained(documented: type) -> None:
    text = "\n".join(each.__doc__ or "" for each in documented.__mro__)
    assert [field.name for field in dataclasses.fields(documented) if f"{field.name}: " not in text] == []


def test_the_example_of_a_kind_is_what_its_protocol_asks_for(example: Component) -> None:
    assert drift(example.target(), PROTOCOL_OF_KIND[example.kind]) == {}


def test_the_example_of_a_kind_keeps_every_promise(example: Component, tmp_path: Path) -> None:
    contract, target, settings = Contract(example.name), example.target(), example.config()()
    match example.kind:
        case "encoder":
            encoder_promises(contract, target, settings)
        case "backbone":
            backbone_promises(contract, target, example.name, BackboneSettings(name=example.name), settings)
        case "dataset":
            source = tmp_path / "loans.csv"
            loans = [f"reader {n % 7};{n % 5};Book {n % 5}\n" for n in range(30)]
            source.write_text("reader;book;title\n" + "".join(loans))
            dataset_promises(contract, target, example.name, settings, source)
        case "baseline":
            baseline_promises(contract, target, settings)
        case "logger":
            logger_promises(contract, target, settings)
    contract.settle()


def test_the_example_of_a_language_model_runs() -> None:
    exec(example_of(plugin.LanguageModel), {})


def test_the_example_of_a_sentence_encoder_runs_and_is_one() -> None:
    names: dict[str, Any] = {}
    exec(example_of(plugin.SentenceEncoder), names)
    assert drift(names["CountedBytes"](), plugin.SentenceEncoder) == {}


def test_the_example_of_a_fetch_is_one(tmp_path: Path) -> None:
    names: dict[str, Any] = {}
    exec(example_of(plugin.Fetch), names)
    assert drift(names["Mirror"], plugin.Fetch) == {}
    mirror = names["Mirror"](tmp_path)
    assert mirror.url("https://example.org/data/ratings.csv?download") == tmp_path / "ratings.csv?download"
    assert mirror.pypi("loans==1.0", sha256="") == tmp_path / "loans-1.0.whl"


@pytest.mark.parametrize("kind", KINDS)
def test_first_party_components_are_what_their_protocol_asks_for(kind: Kind) -> None:
    own = [component for component in installed().of_kind(kind) if component.origin.distribution == OWN_DISTRIBUTION]
    targets = {component.target() for component in own}
    assert targets
    assert [(target, found) for target in targets if (found := drift(target, protocol_of(kind, target)))] == []


def protocol_of(kind: Kind, target: Any) -> type:
    if kind != "encoder":
        return PROTOCOL_OF_KIND[kind]
    texts = getattr(target, "needs_text_vectors", False)
    if getattr(target, "reads_histories", False):
        return plugin.TextSequenceEncoder if texts else plugin.SequenceEncoder
    return plugin.TextGraphEncoder if texts else plugin.GraphEncoder


@pytest.mark.parametrize(
    ("protocol", "name"),
    [
        (plugin.TextGraphEncoder, "ProjectedTexts"),
        (plugin.SequenceEncoder, "DecayingMean"),
        (plugin.TextSequenceEncoder, "NewestText"),
    ],
)
def test_the_example_of_every_other_encoder_keeps_every_promise(protocol: type, name: str) -> None:
    names: dict[str, Any] = {}
    exec(example_of(protocol), names)
    assert drift(names[name], protocol) == {}
    contract = Contract(name)
    encoder_promises(contract, names[name], names[f"{name}Settings"]())
    contract.settle()


def test_first_party_language_models_and_downloads_too() -> None:
    from glta_backbones.causal_lm import CausalLanguageModel

    from glta_cli.core.downloads import Downloads

    language_model = backbone_of(Recipe.model_validate({"backbone": {"name": "tiny"}})).load(torch.device("cpu"))
    assert type(language_model) is CausalLanguageModel
    assert drift(language_model, plugin.LanguageModel) == {}
    assert drift(Downloads, plugin.Fetch) == {}


def test_a_drifting_signature_is_found() -> None:
    class Drifted:
        def fit(self, train: Any) -> None: ...
        def scorer(self, learnt: Any, train: Any, users: Any) -> None: ...

    assert set(drift(Drifted, plugin.Baseline)) == {"__init__", "fit", "scorer"}


def test_a_missing_attribute_is_found() -> None:
    class Unfinished:
        def __init__(self) -> None:
            self.tokenizer = None

    assert {"hidden_size", "module"} <= set(drift(Unfinished(), plugin.LanguageModel))
    assert "tokenizer" not in drift(Unfinished(), plugin.LanguageModel)


# What a loader, an encoder, a backbone or a baseline would otherwise write again.
TOOLS = [
    "Downloads",
    "attach_adapters",
    "cache_root",
    "choose_dtype",
    "chosen_settings",
    "counted",
    "decided_together",
    "exit_after",
    "fingerprint",
    "out_of_memory",
    "processes_started",
    "processes_together",
    "product_scorer",
    "read_json",
    "remembered_sha256",
    "say",
    "whole_folder",
    "write_json",
]


@pytest.mark.parametrize("name", TOOLS)
def test_the_example_of_every_tool_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GLTA_CACHE_DIR", str(tmp_path / "cache"))
    exec(example_of(getattr(plugin, name)), {})


def test_whatever_the_api_names_is_told_of() -> None:
    """A name is a hook, a protocol, a declaration or another class with a docstring, or a tool with an example."""
    named = {name for name in dir(plugin) if not name.startswith("_")} - {"annotations", "Any", "TYPE_CHECKING"}
    named -= {"Kind", "Scorer"}  # types without a docstring of their own
    callables = {name for name in named if callable(getattr(plugin, name))}
    assert {name for name in callables if not inspect.getdoc(getattr(plugin, name))} == set()
    functions = {name for name in callables if inspect.isfunction(getattr(plugin, name))}
    assert functions - set(HOOK_OF_KIND.values()) - {"did_you_mean"} == set(TOOLS) - {"Downloads"}


def test_type_checkers_see_the_names_that_are_there() -> None:
    source = ast.parse(Path(plugin.__file__).read_text(encoding="utf-8"))
    [checked] = [node for node in source.body if isinstance(node, ast.If)]
    seen = {(each.module, alias.name) for each in checked.body for alias in each.names}  # type: ignore[attr-defined]
    assert seen == {(home, name) for home, names in plugin._HOMES.items() for name in names}


def test_what_is_not_there_is_an_error_and_what_is_there_is_imported_when_asked_for() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Setings'"):
        _ = plugin.Setings
    code = "import sys, glta_cli.plugin; print(sorted({'torch', 'pydantic', 'numpy', 'pluggy'} & {*sys.modules}))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
