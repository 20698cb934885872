"""What a language model without adapters promises: one fixed function, which its identity names."""

from __future__ import annotations

import torch

from glta_cli.plugin import LanguageModel
from glta_cli.testing.agreement import assert_same
from glta_cli.testing.backbone_promises.gradients import assert_gradient, loss_of
from glta_cli.testing.backbone_promises.loading import told_apart_promise
from glta_cli.testing.backbone_promises.sample import drawn_sample, padded_rows, states_of
from glta_cli.testing.backbone_promises.source import Source
from glta_cli.testing.contract import Contract
from glta_cli.training.loop import trainable


def frozen_promises(contract: Contract, source: Source, model: LanguageModel, device: torch.device) -> None:
    """Every load and every pass gives the same states, and gradients pass through."""
    sample = drawn_sample(source, model, device)
    expected = states_of(model, sample.inputs)
    with contract.promise("load() gives the same model again"):
        other = source.made().load(device)
        assert_same(states_of(other, drawn_sample(source, other, device).inputs), expected, "states of two loads")
    with contract.promise("a frozen model is one function: every pass gives the same states, in training mode too"):
        assert_same(states_of(model, sample.inputs), expected, "states of two passes")
        model.module.train()
        try:
            with torch.no_grad():
                trained = model.hidden(sample.inputs, sample.mask)
        finally:
            model.module.eval()
        assert_same(trained, expected, "states in training and in evaluation mode")
    with contract.promise("without `backbone.lora` the model is frozen: no parameter requires a gradient"):
        free = sorted(trainable(model.module))
        assert not free, f"{len(free)} do, such as {free[0]}"
    with contract.promise("gradients reach the embeddings given to hidden(), finite and not all zero"):
        for inputs, mask in ((sample.inputs, sample.mask), padded_rows(sample, "left")):
            inputs = inputs.clone().requires_grad_(True)
            loss_of(model.hidden(inputs, mask)[mask == 1]).backward()
            assert_gradient(inputs)


def identity_promises(contract: Contract, source: Source, model: LanguageModel, device: torch.device) -> None:
    """Models of one identity give the same states."""

    def difference() -> None:
        sample = drawn_sample(source, model, device)
        random = source.made(weights="random").load(device)
        found = states_of(random, drawn_sample(source, random, device).inputs)
        assert_same(found, states_of(model, sample.inputs), "one identity, and the states")

    told_apart_promise(contract, source, difference)
