"""The tokens a language model is tried on, and the states it gives them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from glta_cli.language.prompts import encode
from glta_cli.plugin import LanguageModel
from glta_cli.testing.backbone_promises.source import TEXT, Source

ROWS, LENGTH = 3, 12


@dataclass(frozen=True)
class Sample:
    """Three pieces of one text or, for a model that reads none, three rows of graph tokens.

    Attributes:
        ids: [B, L], int64.
        inputs: their embeddings, or those of graph tokens in their places, [B, L, h].
        mask: [B, L], all ones.
    """

    ids: Tensor
    inputs: Tensor
    mask: Tensor


def drawn_sample(source: Source, model: LanguageModel, device: torch.device) -> Sample:
    """Rows of the text, each begun a token after the one before."""
    ids = encode(model.tokenizer, TEXT)
    while len(ids) < ROWS + LENGTH:
        ids = ids + ids
    rows = torch.tensor([ids[row : row + LENGTH] for row in range(ROWS)], device=device)
    with torch.no_grad():
        inputs = model.embed(rows).detach()
    if not source.reads_text:
        # Words would leave every state the same.
        generator = torch.Generator().manual_seed(2)
        inputs = inputs + torch.randn(inputs.shape, generator=generator).to(inputs)
    return Sample(rows, inputs, torch.ones_like(rows))


def padded_rows(sample: Sample, side: str) -> tuple[Tensor, Tensor]:
    """The first L - 2b tokens of row b, on one side other tokens as padding: embeddings [B, L, h], mask [B, L]."""
    inputs, mask = sample.inputs.flip(1), sample.mask.clone()
    for row in range(ROWS):
        real = LENGTH - 2 * row
        places = slice(LENGTH - real, None) if side == "left" else slice(0, real)
        mask[row] = 0
        mask[row, places] = 1
        inputs[row, places] = sample.inputs[row, :real]
    return inputs, mask


def states_of(model: LanguageModel, inputs: Tensor, mask: Tensor | None = None, prefix: Any = None) -> Tensor:
    """[B, L, h] -> [B, L, h], in evaluation mode and without gradients."""
    if mask is None:
        mask = torch.ones(inputs.shape[:2], dtype=torch.int64, device=inputs.device)
    model.module.eval()
    with torch.no_grad():
        return model.hidden(inputs, mask, prefix)
