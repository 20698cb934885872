"""Recipes: the settings of a whole run, and the only place where a default lives.

Every key is optional; what a recipe leaves out is the default written here. Counts and sizes go up to 2^31 - 1, epochs
to a million, seeds to 2^63 - 1, and every number is finite.
"""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainSerializer
from pydantic_core import PydanticCustomError

from glta_cli.plugin.settings import MOST_COUNT, BackboneSettings, Settings
from glta_cli.recipe.limits import LARGEST_INTEGER, MOST_ROWS
from glta_cli.recipe.shipped_variants import VARIANTS
from glta_cli.recipe.split_settings import SplitSettings as SplitSettings

MOST_EPOCHS, MOST_SEEDS = 1_000_000, 1000
# Those of an evaluation count on from the recipe's: numpy and torch take twice as many.
LARGEST_SEED = LARGEST_INTEGER

# --------------------------------------------------------------------------------------------- the schema


def listed_by_name(listed: Any) -> Any:
    """Components as a mapping of names to settings; what is no such list is returned as it is.

    They are given as that mapping, in which settings may be left out, or as a list of names and of mappings of one
    name to its settings: `[popularity, {ease: {regularization: 5}}]`. No name may stand twice.
    """
    pairs = _names_and_settings(listed)
    if pairs is None or _repeated(pairs):
        return listed
    return {name: {} if options is None else options for name, options in pairs}


def _names_and_settings(listed: Any) -> list[tuple[str, Any]] | None:
    if isinstance(listed, list):
        entries = [{entry: None} if isinstance(entry, str) else entry for entry in listed]
        if not all(isinstance(entry, dict) and len(entry) == 1 for entry in entries):
            return None
    elif isinstance(listed, dict):
        entries = [listed]
    else:
        return None
    return [(str(name), options) for entry in entries for name, options in entry.items()]


def _repeated(pairs: list[tuple[str, Any]]) -> list[str]:
    return [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]


def _checked_components(listed: Any) -> Any:
    pairs = _names_and_settings(listed)
    if pairs is None:
        raise PydanticCustomError("components_type", "Input should be a list of names, or names with settings")
    if repeated := _repeated(pairs):
        raise ValueError(f"{' and '.join(repeated)}: listed more than once")
    return listed_by_name(listed)


Components = Annotated[dict[str, dict[str, Any]], BeforeValidator(_checked_components)]
"""Several components of one kind: names, each with its own settings; a list of names will do.

An override of a single setting, such as `--set evaluate.baselines.ease.regularization=100`, changes that component, or
adds it, and leaves the others as they are: those the recipe lists, or those it has by default.
"""


class DatasetSettings(Settings):
    """Which interactions, which filters, which split."""

    name: str = Field("movielens-100k", description="a dataset of `glta plugins`")
    source: str | None = Field(None, description="local file or folder, or URL, in place of the download")
    min_rating: float | None = Field(None, description="keep interactions rated at least this")
    kcore: int = Field(
        0, ge=0, le=MOST_COUNT, description="least interactions of every user and item, to a fixed point"
    )
    split: SplitSettings = SplitSettings()
    most_dropped: float = Field(
        0.33,
        ge=0,
        le=1,
        description="share of the rows that may be lost, unreadable or incomplete, before nothing is prepared",
    )
    options: dict[str, Any] = Field({}, description="the loader's own settings")


class TrainingSettings(Settings):
    """What the one training loop needs, whichever stage runs it."""

    epochs: int = Field(
        10, ge=1, le=MOST_EPOCHS, description="passes over the training users or prompts, at most; up to a million"
    )
    batch_size: int = Field(32, ge=1, le=MOST_COUNT, description="users, histories, interactions or prompts a step")
    learning_rate: float = Field(1e-3, gt=0, description="of Adam, after warm-up")
    warmup_steps: int = Field(0, ge=0, le=MOST_COUNT, description="steps over which the learning rate rises linearly")
    decay: Literal["none", "cosine"] = Field("none", description="of the learning rate, to zero at the last epoch")
    weight_decay: float = Field(0.0, ge=0, description="decoupled (AdamW)")
    clip_norm: float | None = Field(None, gt=0, description="largest gradient norm")
    moments: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="what the optimizer keeps of each number it trains: two of this width; bfloat16 halves them",
    )
    validate_every: int = Field(1, ge=1, le=MOST_COUNT, description="epochs between validations")
    patience: int = Field(5, ge=1, le=MOST_COUNT, description="validations without a better metric before stopping")
    checkpoint_seconds: float = Field(120.0, ge=0, description="least time between two saved states")


class GraphSettings(Settings):
    """Stage 1, the graph encoder."""

    encoder: str = Field("lightgcn", description="a graph encoder of `glta plugins`")
    options: dict[str, Any] = Field({}, description="the encoder's own settings")
    loss: Literal["softmax", "bpr"] = Field("softmax", description="softmax needs far fewer epochs than bpr")
    temperature: float = Field(0.2, gt=0, description="of the softmax over scores")
    unit_length: Literal["both", "users"] = Field(
        "both",
        description="vectors the softmax scales to unit length: users and items, so that scores are cosines; or users "
        "alone, so that an item's length can tell how popular it is",
    )
    softmax_items: int | None = Field(
        None, ge=2, le=MOST_COUNT, description="items sampled for the softmax; null scores the whole catalogue"
    )
    softmax_sampling: Literal["uniform", "popularity"] = Field(
        "uniform", description="how they are drawn: all alike, or as often as they stand in the training interactions"
    )
    neighbours: tuple[Annotated[int, Field(ge=-1, le=MOST_COUNT)], ...] | None = Field(
        None,
        min_length=1,
        max_length=1000,
        description="neighbours sampled of each node, by hop, for graphs too large to be propagated whole in every "
        "step; -1 takes all of a hop, null the whole graph",
    )
    edges: Literal["auto", "memory", "disk"] = Field(
        "auto",
        description="where a graph's edges lie: in memory, or on the disk, mapped from there; auto: on the disk where "
        "they would take an eighth of the memory that is free",
    )
    alignment_holdout: float = Field(
        0.2,
        ge=0,
        lt=1,
        description="share of training items hidden from the graph to be stage 3's targets; 0 shows all",
    )
    refit: bool = Field(
        False,
        description="after the epoch is chosen on validation, train again from the start on training and validation "
        "interactions for as many epochs",
    )
    validation_users: int = Field(10_000, ge=1, le=MOST_COUNT, description="users ranked to select the epoch, at most")
    training: TrainingSettings = TrainingSettings(
        epochs=40, batch_size=512, learning_rate=2e-2, validate_every=2, patience=4
    )


class PromptSettings(Settings):
    """The wording, with slots in braces; wrapped in the backbone's own chat template."""

    system: str = Field("You recommend items.", description="system message; empty leaves it out")
    alignment: str = Field(
        "Put these descriptions in the order of the items.\n{descriptions}\nItems: {items}",
        description="stage 2; slots {descriptions} {items}",
    )
    recommendation: str = Field(
        "Choose the items this user will like.\nUser: {user}\nLiked: {items}\n{profile}{prediction}",
        description="stage 3; slots {user} {items} {profile} {prediction}",
    )
    profile_line: str = Field("Tags: {words}\n", description="what fills {profile}")
    prediction_line: str = Field("Next interests: {words}\n", description="what fills {prediction}")
    profile: str = Field(
        "A user liked:\n{descriptions}\nSum up this user's taste in {k} short tags, separated by commas.",
        description="asks the backbone for the profile; slots {descriptions} {k}",
    )
    prediction: str = Field(
        "A user liked:\n{descriptions}\nName {k} words for what this user would like next, separated by commas.",
        description="asks the backbone for the prediction; slots {descriptions} {k}",
    )
    placeholder: str = Field(" ?", description="the word at the placeholder positions of rows 2 to k")


class TextSettings(Settings):
    """How the language model's view of an item's text becomes a vector, and which text that is."""

    vectors: bool = Field(True, description="the tied head knows items by E_i and text; false: by E_i alone")
    shuffled: bool = Field(
        False, description="true is the control: texts are dealt out to the items at random, for every stage"
    )
    backbone: str | None = Field(
        None, description="the backbone whose vectors stand for item texts; null takes the language model itself"
    )
    options: dict[str, Any] = Field({}, description="own settings of text.backbone")
    weights: Literal["pretrained", "random"] = Field(
        "pretrained", description="of whichever reads item texts; random is the control: the same reader, untrained"
    )
    tokens: int = Field(48, ge=4, le=MOST_COUNT, description="an item's text is cut to this many tokens")
    dimensions: int = Field(
        256, ge=1, le=MOST_COUNT, description="principal directions kept by whitening, of few texts by half of it"
    )
    batch_size: int = Field(
        16, ge=1, le=MOST_COUNT, description="longest texts a forward pass; of shorter ones as many tokens"
    )


class AlignSettings(Settings):
    """Stage 2, item-text alignment."""

    enabled: bool = Field(True, description="false is the ablation w/o IA: stage 3 trains both projectors")
    labels: Literal["description_order", "item_order"] = Field(
        "description_order", description="position t predicts the item described, or standing, t-th"
    )
    least_items: int = Field(8, ge=1, le=MOST_COUNT, description="fewest items a prompt")
    most_items: int = Field(12, ge=1, le=MOST_COUNT, description="most items a prompt")
    description_tokens: int = Field(32, ge=4, le=MOST_COUNT, description="a description is cut to this many tokens")
    prompts: int = Field(512, ge=1, le=MOST_COUNT, description="training prompts an epoch")
    validation_prompts: int = Field(64, ge=1, le=MOST_COUNT, description="prompts that select the epoch")
    training: TrainingSettings = TrainingSettings(
        epochs=3, batch_size=16, learning_rate=1e-3, warmup_steps=10, clip_norm=1.0
    )


class InterestSettings(Settings):
    """Profile and prediction: words the backbone generates about each user beforehand.

    Both are `auto` where a recipe file does not say: true on a GPU, false without one.
    """

    profile: bool = Field(True, description="false is the ablation w/o PF; auto: true on a GPU, else false")
    prediction: bool = Field(True, description="false is the ablation w/o PD; auto: true on a GPU, else false")
    words: int = Field(5, ge=1, le=MOST_COUNT, description="tags or words asked for: k")
    items: int = Field(10, ge=1, le=MOST_COUNT, description="training items described to the backbone")
    description_tokens: int = Field(24, ge=4, le=MOST_COUNT, description="a description is cut to this many tokens")
    new_tokens: int = Field(24, ge=1, le=MOST_COUNT, description="longest answer")
    batch_size: int = Field(32, ge=1, le=MOST_COUNT, description="prompts continued at once")


class FinetuneSettings(Settings):
    """Stage 3, user-item alignment and the GLLM head."""

    enabled: bool = Field(True, description="false stops after stage 1: no language model is among the terms")
    head: Literal["tied", "linear"] = Field(
        "tied", description="tied scores items by E_i and text vectors; linear is the paper's h x I layer"
    )
    loss: Literal["first", "positions"] = Field(
        "first", description="multi-positive softmax at the first position, or cross-entropy at k positions"
    )
    positions: int = Field(10, ge=1, le=MOST_COUNT, description="k: target positions of loss and readout `positions`")
    readout: Literal["first", "positions", "autoregressive"] = Field("first", description="how logits become a list")
    softmax_items: int = Field(
        50_000,
        ge=2,
        le=MOST_COUNT,
        description="largest catalogue scored whole; beyond it items are sampled, with logQ correction",
    )
    shard_catalogue: bool = Field(
        False,
        description="with several processes each holds the rows of some items of the linear head, with their gradients "
        "and moments; the loss stays exact",
    )
    user_token: bool = Field(True, description="false is the ablation w/o UA: the user's id in words")
    shuffled_users: bool = Field(
        False, description="true is the control: the user token is that of another user, always the same"
    )
    warm_start_users: int = Field(
        4000,
        ge=0,
        le=MOST_COUNT,
        description="users whose states start the tied head, by ridge regression; 0 starts it at random",
    )
    validation_users: int = Field(2000, ge=1, le=MOST_COUNT, description="users ranked to select the epoch, at most")
    context_items: int = Field(30, ge=0, le=MOST_COUNT, description="item tokens a prompt, at most")
    target_share: float = Field(
        0.3, gt=0, lt=1, description="share of training items predicted, where no holdout fixes the targets"
    )
    item_tokens: Literal["graph", "graph+text"] = Field(
        "graph", description="what an item's token is projected from: E_i, or E_i and its text vector together"
    )
    targets: Literal["share", "latest", "folds"] = Field(
        "share",
        description="training items that are predicted: a share of each user's drawn at random; as many of the latest; "
        "or all in turn, a fold an epoch, each fold hidden from a graph encoder of its own",
    )
    popularity_adjustment: float = Field(
        0.0,
        ge=0,
        le=2,
        description="trained with this times the log of an item's popularity added to its logit, served without; at 1 "
        "what is learnt is who likes an item beyond how many do",
    )
    fusion: bool = Field(True, description="false: the language model ranks alone, whatever fusion.terms would add")
    refit: bool = Field(
        False,
        description="train all stages again on everything known, for the epochs chosen on validation, and serve that; "
        "evaluation stays with what was chosen",
    )
    training: TrainingSettings = TrainingSettings(
        epochs=5, batch_size=32, learning_rate=1e-4, warmup_steps=20, clip_norm=1.0, patience=2
    )


class FusionSettings(Settings):
    """Of which terms the score that is served is made; validation weighs them, and each may come to nothing."""

    terms: Literal["auto"] | Annotated[tuple[str, ...], Field(min_length=1, max_length=MOST_ROWS)] = Field(
        "auto",
        description="auto: the best linear row, the encoder and the language model; or a list of `encoder`, `llm` and "
        "linear baselines of `glta plugins`, of which the best takes part; [encoder, llm] is the fusion of 0.1",
    )


def _beside_shipped_variants(given: Any) -> Any:
    return VARIANTS | given if isinstance(given, dict) else given


def _unlike_shipped_variants(variants: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What a run stores: a shipped variant is what it is today, not when the run was made."""
    return {name: changes for name, changes in variants.items() if changes != VARIANTS.get(name)}


Variants = Annotated[
    dict[str, dict[str, Any]], BeforeValidator(_beside_shipped_variants), PlainSerializer(_unlike_shipped_variants)
]


class EvaluateSettings(Settings):
    """What `glta evaluate` reports."""

    baselines: Components = Field(
        {"popularity": {}},
        max_length=MOST_ROWS,
        description="rows to compare with: baselines and graph encoders of `glta plugins`, and variants; names, or "
        "names with settings; --set evaluate.baselines.NAME.KEY=VALUE adds to them",
    )
    variants: Variants = Field(
        VARIANTS,
        max_length=MOST_ROWS,
        description="rows that are this recipe with other settings: of section graph alone, the encoder's ranking; of "
        "others, the whole model's",
    )
    seeds: int = Field(
        1,
        ge=1,
        le=MOST_SEEDS,
        description="trainings of every row, from the recipe's seed on; figures are their mean; at most 1,000",
    )
    draws: int = Field(
        1,
        ge=1,
        le=MOST_SEEDS,
        description="draws of the split, from its seed on, each with all rows trained anew; at most 1,000",
    )
    tune: bool = Field(False, description="choose the rows' own settings from their grids, by validation NDCG@10")
    grids: dict[str, dict[str, Any]] = Field(
        {},
        max_length=MOST_ROWS,
        description="by row, lists of values to try in place of its own grid: of a baseline's or encoder's own "
        "settings, of a variant's section graph; --set 'evaluate.grids.ease.regularization=[50,100]'",
    )
    cutoffs: tuple[Annotated[int, Field(ge=1, le=MOST_COUNT)], ...] = Field(
        (5, 10, 20), min_length=1, max_length=100, description="K of the metrics"
    )
    bootstrap: int = Field(1000, ge=0, le=MOST_COUNT, description="resamples for the 95% intervals; 0 leaves them out")
    permutations: int = Field(
        10_000,
        ge=0,
        le=MOST_COUNT,
        description="random signs for the paired test against the best baseline; 0 leaves it out",
    )
    batch_size: int = Field(
        64, ge=1, le=MOST_COUNT, description="longest prompts a forward pass; of shorter ones as many tokens"
    )


class Recipe(Settings):
    """A whole run: ten sections, the seed, and who is told."""

    seed: int = Field(0, ge=0, le=LARGEST_SEED, description="of initialisation, sampling and prompts, below 2^63")
    dataset: DatasetSettings = DatasetSettings()
    graph: GraphSettings = GraphSettings()
    backbone: BackboneSettings = BackboneSettings()
    prompts: PromptSettings = PromptSettings()
    text: TextSettings = TextSettings()
    align: AlignSettings = AlignSettings()
    interests: InterestSettings = InterestSettings()
    finetune: FinetuneSettings = FinetuneSettings()
    fusion: FusionSettings = FusionSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    loggers: Components = Field(
        {},
        max_length=MOST_ROWS,
        description="loggers of `glta plugins`: names, or names with settings; "
        "--set loggers.NAME.KEY=VALUE adds to them",
    )
