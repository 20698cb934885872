"""Recipes: the settings of a whole run, and the only place where a default lives.

A recipe is a YAML file. Every key is optional; what it leaves out is the default written here. Unknown keys,
duplicate keys and values of the wrong type are errors that carry file, line and column, all of a file at once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from glta_cli.errors import GltaError, InputError, InputErrors, did_you_mean

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from glta_cli.plugin import Kind

# --------------------------------------------------------------------------------------------- the schema


class Settings(BaseModel):
    """Base of every settings model: strict types, no unknown keys, immutable once read."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class SplitSettings(Settings):
    """How interactions are divided; EVALUATION protocol: selection on validation, test read once."""

    strategy: Literal["ratio", "leave-last-out", "temporal"] = Field(
        "ratio", description="per user at random; each user's last two; or one global cut in time"
    )
    validation: float = Field(0.1, ge=0, lt=1, description="share of interactions for model selection")
    test: float = Field(0.1, gt=0, lt=1, description="share of interactions for the final figures")
    seed: int = Field(0, description="seed of the random split")


class DatasetSettings(Settings):
    """Which interactions, which filters, which split."""

    name: str = Field("movielens-100k", description="a dataset of `glta plugins`")
    source: str | None = Field(None, description="local file or folder, or URL, in place of the download")
    min_rating: float | None = Field(None, description="keep interactions rated at least this")
    kcore: int = Field(0, ge=0, description="least interactions of every user and item, to a fixed point")
    split: SplitSettings = SplitSettings()
    options: dict[str, Any] = Field({}, description="the loader's own settings")


class TrainingSettings(Settings):
    """What the one training loop needs, whichever stage runs it."""

    epochs: int = Field(10, ge=1, description="passes over the training users or prompts, at most")
    batch_size: int = Field(32, ge=1, description="users, interactions or prompts a step")
    learning_rate: float = Field(1e-3, gt=0, description="of Adam, after warm-up")
    warmup_steps: int = Field(0, ge=0, description="steps over which the learning rate rises linearly")
    decay: Literal["none", "cosine"] = Field("none", description="of the learning rate, to zero at the last epoch")
    weight_decay: float = Field(0.0, ge=0, description="decoupled (AdamW)")
    clip_norm: float | None = Field(None, gt=0, description="largest gradient norm")
    validate_every: int = Field(1, ge=1, description="epochs between validations")
    patience: int = Field(5, ge=1, description="validations without a better metric before stopping")
    checkpoint_seconds: float = Field(120.0, ge=0, description="least time between two saved states")


class GraphSettings(Settings):
    """Stage 1, the graph encoder."""

    encoder: str = Field("lightgcn", description="a graph encoder of `glta plugins`")
    options: dict[str, Any] = Field({}, description="the encoder's own settings")
    loss: Literal["softmax", "bpr"] = Field("softmax", description="softmax needs far fewer epochs than bpr")
    temperature: float = Field(0.1, gt=0, description="of the softmax over cosine scores")
    softmax_items: int | None = Field(
        None, ge=2, description="items sampled for the softmax; null scores the whole catalogue"
    )
    regularization: float = Field(
        1e-4, ge=0, description="weight of the squared L2 norm of a bpr batch's layer-0 embeddings"
    )
    alignment_holdout: float = Field(
        0.2,
        ge=0,
        lt=1,
        description="share of training items hidden from the graph to be stage 3's targets; 0 shows all",
    )
    training: TrainingSettings = TrainingSettings(
        epochs=200, batch_size=2048, learning_rate=1e-2, validate_every=5, patience=6
    )


class LoraSettings(Settings):
    """Low-rank adapters on the language model, trained in stage 3 (Hu et al., ICLR 2022; through peft)."""

    rank: int = Field(8, ge=1, description="of every adapter")
    alpha: float = Field(16.0, gt=0, description="scale: alpha / rank")
    dropout: float = Field(0.0, ge=0, lt=1, description="on the adapter's input")
    modules: tuple[str, ...] | Literal["all-linear"] = Field("all-linear", description="names of adapted layers")


class BackboneSettings(Settings):
    """The language model."""

    name: str = Field("smollm2", description="a backbone of `glta plugins`")
    layers: int | None = Field(None, ge=1, description="early exit after this many layers; null runs all")
    weights: Literal["pretrained", "random"] = Field(
        "pretrained", description="random is the control: the same architecture, untrained"
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="auto: float32 on a CPU, bfloat16 on a GPU that has it"
    )
    device_map: str | None = Field(None, description="accelerate's placement over several devices, such as auto")
    quantization: Literal["none", "8bit", "4bit"] = Field("none", description="through bitsandbytes, GPU only")
    gradient_checkpointing: bool = Field(False, description="recompute activations to save memory")
    lora: LoraSettings | None = Field(None, description="adapters to train in stage 3; null keeps the model frozen")
    options: dict[str, Any] = Field({}, description="the backbone's own settings")


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
    """How the language model's view of an item's text becomes a vector."""

    tokens: int = Field(48, ge=4, description="an item's text is cut to this many tokens")
    layer: int | None = Field(
        None, ge=0, description="layer whose states are averaged; null takes the early exit or layer 8"
    )
    dimensions: int = Field(256, ge=1, description="principal directions kept by whitening")
    batch_size: int = Field(64, ge=1, description="texts a forward pass")


class AlignSettings(Settings):
    """Stage 2, item-text alignment."""

    enabled: bool = Field(True, description="false is the ablation w/o IA: stage 3 trains both projectors")
    labels: Literal["description_order", "item_order"] = Field(
        "description_order", description="position t predicts the item described, or standing, t-th"
    )
    least_items: int = Field(8, ge=1, description="fewest items a prompt")
    most_items: int = Field(12, ge=1, description="most items a prompt")
    description_tokens: int = Field(32, ge=4, description="a description is cut to this many tokens")
    prompts: int = Field(512, ge=1, description="training prompts an epoch")
    validation_prompts: int = Field(64, ge=1, description="prompts that select the epoch")
    training: TrainingSettings = TrainingSettings(
        epochs=3, batch_size=16, learning_rate=1e-3, warmup_steps=10, clip_norm=1.0
    )


class InterestSettings(Settings):
    """Profile and prediction: words the backbone generates about each user beforehand."""

    profile: bool = Field(True, description="false is the ablation w/o PF")
    prediction: bool = Field(True, description="false is the ablation w/o PD")
    words: int = Field(5, ge=1, description="tags or words asked for: k")
    items: int = Field(10, ge=1, description="training items described to the backbone")
    description_tokens: int = Field(24, ge=4, description="a description is cut to this many tokens")
    new_tokens: int = Field(24, ge=1, description="longest answer")
    batch_size: int = Field(16, ge=1, description="users generated for at once")


class FinetuneSettings(Settings):
    """Stage 3, user-item alignment and the GLLM head."""

    head: Literal["tied", "linear"] = Field(
        "tied", description="tied scores items by E_i and text vectors; linear is the paper's h × I layer"
    )
    loss: Literal["first", "positions"] = Field(
        "first", description="multi-positive softmax at the first position, or cross-entropy at k positions"
    )
    positions: int = Field(10, ge=1, description="k: target positions of loss and readout `positions`")
    readout: Literal["first", "positions", "autoregressive"] = Field("first", description="how logits become a list")
    softmax_items: int = Field(
        50_000, ge=2, description="largest catalogue scored whole; beyond it items are sampled, with logQ correction"
    )
    user_token: bool = Field(True, description="false is the ablation w/o UA: the user's id in words")
    context_items: int = Field(30, ge=0, description="item tokens a prompt, at most")
    target_share: float = Field(
        0.3, gt=0, lt=1, description="share of training items predicted, where no holdout fixes the targets"
    )
    fusion: bool = Field(True, description="add the graph encoder's scores, weighted on validation")
    training: TrainingSettings = TrainingSettings(
        epochs=5, batch_size=32, learning_rate=1e-3, warmup_steps=20, clip_norm=1.0, patience=2
    )


class EvaluateSettings(Settings):
    """What `glta evaluate` reports."""

    cutoffs: tuple[Annotated[int, Field(ge=1)], ...] = Field((5, 10, 20), min_length=1, description="K of the metrics")
    bootstrap: int = Field(1000, ge=0, description="resamples for the 95% intervals; 0 leaves them out")
    batch_size: int = Field(64, ge=1, description="prompts a forward pass")


class Recipe(Settings):
    """A whole run: six sections, one per stage, and the seed."""

    seed: int = Field(0, ge=0, description="of initialisation, sampling and prompts")
    dataset: DatasetSettings = DatasetSettings()
    graph: GraphSettings = GraphSettings()
    backbone: BackboneSettings = BackboneSettings()
    prompts: PromptSettings = PromptSettings()
    text: TextSettings = TextSettings()
    align: AlignSettings = AlignSettings()
    interests: InterestSettings = InterestSettings()
    finetune: FinetuneSettings = FinetuneSettings()
    evaluate: EvaluateSettings = EvaluateSettings()


# ------------------------------------------------------------------------------------ YAML with positions

Key = tuple[str | int, ...]


@dataclass(frozen=True)
class Position:
    """Where a key stands: file, and line and column counted from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with YAML 1.2's numbers and booleans: `1e-4` is a number, `on` is a word."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":bool", ":float", ":int", ":timestamp"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), list("tf"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?[0-9]+$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?$"),
    list("-+.0123456789"),
)


def _construct_float(loader: yaml.SafeLoader, node: yaml.Node) -> float:
    assert isinstance(node, yaml.ScalarNode)
    return float(node.value)


def _construct_int(loader: yaml.SafeLoader, node: yaml.Node) -> int:
    assert isinstance(node, yaml.ScalarNode)
    return int(node.value)


_Loader.add_constructor("tag:yaml.org,2002:float", _construct_float)
_Loader.add_constructor("tag:yaml.org,2002:int", _construct_int)


def read_yaml(text: str, file: str) -> tuple[dict[str, Any], dict[Key, Position]]:
    """Parse one YAML mapping and the position of each of its keys.

    Raises:
        InputErrors: no mapping, a duplicate key, or text that is no YAML, each with its position.
    """
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return {}, {}
        if not isinstance(node, yaml.MappingNode):
            raise InputErrors([InputError("a recipe is a mapping of keys to values", location=f"{file}:1:1")])
        positions: dict[Key, Position] = {}
        errors: list[GltaError] = []
        _collect_positions(node, (), file, positions, errors)
        if errors:
            raise InputErrors(errors)
        return loader.construct_document(node), positions
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = str(Position(file, mark.line + 1, mark.column + 1)) if mark else file
        raise InputErrors([InputError(f"not valid YAML: {error.problem}", location=place)]) from error
    finally:
        loader.dispose()


def _collect_positions(
    node: yaml.Node, path: Key, file: str, positions: dict[Key, Position], errors: list[GltaError]
) -> None:
    children: list[tuple[str | int, yaml.Node, yaml.Node]] = []
    if isinstance(node, yaml.MappingNode):
        children = [(str(key.value), key, value) for key, value in node.value]
    elif isinstance(node, yaml.SequenceNode):
        children = [(index, value, value) for index, value in enumerate(node.value)]
    for name, mark_node, child in children:
        key = (*path, name)
        position = Position(file, mark_node.start_mark.line + 1, mark_node.start_mark.column + 1)
        if key in positions:
            errors.append(
                InputError(
                    f"{'.'.join(map(str, key))}: the key stands twice",
                    location=str(position),
                    hint=f"the first is on line {positions[key].line}",
                )
            )
        positions[key] = position
        _collect_positions(child, key, file, positions, errors)


# -------------------------------------------------------------------------------- reading and overriding


@dataclass(frozen=True)
class LoadedRecipe:
    """A validated recipe, its name, and what it was read from."""

    name: str
    recipe: Recipe
    path: Path | None


def load_recipe(reference: str, overrides: Sequence[str] = ()) -> LoadedRecipe:
    """Read a recipe by path or shipped name and apply `key=value` overrides.

    Raises:
        InputError: no such recipe.
        InputErrors: everything wrong inside it, and in the overrides.
    """
    path = find_recipe(reference)
    values, positions = read_yaml(_read_text(path), str(path))
    for override in overrides:
        _apply_override(override, values, positions)
    return LoadedRecipe(recipe_name(path), validate_recipe(values, positions), path)


def recipe_from(values: Mapping[str, Any], overrides: Sequence[str] = ()) -> Recipe:
    """A recipe from plain values, such as those of a manifest, with overrides applied."""
    merged = dict(values)
    positions: dict[Key, Position] = {}
    for override in overrides:
        _apply_override(override, merged, positions)
    return validate_recipe(merged, positions)


def validate_recipe(values: Mapping[str, Any], positions: Mapping[Key, Position]) -> Recipe:
    """Check values against the schema and against the settings of the plugins they select."""
    recipe = _validate(Recipe, values, (), positions)
    errors: list[GltaError] = []
    if recipe.align.least_items > recipe.align.most_items:
        problem = f"align.least_items: {recipe.align.least_items} is more than align.most_items"
        errors.append(InputError(problem, location=_place(("align", "least_items"), positions)))
    for kind, name_key, options_key in COMPONENT_KEYS:
        try:
            component_options(recipe, kind, positions)
        except InputErrors as several:
            errors += several.errors
        except GltaError as error:
            location = _place(name_key, positions) if error.location is None else error.location
            errors.append(InputError(f"{'.'.join(name_key)}: {error.problem}", location=location, hint=error.hint))
    if errors:
        raise InputErrors(errors)
    return recipe


COMPONENT_KEYS: tuple[tuple[Kind, tuple[str, str], tuple[str, str]], ...] = (
    ("dataset", ("dataset", "name"), ("dataset", "options")),
    ("encoder", ("graph", "encoder"), ("graph", "options")),
    ("backbone", ("backbone", "name"), ("backbone", "options")),
)


def component_options(recipe: Recipe, kind: Kind, positions: Mapping[Key, Position] | None = None) -> BaseModel:
    """The validated own settings of the component a recipe selects for `kind`."""
    from glta_cli.registry import installed

    (_, (section, name_field), options_key) = next(row for row in COMPONENT_KEYS if row[0] == kind)
    settings = getattr(recipe, section)
    component = installed().find(kind, getattr(settings, name_field))
    return _validate(component.config(), settings.options, options_key, positions or {})


def recipe_folder() -> Path:
    """Where the shipped recipes lie: inside the installed package, or the repository of an editable install."""
    package = Path(__file__).parent
    inside = package / "recipes"
    return inside if inside.is_dir() else package.parent / "recipes"


def shipped_recipes() -> dict[str, Path]:
    """Every shipped recipe by name; nested ones as `folder/name`."""
    folder = recipe_folder()
    return {recipe_name(path): path for path in sorted(folder.rglob("*.yaml"))}


def recipe_name(path: Path) -> str:
    """The name of a recipe file: relative to the shipped folder, else its stem."""
    folder = recipe_folder().resolve()
    resolved = path.resolve()
    relative = resolved.relative_to(folder) if resolved.is_relative_to(folder) else Path(path.name)
    return relative.with_suffix("").as_posix()


def find_recipe(reference: str) -> Path:
    """A path as it is, or the file of a shipped name; raises `InputError` with the nearest name."""
    path = Path(reference)
    if path.is_file():
        return path
    shipped = shipped_recipes()
    if reference in shipped:
        return shipped[reference]
    # A checkout's path, such as recipes/quickstart.yaml, also works from an installed package.
    named = path.with_suffix("").as_posix().removeprefix("recipes/")
    if path.suffix == ".yaml" and named in shipped:
        return shipped[named]
    hint = did_you_mean(named, list(shipped)) or f"shipped recipes: {', '.join(shipped)}"
    raise InputError("no such recipe", location=reference, hint=hint)


def describe_first_line(path: Path) -> str:
    """The command a recipe starts with: its first line without the comment mark."""
    lines = _read_text(path).splitlines()
    return lines[0].lstrip("# ").strip() if lines else ""


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read: {error}", location=str(path)) from error


def _apply_override(override: str, values: dict[str, Any], positions: dict[Key, Position]) -> None:
    name, equals, text = override.partition("=")
    if not equals or not name:
        raise InputError("an override is KEY=VALUE", location=f"--set {override}", hint="such as --set seed=1")
    path = name.strip().split(".")
    parsed, _ = read_yaml(f"value: {text}", f"--set {override}")
    target = values
    for part in path[:-1]:
        if not isinstance(target.get(part), dict):
            target[part] = {}
        # Copied on the way down, so that values shared with a manifest stay as they were.
        target[part] = dict(target[part])
        target = target[part]
    target[path[-1]] = parsed["value"]
    positions[tuple(path)] = Position(f"--set {name}", 1, 1)


# ------------------------------------------------------------------------------------------------- errors


M = TypeVar("M", bound=BaseModel)


def _validate(
    model: type[M], values: Mapping[str, Any], prefix: Key, positions: Mapping[Key, Position]
) -> M:
    try:
        # YAML has lists only: strict mode would refuse them for tuples, JSON mode does not.
        return model.model_validate_json(json.dumps(values))
    except ValidationError as error:
        raise InputErrors([_explain(model, detail, prefix, positions) for detail in error.errors()]) from error


def _explain(
    model: type[BaseModel], detail: ErrorDetails, prefix: Key, positions: Mapping[Key, Position]
) -> InputError:
    path: Key = tuple(part for part in detail["loc"] if not _is_union_branch(part))
    dotted = ".".join(map(str, (*prefix, *path)))
    hint = None
    match detail["type"]:
        case "extra_forbidden":
            problem = f"{dotted}: unknown key"
            hint = did_you_mean(str(path[-1]), list(_fields_at(model, path[:-1])))
        case "literal_error":
            allowed = [str(value) for value in _literals_at(model, path)]
            problem = f"{dotted}: '{detail['input']}' is not one of {', '.join(allowed)}"
            hint = did_you_mean(str(detail["input"]), allowed)
        case _:
            message = detail["msg"][0].lower() + detail["msg"][1:]
            problem = f"{dotted}: {message}, not {detail['input']!r}"
    return InputError(problem, location=_place((*prefix, *path), positions), hint=hint)


def _is_union_branch(part: str | int) -> bool:
    """pydantic adds the branch of a union, such as `literal['a','b']`, to the location."""
    return isinstance(part, str) and ("[" in part or part in {"none", "str", "int", "float"})


def _place(path: Key, positions: Mapping[Key, Position]) -> str | None:
    """The position of the key, or of the nearest one above it that the file holds."""
    for length in range(len(path), 0, -1):
        found = positions.get(path[:length])
        if found:
            return found.file if found.file.startswith("--set") else str(found)
    return None


def _fields_at(model: type[BaseModel], path: Key) -> Mapping[str, Any]:
    for part in path:
        field = model.model_fields[str(part)]
        nested = [a for a in (field.annotation, *get_args(field.annotation)) if _is_model(a)]
        if not nested:
            return {}
        model = nested[0]
    return model.model_fields


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _literals_at(model: type[BaseModel], path: Key) -> list[Any]:
    annotation = _fields_at(model, path[:-1])[str(path[-1])].annotation
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [value for part in get_args(annotation) if get_origin(part) is Literal for value in get_args(part)]
