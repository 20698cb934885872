"""What a token takes in a language model, told without building it where its plugin says how large it is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from glta_cli.core.errors import InputError
from glta_cli.language.counted_model import counted_model
from glta_cli.language.model_work import ModelWork, model_work
from glta_cli.plugin.registry import installed
from glta_cli.recipe.files import recipe_from


@pytest.mark.parametrize(("layers", "full_depth"), [(None, False), (4, False), (30, False), (4, True)])
def test_what_a_plugin_says_of_its_model_is_what_the_model_has(layers: int | None, full_depth: bool) -> None:
    recipe = recipe_from({"dataset": {"name": "movielens-100k"}, "backbone": {"name": "smollm2", "layers": layers}})
    counted = ModelWork(*counted_model(recipe, None if full_depth else layers))
    assert model_work(recipe, full_depth=full_depth) == counted
    size = installed().find("backbone", "smollm2").size(recipe.backbone, None)
    assert size is not None
    assert size.layers == 30


def test_a_model_that_is_not_told_of_is_counted() -> None:
    tiny = recipe_from({"dataset": {"name": "movielens-100k"}, "backbone": {"name": "tiny"}})
    component = installed().find("backbone", "tiny")
    assert replace(component.declaration, size=None) == component.declaration
    assert model_work(tiny) == ModelWork(*counted_model(tiny, None))
    assert model_work(tiny).layers > 0


def test_more_layers_than_there_are_is_an_error_as_elsewhere() -> None:
    recipe = recipe_from({"dataset": {"name": "movielens-100k"}, "backbone": {"name": "smollm2", "layers": 99}})
    with pytest.raises(InputError, match="99 layers are asked for, the model has 30"):
        model_work(recipe)
