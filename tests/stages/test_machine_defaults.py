"""What a recipe leaves to the machine: settled once by the device, said, and stored; what it says itself stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from glta_cli.recipe.files import load_recipe, recipe_from, shipped_recipes, stored_recipe
from glta_cli.recipe.variants import variant_of
from glta_cli.stages import machine_defaults
from glta_cli.stages.machine_defaults import Fitted, fitted

DEEP = {
    "name": "huggingface",
    "options": {
        "model": "none/such",
        "architecture": {
            "model_type": "llama",
            "vocab_size": 100,
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 12,
            "num_attention_heads": 2,
        },
    },
}
ALL = "--set backbone.layers=null --set interests.profile=true --set interests.prediction=true"


@pytest.fixture
def fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Load a recipe file of these values, and fit it to a machine with a GPU or without."""

    def run(values: dict[str, Any], *overrides: str, gpu: bool = False) -> Fitted:
        path = tmp_path / "own.yaml"
        path.write_text(yaml.safe_dump(values))
        monkeypatch.setattr(machine_defaults, "has_gpu", lambda device: gpu)
        loaded = load_recipe(str(path), overrides)
        return fitted(loaded.recipe, loaded.automatic)

    return run


def decided(found: Fitted) -> tuple[int | None, bool, bool]:
    interests = found.recipe.interests
    return found.recipe.backbone.layers, interests.profile, interests.prediction


@pytest.mark.parametrize("overrides", [(), ("backbone.layers=auto", "interests.profile=auto")])
def test_without_a_gpu_few_layers_run_and_no_words_are_written(fit, overrides: tuple[str, ...]) -> None:
    found = fit({"backbone": DEEP}, *overrides)
    assert decided(found) == (4, False, False)
    assert found.told == f"no GPU: 4 of 12 layers and no generated words; to have all: {ALL}"


def test_on_a_gpu_all_is_taken_without_a_word(fit) -> None:
    found = fit({"backbone": DEEP}, gpu=True)
    assert (decided(found), found.told) == ((None, True, True), None)


def test_what_a_recipe_says_stays_whatever_the_machine(fit) -> None:
    said = {"backbone": {**DEEP, "layers": None}, "interests": {"profile": True, "prediction": False}}
    assert fit(said) == Fitted(fit(said, gpu=True).recipe, None)
    assert decided(fit(said)) == (None, True, False)
    assert decided(fit({"backbone": DEEP}, "backbone.layers=7", "interests.profile=true")) == (7, True, False)
    assert "backbone.layers" not in fit({"backbone": DEEP}, "backbone.layers=7").told


def test_a_shallow_model_runs_whole_and_one_that_reads_nothing_has_no_layers(fit) -> None:
    tiny = fit({"backbone": {"name": "tiny"}})
    assert decided(tiny) == (None, False, False)
    assert "layers" not in tiny.told
    no_words = {"interests": {"profile": False, "prediction": False}}
    wordless = {"backbone": {"name": "none"}, "text": {"vectors": False}, "align": {"enabled": False}, **no_words}
    for gpu in (False, True):
        assert fit(wordless, gpu=gpu).told is None
        assert decided(fit(wordless, gpu=gpu)) == (None, False, False)


def test_adapters_have_the_layers_they_are_for(fit) -> None:
    assert fit({"backbone": {**DEEP, "lora": {"layers": 6}}}).recipe.backbone.layers == 6
    assert fit({"backbone": {**DEEP, "lora": {}}}).recipe.backbone.layers == 4


def test_a_recipe_that_stops_after_the_encoder_is_what_it_was(fit) -> None:
    values = {"finetune": {"enabled": False}}
    assert fit(values) == fit(values, gpu=True) == Fitted(recipe_from(values), None)


def test_shipped_recipes_are_the_same_on_every_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    names = list(shipped_recipes())
    assert len(names) == 16
    for name in names:
        loaded = load_recipe(name)
        found = []
        for gpu in (False, True):
            monkeypatch.setattr(machine_defaults, "has_gpu", lambda device, gpu=gpu: gpu)
            found.append(fitted(loaded.recipe, loaded.automatic))
        assert found[0] == found[1], name


def test_what_a_run_stored_is_taken_as_it_is_unless_auto_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    values = recipe_from({"backbone": DEEP}).model_dump(mode="json")
    stored = stored_recipe("earlier", values)
    assert stored.automatic == frozenset()
    assert decided(Fitted(stored.recipe, None)) == (None, True, True)
    monkeypatch.setattr(machine_defaults, "has_gpu", lambda device: False)
    asked = stored_recipe("earlier", values, ["backbone.layers=auto"])
    assert decided(fitted(asked.recipe, asked.automatic)) == (4, True, True)


def test_variants_follow_the_recipe_as_it_was_fitted(fit) -> None:
    recipe = fit({"backbone": DEEP}).recipe
    for name, layers in (("random-weights", 4), ("projector-only", None), ("wo-ia", 4)):
        assert variant_of(recipe, recipe.evaluate.variants[name]).backbone.layers == layers
