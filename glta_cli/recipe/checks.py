"""What a recipe has to satisfy beyond its file: the schema, the settings of its plugins, and both together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from glta_cli.core.errors import GltaError, InputError, InputErrors, did_you_mean
from glta_cli.recipe.fused_terms import AUTO, ENCODER, ENCODER_AND_LANGUAGE, LANGUAGE, terms_of
from glta_cli.recipe.limits import MOST_ERRORS_TOLD, cut, in_file_order
from glta_cli.recipe.positioned_yaml import Key, Position
from glta_cli.recipe.schema import Recipe
from glta_cli.recipe.selection import reads_text, selection_errors, selections
from glta_cli.recipe.text_switches import mark_given
from glta_cli.recipe.validation import place, validated

if TYPE_CHECKING:
    from glta_cli.plugin import Kind

# Of the settings that have a language model read texts, those that are no switch, and what they are without.
SWITCHED_OFF = {"finetune.item_tokens": "graph"}


def validate_recipe(values: Mapping[str, Any], positions: Mapping[Key, Position]) -> Recipe:
    """Check values against the schema and against the settings of the plugins they select."""
    from glta_cli.plugin.registry import installed

    installed()  # what is wrong with the plugins as a whole is no error of a setting
    errors: list[GltaError] = []
    recipe = None
    try:
        recipe = validated(Recipe, values, (), positions)
        mark_given(recipe, values)
    except InputErrors as several:
        errors += several.errors
    # From the values: a plugin's settings are checked even where the schema found errors.
    for selection in selections(values):
        errors += selection_errors(selection, positions)
        if len(errors) > MOST_ERRORS_TOLD:
            break
    if recipe is not None:
        errors += _contradictions(recipe, positions)
    if recipe is None or errors:
        raise InputErrors(in_file_order(errors))
    return recipe


def _contradictions(recipe: Recipe, positions: Mapping[Key, Position]) -> list[GltaError]:
    """Settings that are right one by one and wrong together."""
    found: list[GltaError] = []
    align, finetune = recipe.align, recipe.finetune
    if align.least_items > align.most_items:
        problem = f"align.least_items: {align.least_items} is more than align.most_items, {align.most_items}"
        found.append(InputError(problem, location=place(("align", "least_items"), positions)))
    if finetune.readout == "positions" and finetune.loss == "first":
        problem = "finetune.readout: rows 2 to k would come from positions that were never trained"
        location = place(("finetune", "readout"), positions)
        found.append(InputError(problem, location=location, hint="set finetune.loss=positions"))
    if finetune.shuffled_users and not finetune.user_token:
        problem = "finetune.shuffled_users: without user tokens there are none to shuffle"
        location = place(("finetune", "shuffled_users"), positions)
        found.append(InputError(problem, location=location, hint="set finetune.user_token=true"))
    if finetune.shard_catalogue and finetune.head != "linear":
        problem = "finetune.shard_catalogue: the tied head trains no row of an item, which could be dealt out"
        location = place(("finetune", "shard_catalogue"), positions)
        found.append(InputError(problem, location=location, hint="leave it out, or set finetune.head=linear"))
    found += _contradictions_of_folds(recipe, positions)
    words = words_used(recipe)
    if words and not _reads_text(recipe):
        problem = f"backbone.name: {recipe.backbone.name} reads no text, which {', '.join(words)} would have it do"
        hint = "switch it off: " + " ".join(f"--set {key}={SWITCHED_OFF.get(key, 'false')}" for key in words)
        found.append(InputError(problem, location=place(("backbone", "name"), positions), hint=hint))
    if not _reads_text(recipe):
        for key in ("layers", "lora"):
            if getattr(recipe.backbone, key) is not None:
                problem = f"backbone.{key}: {recipe.backbone.name} is no language model, so it has no layers"
                location = place(("backbone", key), positions)
                found.append(InputError(problem, location=location, hint=f"leave it out: --set backbone.{key}=null"))
    if recipe.text.options and recipe.text.backbone is None:
        problem = "text.options: there is no text.backbone whose settings they are"
        hint = "the language model's own stand in backbone.options"
        found.append(InputError(problem, location=place(("text", "options"), positions), hint=hint))
    graph = recipe.graph
    if graph.softmax_sampling != "uniform" and (graph.softmax_items is None or graph.loss != "softmax"):
        problem = "graph.softmax_sampling: nothing is sampled"
        location = place(("graph", "softmax_sampling"), positions)
        hint = "set graph.softmax_items=4096 and graph.loss=softmax, or leave it out"
        found.append(InputError(problem, location=location, hint=hint))
    if recipe.graph.refit and finetune.enabled:
        problem = "graph.refit: fusion weights are chosen on validation, which a refitted encoder has seen"
        location = place(("graph", "refit"), positions)
        found.append(
            InputError(problem, location=location, hint="set finetune.enabled=false, or leave out graph.refit")
        )
    if recipe.graph.refit and finetune.refit and not finetune.enabled:
        problem = "graph.refit: finetune.refit trains the encoder again too, on everything known"
        location = place(("graph", "refit"), positions)
        found.append(InputError(problem, location=location, hint="set one of the two to false"))
    if recipe.graph.refit and recipe.dataset.split.hides:
        hidden = recipe.dataset.split.hides
        problem = f"graph.refit: it would train on the {hidden} that dataset.split.strategy hides to choose by"
        location = place(("graph", "refit"), positions)
        found.append(
            InputError(problem, location=location, hint="leave out graph.refit, or set dataset.split.strategy=ratio")
        )
    return [*found, *_contradictions_of_samples(recipe, positions), *_wrong_terms(recipe, positions)]


def _contradictions_of_samples(recipe: Recipe, positions: Mapping[Key, Position]) -> list[GltaError]:
    graph = recipe.graph
    if graph.neighbours is None:
        return []
    location = place(("graph", "neighbours"), positions)
    if 0 in graph.neighbours:
        problem = "graph.neighbours: a hop of 0 neighbours ends there"
        return [InputError(problem, location=location, hint="give fewer numbers, or -1 for all neighbours of a hop")]
    if graph.loss == "softmax" and graph.softmax_items is None:
        problem = "graph.neighbours: a softmax over the whole catalogue needs the vector of every item in each step"
        hint = "sample it too: --set graph.softmax_items=1000, or set graph.loss=bpr"
        return [InputError(problem, location=location, hint=hint)]
    return []


def _wrong_terms(recipe: Recipe, positions: Mapping[Key, Position]) -> list[GltaError]:
    """What is wrong with the terms a recipe names, one by one and beside its other settings."""
    terms, finetune = recipe.fusion.terms, recipe.finetune
    if terms == AUTO:
        return []
    found: list[GltaError] = []

    def wrong(problem: str, hint: str | None, *key: str | int) -> None:
        where = place(("fusion", "terms", *key), positions)
        found.append(InputError(f"fusion.terms: {problem}", location=where, hint=hint))

    for number, term in enumerate(terms):
        if term in terms[:number]:
            wrong(f"'{cut(term)}' stands there twice", None, number)
        elif term not in ENCODER_AND_LANGUAGE and not _names(term, "baseline"):
            wrong(*_no_baseline(term, recipe), number)
    if LANGUAGE in terms and not finetune.enabled and set(terms) != set(ENCODER_AND_LANGUAGE):
        wrong("llm is no term of a recipe that trains no language model", "set finetune.enabled=true, or leave it out")
    if not finetune.fusion and finetune.enabled and not {LANGUAGE} <= set(terms) <= set(ENCODER_AND_LANGUAGE):
        wrong("finetune.fusion is false, so that the language model ranks alone", "set finetune.fusion=true")
    if recipe.graph.refit and not finetune.enabled and terms_of(recipe) != (ENCODER,):
        hint = "set fusion.terms=[encoder], or leave out graph.refit"
        wrong("weights are chosen on validation, which a refitted encoder has seen", hint)
    return found


def _no_baseline(term: str, recipe: Recipe) -> tuple[str, str]:
    """Why what is named is no term, and what to do; encoders and language models are terms by what they do."""
    from glta_cli.plugin.registry import installed

    if _names(term, "encoder"):
        chosen = "" if recipe.graph.encoder == term else f"--set graph.encoder={term}, and "
        return f"'{cut(term)}' is an encoder, whose term is called encoder", f"{chosen}write `encoder` in its place"
    if _names(term, "backbone"):
        chosen = "" if recipe.backbone.name == term else f"--set backbone.name={term}, and "
        return f"'{cut(term)}' is a language model, whose term is called llm", f"{chosen}write `llm` in its place"
    baselines = [each.name for each in installed().of_kind("baseline")]
    listed = "`glta plugins` lists the baselines; beside them there are `encoder` and `llm`"
    return f"there is no baseline '{cut(term)}'", did_you_mean(term, [*ENCODER_AND_LANGUAGE, *baselines]) or listed


def _names(term: str, kind: Kind) -> bool:
    """Whether a component of a kind is called so."""
    from glta_cli.plugin.registry import installed

    return any(each.name == term for each in installed().of_kind(kind))


def _contradictions_of_folds(recipe: Recipe, positions: Mapping[Key, Position]) -> list[GltaError]:
    if recipe.finetune.targets != "folds":
        return []
    location = place(("finetune", "targets"), positions)
    if recipe.graph.alignment_holdout == 0:
        problem = "finetune.targets: folds are hidden from graph encoders of their own, and nothing is to be hidden"
        return [InputError(problem, location=location, hint="set graph.alignment_holdout=0.2 for five folds")]
    written = [key for key in ("profile", "prediction") if getattr(recipe.interests, key)]
    if not written:
        return []
    problem = "finetune.targets: words about a user are written once, of items that are targets in one fold or another"
    hint = "switch them off: " + " ".join(f"--set interests.{key}=false" for key in written)
    return [InputError(problem, location=location, hint=hint)]


def words_used(recipe: Recipe) -> list[str]:
    """The switches that have the language model read or write words about items."""
    used = {
        "text.vectors": recipe.finetune.head == "tied" and recipe.text.vectors and recipe.text.backbone is None,
        "finetune.item_tokens": recipe.finetune.item_tokens != "graph" and recipe.text.backbone is None,
        "align.enabled": recipe.align.enabled,
        "interests.profile": recipe.interests.profile,
        "interests.prediction": recipe.interests.prediction,
    }
    return [key for key, is_used in used.items() if is_used]


def _reads_text(recipe: Recipe) -> bool:
    try:
        return reads_text(recipe)
    except GltaError:
        return True  # there is no such backbone, which is said elsewhere
