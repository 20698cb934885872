"""What a language model promises of `backbone.layers`: states of an early layer, or a refusal."""

from __future__ import annotations

import gc

import torch

from glta_cli.core.errors import GltaError
from glta_cli.testing.agreement import assert_other, assert_same
from glta_cli.testing.backbone_promises.sample import drawn_sample, states_of
from glta_cli.testing.backbone_promises.source import Source
from glta_cli.testing.contract import Contract


def exit_promises(contract: Contract, source: Source, device: torch.device) -> None:
    """An early exit is heeded or refused, and `full_depth` undoes it."""
    with contract.promise("load() at full depth works", decisive=True):
        whole = source.made(layers=None).load(device)
        sample = drawn_sample(source, whole, device)
        expected = states_of(whole, sample.inputs)
    with contract.promise("early exit: `backbone.layers: 1` gives other states of the same shape, or is refused"):
        try:
            early = source.made(layers=1).load(device)
        except GltaError:
            return
        found = states_of(early, sample.inputs)
        assert early.hidden_size == whole.hidden_size, f"hidden_size {early.hidden_size}, not {whole.hidden_size}"
        assert found.shape == expected.shape, f"shape {list(found.shape)}, not {list(expected.shape)}"
        if source.made().architecture().get_text_config().num_hidden_layers > 1:
            assert_other(found, expected, "the states are those of full depth")
    del whole
    gc.collect()  # a whole model may be large
    with contract.promise("early exit: load(full_depth=True) ignores `backbone.layers`"):
        deep = source.made(layers=1).load(device, full_depth=True)
        assert_same(states_of(deep, sample.inputs), expected)
