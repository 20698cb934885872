"""What an encoder promises of its training: seeded, by either loss, and resumed."""

from __future__ import annotations

import io
from contextlib import redirect_stderr
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Literal

import numpy as np
import torch

from glta_cli.graph.pretraining import PretrainedEncoder, pretrain
from glta_cli.recipe.schema import GraphSettings, TrainingSettings
from glta_cli.testing.agreement import distance, identical
from glta_cli.testing.contract import Contract
from glta_cli.testing.drawn import draw_split
from glta_cli.testing.encoder_promises.trial import Encoders, drawn_texts, embeddings, two_steps

RESUMED_LOSS: Final = "bpr"


def training_promises(contract: Contract, encoders: Encoders) -> None:
    """The same seed trains the same encoder, whether or not it is interrupted."""
    with contract.promise(
        "the same seed of torch gives the same encoder and the same training steps, bit for bit", decisive=True
    ):
        _check_seeded(encoders)
    for loss in ("softmax", "bpr"):
        with (
            TemporaryDirectory() as folder,
            contract.promise(f"glta pretrain-graph trains it with the loss {loss}", decisive=loss == RESUMED_LOSS),
        ):
            trained = _pretrained(encoders, loss, Path(folder), epochs=2)
            assert trained.progress.epoch == 2, f"it stopped after epoch {trained.progress.epoch}"
            for vectors in (trained.embeddings.users, trained.embeddings.items):
                assert np.isfinite(vectors).all(), "embeddings are not finite afterwards"
    with (
        contract.promise("a training that is interrupted and resumed ends where an uninterrupted one does"),
        TemporaryDirectory() as folder,
    ):
        whole = _pretrained(encoders, RESUMED_LOSS, Path(folder) / "whole", epochs=2)
        _pretrained(encoders, RESUMED_LOSS, Path(folder) / "parts", epochs=1)
        resumed = _pretrained(encoders, RESUMED_LOSS, Path(folder) / "parts", epochs=2)
        assert resumed.progress.history == whole.progress.history, (
            f"the last epoch is {resumed.progress.history[-1]}, not {whole.progress.history[-1]}"
        )
        for expected, found in zip(embeddings(whole.module), embeddings(resumed.module), strict=True):
            assert torch.equal(expected, found), f"embeddings differ by up to {distance(expected, found):.3g}"


def _check_seeded(encoders: Encoders) -> None:
    first, second = encoders.draw(), encoders.draw()
    drawn = [each.state_dict() for each in (first, second)]
    differing = [name for name, tensor in drawn[0].items() if not identical(tensor, drawn[1].get(name))]
    assert not differing, f"drawn differently: {', '.join(differing)}"
    losses = []
    for encoder in (first, second):
        torch.manual_seed(2)
        losses.append(two_steps(encoder))
    assert losses[0] == losses[1], f"losses {losses[0]} and {losses[1]}"
    trained = [each.state_dict() for each in (first, second)]
    differing = [name for name, tensor in trained[0].items() if not identical(tensor, trained[1].get(name))]
    assert not differing, f"trained differently: {', '.join(differing)}"


def _pretrained(
    encoders: Encoders, loss: Literal["softmax", "bpr"], state_folder: Path, *, epochs: int
) -> PretrainedEncoder:
    train, validation = draw_split(0)
    training = TrainingSettings(epochs=epochs, batch_size=8, learning_rate=0.01)
    with redirect_stderr(io.StringIO()):  # progress
        return pretrain(
            lambda graph: encoders.made(graph, drawn_texts()),
            GraphSettings(loss=loss, training=training),
            train,
            train,
            validation,
            seed=0,
            device=torch.device("cpu"),
            state_folder=state_folder,
            description="check",
        )
