"""What a language model promises of the states that `hidden()` gives."""

from __future__ import annotations

import torch

from glta_cli.plugin import LanguageModel
from glta_cli.testing.agreement import TOLERANCES, assert_other, assert_same
from glta_cli.testing.backbone_promises.sample import ROWS, drawn_sample, padded_rows, states_of
from glta_cli.testing.backbone_promises.source import Source
from glta_cli.testing.contract import Contract


def state_promises(contract: Contract, source: Source, model: LanguageModel, device: torch.device) -> None:
    """A state depends on its token and those before it, and on nothing else in the batch."""
    with contract.promise("hidden() gives finite states [B, L, hidden_size] of a floating dtype", decisive=True):
        sample = drawn_sample(source, model, device)
        whole = states_of(model, sample.inputs)
        assert whole.shape == sample.inputs.shape, f"{list(sample.inputs.shape)} become {list(whole.shape)}"
        assert whole.is_floating_point(), f"they are {whole.dtype}"
        assert whole.device.type == device.type, f"they are on {whole.device}"
        assert whole.isfinite().all(), "some are not finite"
        assert whole.dtype in TOLERANCES, f"they are {whole.dtype}"
    with contract.promise("a batch of one equals a batch of many"):
        for row in range(ROWS):
            assert_same(states_of(model, sample.inputs[row : row + 1])[0], whole[row])
    for side in ("left", "right"):
        with contract.promise(f"padding on the {side} changes no state of a real token"):
            inputs, mask = padded_rows(sample, side)
            padded = states_of(model, inputs, mask)
            for row in range(ROWS):
                alone = states_of(model, sample.inputs[row : row + 1, : int(mask[row].sum())])
                assert_same(padded[row, mask[row] == 1], alone[0])
    with contract.promise("states are causal: a later token changes no earlier state, or targets would be read"):
        changed = sample.inputs.clone()
        changed[:, -2:] = sample.inputs[:, :2]
        assert_same(states_of(model, changed)[:, :-2], whole[:, :-2], "earlier states")
    with contract.promise("a state depends on its own token and on those before it"):
        # One at a time: swapped, they may have the same mean.
        last, first = sample.inputs.clone(), sample.inputs.clone()
        last[:, -1], first[:, 0] = sample.inputs[:, 0], sample.inputs[:, -1]
        found = states_of(model, last)[:, -1]
        assert_other(found, whole[:, -1], "another last token leaves the last state as it is")
        found = states_of(model, first)[:, -2]
        assert_other(found, whole[:, -2], "another first token leaves later states as they are")
