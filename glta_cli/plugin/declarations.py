"""Declarations: what a plugin says about a component before the component's own code is imported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, get_args

from glta_cli.plugin.grids import combinations

Kind = Literal["encoder", "backbone", "dataset", "baseline", "logger"]
KINDS: tuple[Kind, ...] = get_args(Kind)

Asked = Literal["text_vectors", "histories"]


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """What a plugin says about one component before the component's own code is imported.

    Attributes:
        name: what a recipe writes to select the component: letters, digits, `-`, `_`, `.`.
        summary: one line for `glta plugins`.
        target: `package.module:Class`, imported when selected.
        config: `package.module:Model`, the component's own settings: a subclass of `Settings` in a module that
            imports no torch, since recipes are checked with it.
        extra: the pip extra or package to name when importing the target fails.
    """

    kind: ClassVar[Kind]

    name: str
    summary: str
    target: str
    config: str
    extra: str | None = None


@dataclass(frozen=True, kw_only=True)
class TunableDeclaration(Declaration):
    """A component whose settings can be chosen on validation.

    Attributes:
        grid: values of the component's own settings that `glta evaluate --tune` chooses from by validation NDCG@10;
            every combination is tried, so keep it small.
        asks_for: what its target asks to be given: `text_vectors` (its class has a true `needs_text_vectors`),
            `histories` (a true `reads_histories`); () for nothing of it. Whoever only counts need not import the target
            then; None for one that is imported to be asked.
    """

    grid: Mapping[str, Sequence[Any]] = field(default_factory=dict, hash=False)
    asks_for: tuple[Asked, ...] | None = None

    def combinations(self) -> list[dict[str, Any]]:
        """Every combination of the grid, the last setting varying fastest; of no grid one that changes nothing."""
        return combinations(self.grid)


@dataclass(frozen=True, kw_only=True)
class EncoderDeclaration(TunableDeclaration):
    """A graph encoder; its target satisfies `GraphEncoder`, `SequenceEncoder`, or the like with item texts.

    Its `config` has an integer field `dimension`, the d of the embeddings: `--dry-run` counts with it.
    """

    kind: ClassVar[Kind] = "encoder"


@dataclass(frozen=True, kw_only=True)
class BackboneDeclaration(Declaration):
    """A language model; its target satisfies `Backbone`.

    Attributes:
        reads_text: false of a control without a language model. The states of its model depend on the graph tokens
            alone, its architecture has no layers, its `generate` raises a `GltaError`, and a recipe that has it read
            or write words is refused.
        generates: False for one that reads texts into vectors and does nothing else: its `load` gives a
            `SentenceEncoder`, and a recipe selects it by `text.backbone` alone.
        size: `module:function` of the section `backbone` and the component's own settings that returns the
            `BackboneSize`, or None where they do not say it, so that `glta init` need not import what makes the model;
            None for one whose model is always counted itself.
    """

    kind: ClassVar[Kind] = "backbone"

    reads_text: bool = True
    generates: bool = True
    size: str | None = None


@dataclass(frozen=True, kw_only=True)
class DatasetDeclaration(Declaration):
    """A dataset; its target satisfies `DatasetLoader`."""

    kind: ClassVar[Kind] = "dataset"


@dataclass(frozen=True, kw_only=True)
class BaselineDeclaration(TunableDeclaration):
    """A recommender `glta evaluate` compares with; its target satisfies `Baseline`.

    Attributes:
        time_grid: values that `--tune` chooses from beside those of the grid where the split is in time, such as how
            much less an older item weighs: every combination with each of the grid's is tried. With settings that
            scoring alone reads (`Baseline.scoring_settings`) nothing more is fitted.
    """

    kind: ClassVar[Kind] = "baseline"

    time_grid: Mapping[str, Sequence[Any]] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, kw_only=True)
class LoggerDeclaration(Declaration):
    """Something told of every stage that ends; its target satisfies `StageLogger`."""

    kind: ClassVar[Kind] = "logger"
