"""What a run will ask of a language model, known before any of its stages runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from glta_cli.plugin.backbone import Backbone


@dataclass(frozen=True)
class LongPrompt:
    """The longest prompt, or item text, a stage makes.

    Attributes:
        stage: that makes it.
        tokens: its length, and what is generated behind it.
        settings: keys of the recipe with which it gets shorter.
    """

    stage: str
    tokens: int
    settings: tuple[str, ...]


@dataclass(frozen=True)
class Demand:
    """What the stages of a run will ask of a backbone.

    Attributes:
        longer_than: tokenizer and a number of tokens -> the prompts that get longer than that; None for the number
            asks for none. Writes each wording once, so it raises `InputError` where one cannot be used.
        writes: whether the model has to write words.

    Example:
        from glta_backbones.byte_tokenizer import byte_tokenizer

        from glta_cli.plugin import Demand, LongPrompt

        def longer_than(tokenizer, most):
            tokens = len(tokenizer.encode("Choose films."))
            return [LongPrompt("finetune", tokens, ("finetune.context_items",))] if most and tokens > most else []

        demand = Demand(longer_than, writes=False)
        assert [prompt.tokens for prompt in demand.longer_than(byte_tokenizer(), 8)] == [13]
        assert not demand.longer_than(byte_tokenizer(), None)
    """

    longer_than: Callable[[Any, int | None], Sequence[LongPrompt]]
    writes: bool


@runtime_checkable
class CheckedBackbone(Backbone, Protocol):
    """A backbone that can tell before it is loaded whether it will do what a run asks; having this is optional.

    Asked before the first stage of a run, of which some take hours before the model is loaded.

    Example:
        from glta_backbones.settings import TinyOptions
        from glta_backbones.tiny import Tiny
        from glta_cli.plugin import BackboneSettings, CheckedBackbone, Demand

        tiny = Tiny("tiny", BackboneSettings(name="tiny"), TinyOptions())
        assert isinstance(tiny, CheckedBackbone)
        tiny.check_demand(Demand(lambda tokenizer, most: [], writes=True))
    """

    def check_demand(self, demand: Demand) -> None:
        """Look at configuration, tokenizer and names of the weights, and load none of them.

        Raises:
            GltaError: the model cannot be loaded, or not do what is asked of it; the hint says what to change.
        """
        ...
