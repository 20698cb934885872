"""A row is asked for by its name; of the language model answers show another one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from glta_cli.core.errors import InputError
from glta_cli.recipe.fused_terms import LANGUAGE
from glta_cli.serving import rows


def test_the_model_by_which_answers_are_headed_leads_to_its_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "rows_held", lambda _: {"glta": None, "glta-llm": None})
    index: Any = SimpleNamespace(
        terms=(LANGUAGE,), artefact=SimpleNamespace(manifest={"details": {"backbone": "smollm2"}})
    )
    with pytest.raises(InputError) as refused:
        rows.row_called(index, "smollm2")
    assert refused.value.hint == "the language model's is glta-llm; there are glta, glta-llm"
    with pytest.raises(InputError) as misspelt:
        rows.row_called(index, "glta-lm")
    assert misspelt.value.hint == "did you mean 'glta-llm'? there are glta, glta-llm"
