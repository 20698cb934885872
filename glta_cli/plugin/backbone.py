"""Language models (stages 2 and 3): where they come from, and what a loaded one has to offer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import torch
    from pydantic import BaseModel
    from torch import Tensor

    from glta_cli.plugin.settings import BackboneSettings


class LanguageModel(Protocol):
    """A loaded causal language model, frozen except for adapters its settings ask for.

    Projected graph tokens start at the root mean square of its own token embeddings. One that reads no text has none
    to compare with, and an attribute `token_rms`, positive, in their place. One whose tokenizer knows special tokens
    beyond its embedding says by an attribute `vocabulary` how many ids, from 0, it has embeddings of. One whose weights
    several processes hold together has a true attribute `sharded`: every process then runs it as often as every other.

    Example:
        import torch

        from glta_backbones.settings import TinyOptions
        from glta_backbones.tiny import Tiny
        from glta_cli.plugin import BackboneSettings

        language_model = Tiny("tiny", BackboneSettings(name="tiny"), TinyOptions()).load(torch.device("cpu"))
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
        import torch

        from glta_backbones.byte_tokenizer import byte_tokenizer

        class CountedBytes:
            hidden_size = 258

            def __init__(self):
                self.tokenizer = byte_tokenizer()
                self.module = torch.nn.Embedding.from_pretrained(torch.eye(258))

            def token_ids(self, texts, most):
                return [self.tokenizer.encode(text or " ")[:most] for text in texts]

            def sentence_vectors(self, token_ids, attention_mask):
                return (self.module(token_ids) * attention_mask[:, :, None]).sum(1)

        encoder = CountedBytes()
        token_ids = torch.tensor(encoder.token_ids(["a film", "a book"], 48))  # [2, 6]
        vectors = encoder.sentence_vectors(token_ids, torch.ones_like(token_ids))
        assert vectors.shape == (2, encoder.hidden_size)
        assert vectors.sum(1).tolist() == [6, 6]
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
