"""What a language model promises of `prefix()` and `extend()`: the states of prompts run whole."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from glta_cli.plugin import LanguageModel
from glta_cli.testing.agreement import assert_same
from glta_cli.testing.backbone_promises.gradients import assert_gradient, loss_of
from glta_cli.testing.backbone_promises.sample import ROWS, drawn_sample, states_of
from glta_cli.testing.backbone_promises.source import Source
from glta_cli.testing.contract import Contract

PREFIX, CONTEXT = 4, 5  # tokens of a prompt that are its prefix, and that extend it


def prefix_promises(contract: Contract, source: Source, model: LanguageModel, device: torch.device) -> None:
    """What follows a prefix has the states it has in a whole prompt; None for a prefix is fine."""
    sample = drawn_sample(source, model, device)
    ids, inputs = sample.ids, sample.inputs.clone()
    # All rows begin with the tokens of the first, which are words: nothing else is common to all prompts.
    with torch.no_grad():
        inputs[:, :PREFIX] = model.embed(ids[0, :PREFIX])
    whole = states_of(model, inputs)
    prefix = None
    with contract.promise("prefix() gives None or what hidden() continues: the states equal those of whole prompts"):
        with torch.no_grad():
            prefix = model.prefix(ids[0, :PREFIX])
        if prefix is not None:
            assert_same(states_of(model, inputs[:, PREFIX:], prefix=prefix), whole[:, PREFIX:])
    if prefix is None:
        return
    with contract.promise("a prefix is not used up: it is computed once for all batches"):
        again = states_of(model, inputs[:1, PREFIX:], prefix=prefix)
        assert_same(again, whole[:1, PREFIX:], "states of a second batch")
    with contract.promise("after a prefix, padding on the right changes no state of a real token"):
        mask = sample.mask[:, PREFIX:].clone()
        mask[1, -3:] = 0
        padded = torch.where(mask[..., None] == 1, inputs[:, PREFIX:], inputs[:, :1])
        found = states_of(model, padded, mask, prefix)
        assert_same(found[mask == 1], whole[:, PREFIX:][mask == 1])
    with contract.promise(
        "extend() continues a prefix by tokens, padded on the right, that hidden() continues in turn"
    ):
        _check_extended(model, inputs, prefix)
    with contract.promise("a prefix made in inference mode serves a backward pass later"):
        with torch.inference_mode():
            kept = model.prefix(ids[0, :PREFIX].clone())
        after = inputs[:, PREFIX:].clone().requires_grad_(True)
        loss_of(model.hidden(after, sample.mask[:, PREFIX:], kept)).backward()
        assert_gradient(after)


def _check_extended(model: LanguageModel, inputs: Tensor, prefix: Any) -> None:
    """Row b of the extension lacks b tokens: prefix, context and rest are compared with the row run whole."""
    end = PREFIX + CONTEXT
    mask = torch.ones(ROWS, CONTEXT, dtype=torch.int64, device=inputs.device)
    for row in range(ROWS):
        mask[row, CONTEXT - row :] = 0
    context = torch.where(mask[..., None] == 1, inputs[:, PREFIX:end], inputs[:, :1])
    with torch.no_grad():
        extended = model.extend(prefix, context, mask)
    found = states_of(model, inputs[:, end:], prefix=extended)
    for row in range(ROWS):
        alone = torch.cat([inputs[row, : end - row], inputs[row, end:]])[None]
        assert_same(found[row], states_of(model, alone)[0, end - row :])
