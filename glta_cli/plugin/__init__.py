"""The public plugin API: everything a plugin author imports, and nothing else.

A plugin is a module named by an entry point of the group `glta`. Its hooks yield declarations; a declaration
names its target as text, so nothing heavy is imported before a recipe selects it.

    # pyproject.toml of the plugin
    [project.entry-points.glta]
    my-encoders = "my_package"

`glta plugins new KIND NAME` writes such a package, and `glta_cli.testing` checks what it declares. The examples of
what stands below run as they stand; the tests of glta run them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from glta_cli.core.counts import counted as counted
    from glta_cli.core.downloads import Downloads as Downloads
    from glta_cli.core.errors import GltaError as GltaError
    from glta_cli.core.errors import InputError as InputError
    from glta_cli.core.errors import did_you_mean as did_you_mean
    from glta_cli.core.failures import out_of_memory as out_of_memory
    from glta_cli.core.files import cache_root as cache_root
    from glta_cli.core.files import fingerprint as fingerprint
    from glta_cli.core.files import read_json as read_json
    from glta_cli.core.files import remembered_sha256 as remembered_sha256
    from glta_cli.core.files import write_json as write_json
    from glta_cli.core.temporary import whole_folder as whole_folder
    from glta_cli.core.terminal import say as say
    from glta_cli.plugin.adapters import attach_adapters as attach_adapters
    from glta_cli.plugin.architecture import choose_dtype as choose_dtype
    from glta_cli.plugin.architecture import exit_after as exit_after
    from glta_cli.plugin.backbone import Backbone as Backbone
    from glta_cli.plugin.backbone import LanguageModel as LanguageModel
    from glta_cli.plugin.backbone import SentenceEncoder as SentenceEncoder
    from glta_cli.plugin.backbone_demand import CheckedBackbone as CheckedBackbone
    from glta_cli.plugin.backbone_demand import Demand as Demand
    from glta_cli.plugin.backbone_demand import LongPrompt as LongPrompt
    from glta_cli.plugin.backbone_size import BackboneSize as BackboneSize
    from glta_cli.plugin.baseline import Baseline as Baseline
    from glta_cli.plugin.baseline import BaselineData as BaselineData
    from glta_cli.plugin.baseline import chosen_settings as chosen_settings
    from glta_cli.plugin.dataset import DatasetLoader as DatasetLoader
    from glta_cli.plugin.dataset import EventRows as EventRows
    from glta_cli.plugin.dataset import Fetch as Fetch
    from glta_cli.plugin.dataset import RawDataset as RawDataset
    from glta_cli.plugin.dataset_look import DatasetLook as DatasetLook
    from glta_cli.plugin.dataset_look import LookingLoader as LookingLoader
    from glta_cli.plugin.declarations import KINDS as KINDS
    from glta_cli.plugin.declarations import BackboneDeclaration as BackboneDeclaration
    from glta_cli.plugin.declarations import BaselineDeclaration as BaselineDeclaration
    from glta_cli.plugin.declarations import DatasetDeclaration as DatasetDeclaration
    from glta_cli.plugin.declarations import Declaration as Declaration
    from glta_cli.plugin.declarations import EncoderDeclaration as EncoderDeclaration
    from glta_cli.plugin.declarations import Kind as Kind
    from glta_cli.plugin.declarations import LoggerDeclaration as LoggerDeclaration
    from glta_cli.plugin.declarations import TunableDeclaration as TunableDeclaration
    from glta_cli.plugin.descent import DescentPlan as DescentPlan
    from glta_cli.plugin.descent import DescentTask as DescentTask
    from glta_cli.plugin.encoder import GraphEncoder as GraphEncoder
    from glta_cli.plugin.encoder import SampledGraphEncoder as SampledGraphEncoder
    from glta_cli.plugin.encoder import SequenceEncoder as SequenceEncoder
    from glta_cli.plugin.encoder import TextGraphEncoder as TextGraphEncoder
    from glta_cli.plugin.encoder import TextSequenceEncoder as TextSequenceEncoder
    from glta_cli.plugin.hooks import API_VERSION as API_VERSION
    from glta_cli.plugin.hooks import ENTRY_POINT_GROUP as ENTRY_POINT_GROUP
    from glta_cli.plugin.hooks import HOOK_OF_KIND as HOOK_OF_KIND
    from glta_cli.plugin.hooks import glta_backbones as glta_backbones
    from glta_cli.plugin.hooks import glta_baselines as glta_baselines
    from glta_cli.plugin.hooks import glta_datasets as glta_datasets
    from glta_cli.plugin.hooks import glta_graph_encoders as glta_graph_encoders
    from glta_cli.plugin.hooks import glta_loggers as glta_loggers
    from glta_cli.plugin.hooks import hookimpl as hookimpl
    from glta_cli.plugin.hooks import hookspec as hookspec
    from glta_cli.plugin.interaction_graph import InteractionGraph as InteractionGraph
    from glta_cli.plugin.interactions import Interactions as Interactions
    from glta_cli.plugin.logger import StageEnd as StageEnd
    from glta_cli.plugin.logger import StageLogger as StageLogger
    from glta_cli.plugin.node_sample import NodeSample as NodeSample
    from glta_cli.plugin.processes import decided_together as decided_together
    from glta_cli.plugin.processes import processes_started as processes_started
    from glta_cli.plugin.processes import processes_together as processes_together
    from glta_cli.plugin.scorer import Scorer as Scorer
    from glta_cli.plugin.scorer import product_scorer as product_scorer
    from glta_cli.plugin.seen_file import SeenColumn as SeenColumn
    from glta_cli.plugin.seen_file import SeenFile as SeenFile
    from glta_cli.plugin.settings import BackboneSettings as BackboneSettings
    from glta_cli.plugin.settings import LoraSettings as LoraSettings
    from glta_cli.plugin.settings import Settings as Settings
    from glta_cli.plugin.terms import LinearTerm as LinearTerm
    from glta_cli.plugin.terms import LowRankTerm as LowRankTerm
    from glta_cli.plugin.terms import Term as Term
    from glta_cli.plugin.terms import VectorTerm as VectorTerm

# The same names by where they stand. Each is imported when asked for: a declaration needs neither pydantic nor torch,
# and `glta recommend`, which asks for two of them, does not wait for the others.
_HOMES = {
    "glta_cli.core.counts": ("counted",),
    "glta_cli.core.downloads": ("Downloads",),
    "glta_cli.core.errors": (
        "GltaError",
        "InputError",
        "did_you_mean",
    ),
    "glta_cli.core.failures": ("out_of_memory",),
    "glta_cli.plugin.backbone_demand": (
        "CheckedBackbone",
        "Demand",
        "LongPrompt",
    ),
    "glta_cli.core.files": (
        "cache_root",
        "fingerprint",
        "read_json",
        "remembered_sha256",
        "write_json",
    ),
    "glta_cli.core.temporary": ("whole_folder",),
    "glta_cli.core.terminal": ("say",),
    "glta_cli.plugin.adapters": ("attach_adapters",),
    "glta_cli.plugin.architecture": (
        "choose_dtype",
        "exit_after",
    ),
    "glta_cli.plugin.backbone": (
        "Backbone",
        "LanguageModel",
        "SentenceEncoder",
    ),
    "glta_cli.plugin.backbone_size": ("BackboneSize",),
    "glta_cli.plugin.baseline": (
        "Baseline",
        "BaselineData",
        "chosen_settings",
    ),
    "glta_cli.plugin.dataset": (
        "DatasetLoader",
        "EventRows",
        "Fetch",
        "RawDataset",
    ),
    "glta_cli.plugin.dataset_look": (
        "DatasetLook",
        "LookingLoader",
    ),
    "glta_cli.plugin.declarations": (
        "BackboneDeclaration",
        "BaselineDeclaration",
        "DatasetDeclaration",
        "Declaration",
        "EncoderDeclaration",
        "KINDS",
        "Kind",
        "LoggerDeclaration",
        "TunableDeclaration",
    ),
    "glta_cli.plugin.descent": (
        "DescentPlan",
        "DescentTask",
    ),
    "glta_cli.plugin.encoder": (
        "GraphEncoder",
        "SampledGraphEncoder",
        "SequenceEncoder",
        "TextGraphEncoder",
        "TextSequenceEncoder",
    ),
    "glta_cli.plugin.hooks": (
        "API_VERSION",
        "ENTRY_POINT_GROUP",
        "HOOK_OF_KIND",
        "glta_backbones",
        "glta_baselines",
        "glta_datasets",
        "glta_graph_encoders",
        "glta_loggers",
        "hookimpl",
        "hookspec",
    ),
    "glta_cli.plugin.interaction_graph": ("InteractionGraph",),
    "glta_cli.plugin.interactions": ("Interactions",),
    "glta_cli.plugin.logger": (
        "StageEnd",
        "StageLogger",
    ),
    "glta_cli.plugin.processes": (
        "decided_together",
        "processes_started",
        "processes_together",
    ),
    "glta_cli.plugin.node_sample": ("NodeSample",),
    "glta_cli.plugin.scorer": (
        "Scorer",
        "product_scorer",
    ),
    "glta_cli.plugin.seen_file": (
        "SeenColumn",
        "SeenFile",
    ),
    "glta_cli.plugin.settings": (
        "BackboneSettings",
        "LoraSettings",
        "Settings",
    ),
    "glta_cli.plugin.terms": (
        "LinearTerm",
        "LowRankTerm",
        "Term",
        "VectorTerm",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found = globals()[name] = getattr(import_module(_HOME_OF[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME_OF})
