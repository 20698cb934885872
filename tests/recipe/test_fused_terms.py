"""Which terms a recipe has, as it says it, leaves it open, or was stored before there was a choice."""

from __future__ import annotations

from typing import Any

import pytest

from glta_cli.core.errors import InputErrors
from glta_cli.recipe.files import recipe_from
from glta_cli.recipe.fused_terms import linear_names, stored_terms, terms_of
from glta_cli.recipe.text_switches import without_defaults
from glta_cli.workspace.run import Run
from glta_cli.workspace.stored_recipe import changed_from_defaults


@pytest.mark.parametrize(
    ("overrides", "terms", "named"),
    [
        ([], ("linear", "encoder", "llm"), None),
        (["finetune.enabled=false"], ("linear", "encoder"), None),
        (["finetune.fusion=false"], ("llm",), ()),
        (["finetune.enabled=false", "finetune.fusion=false"], ("encoder",), ()),
        (["finetune.enabled=false", "graph.refit=true"], ("encoder",), ()),
        (["fusion.terms=[encoder, llm]"], ("encoder", "llm"), ()),
        (["fusion.terms=[encoder, llm]", "finetune.fusion=false"], ("llm",), ()),
        (["fusion.terms=[encoder, llm]", "finetune.enabled=false"], ("encoder",), ()),
        (["fusion.terms=[encoder, llm]", "finetune.enabled=false", "graph.refit=true"], ("encoder",), ()),
        (["fusion.terms=[llm, ease, item-knn]"], ("linear", "llm"), ("ease", "item-knn")),
        (["fusion.terms=[ease-text]"], ("linear",), ("ease-text",)),
    ],
)
def test_terms_are_those_the_recipe_says(overrides: list[str], terms: tuple[str, ...], named: Any) -> None:
    recipe = recipe_from({}, overrides)
    assert terms_of(recipe) == terms
    assert linear_names(recipe) == named
    # Whoever looks at the stored run alone sees the same.
    assert stored_terms(recipe.model_dump(mode="json")) == terms


@pytest.mark.parametrize(
    ("overrides", "said", "hint"),
    [
        (["fusion.terms=[eas-text]"], "fusion.terms: there is no baseline 'eas-text'", "did you mean 'ease-text'?"),
        (["fusion.terms=[encodr]"], "fusion.terms: there is no baseline 'encodr'", "did you mean 'encoder'?"),
        (["fusion.terms=[zz]"], "fusion.terms: there is no baseline 'zz'", "`glta plugins` lists the baselines"),
        (
            ["fusion.terms=[sasrec]"],
            "'sasrec' is an encoder, whose term is called encoder",
            "--set graph.encoder=sasrec, and write `encoder` in its place",
        ),
        (["fusion.terms=[lightgcn]"], "'lightgcn' is an encoder, whose term is called encoder", "write `encoder`"),
        (
            ["fusion.terms=[ease, tiny]"],
            "'tiny' is a language model, whose term is called llm",
            "--set backbone.name=tiny, and write `llm` in its place",
        ),
        (["fusion.terms=[3]"], "fusion.terms.0: has to be a valid string, not 3", "such as fusion.terms=[NAME]"),
        (["fusion.terms=[[ease]]"], 'has to be a valid string, not ["ease"]', "such as fusion.terms=[ease]"),
        (["fusion.terms=[{ease: {regularization: 3}}]"], "has to be a valid string", "such as fusion.terms=[ease]"),
        (["fusion.terms=[llm, llm]"], "fusion.terms: 'llm' stands there twice", ""),
        (["fusion.terms=[]"], "fusion.terms: has to hold at least 1 item, not 0", ""),
        (["fusion.terms=all"], "fusion.terms: has to be 'auto' or a list, not 'all'", ""),
        (
            ["fusion.terms=[llm]", "finetune.enabled=false"],
            "llm is no term of a recipe that trains no language model",
            "set finetune.enabled=true",
        ),
        (
            ["fusion.terms=[ease, llm]", "finetune.fusion=false"],
            "finetune.fusion is false, so that the language model ranks alone",
            "set finetune.fusion=true",
        ),
        (
            ["fusion.terms=[ease, encoder]", "graph.refit=true", "finetune.enabled=false"],
            "weights are chosen on validation, which a refitted encoder has seen",
            "set fusion.terms=[encoder]",
        ),
    ],
)
def test_terms_that_cannot_be_are_refused_with_their_place(overrides: list[str], said: str, hint: str) -> None:
    with pytest.raises(InputErrors) as caught:
        recipe_from({}, overrides)
    [error] = caught.value.errors
    assert said in error.problem
    assert hint in (error.hint or "")
    assert error.location == "--set fusion.terms"


def test_a_run_stored_before_there_was_a_choice_says_what_it_had() -> None:
    whole = recipe_from({}).model_dump(mode="json", exclude={"fusion"})
    alone = {**whole, "finetune": {**whole["finetune"], "enabled": False}}
    unfused = {**whole, "finetune": {**whole["finetune"], "fusion": False}}
    for recipe, terms, last in (
        (whole, ("encoder", "llm"), "index"),
        (alone, ("encoder",), "pretrain-graph"),
        (unfused, ("llm",), "index"),
    ):
        run = Run.from_stored({"name": "old", "recipe": recipe, "stages": {}})
        assert stored_terms(run.recipe) == terms_of(recipe_from(without_defaults(run.recipe))) == terms
        assert run.last_stage == last
        assert changed_from_defaults(run.recipe)["fusion.terms"] == ["encoder", "llm"]
    before = Run.from_stored({"name": "old", "recipe": whole, "stages": {}, "before": {"recipe": alone, "stages": {}}})
    assert before.last_finished is not None
    assert stored_terms(before.last_finished.recipe) == ("encoder",)
