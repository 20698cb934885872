"""What a backbone promises that reads texts into vectors and generates nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from glta_cli.core.errors import GltaError
from glta_cli.plugin import SentenceEncoder
from glta_cli.plugin.settings import LoraSettings
from glta_cli.testing.agreement import assert_other, assert_same
from glta_cli.testing.backbone_promises.loading import told_apart_promise
from glta_cli.testing.backbone_promises.source import TEXT, Source, device_of
from glta_cli.testing.contract import Contract
from glta_cli.training.loop import trainable

TEXTS = (TEXT, "Once", "A garden by the sea, and a book about it.")
MOST_TOKENS = 48


def reading_promises(contract: Contract, encoder: SentenceEncoder) -> None:
    """Of `token_ids()`: some ids for every text, as many as asked for at most."""
    with contract.promise("token_ids() gives a list of ids a text, none of them empty", decisive=True):
        rows = encoder.token_ids([*TEXTS, ""], MOST_TOKENS)
        assert len(rows) == len(TEXTS) + 1, f"{len(rows)} for {len(TEXTS) + 1} texts"
        for row in rows:
            assert len(row) > 0, "a text has no ids"
            assert all(isinstance(token, int) for token in row), f"{row!r}"
    with contract.promise("token_ids() gives at most as many ids as are asked for, and as many where a text is long"):
        for most in (4, 7, 11):
            lengths = {len(row) for row in encoder.token_ids([TEXT * 3, TEXT * 3 + TEXT], most)}
            assert lengths == {most}, f"{sorted(lengths)} where {most} are asked for"
    with contract.promise("token_ids() reads a text alike whatever stands beside it"):
        alone = [row for text in TEXTS for row in encoder.token_ids([text], MOST_TOKENS)]
        assert alone == _read(encoder), "alone and together differ"


def vector_promises(contract: Contract, encoder: SentenceEncoder) -> None:
    """Of `sentence_vectors()`: a vector of the whole text, whatever is in its batch."""
    with contract.promise(
        "sentence_vectors() gives finite vectors [B, hidden_size] of a floating dtype", decisive=True
    ):
        rows = _read(encoder)
        whole = _vectors(encoder, rows)
        assert whole.shape == (len(rows), encoder.hidden_size), f"shape {list(whole.shape)}"
        assert whole.is_floating_point(), f"they are {whole.dtype}"
        assert whole.isfinite().all(), "some are not finite"
    with contract.promise("texts read alone have the vectors they have in a batch, in whatever order"):
        assert_same(torch.cat([_vectors(encoder, [row]) for row in rows]), whole, "the vectors")
        assert_same(_vectors(encoder, rows[::-1]).flip(0), whole, "the vectors")
    with contract.promise("what stands under a mask of 0 changes no vector"):
        assert_same(_vectors(encoder, rows, padding=rows[0][1]), whole, "the vectors")
    with contract.promise("a vector depends on the whole text, its first words and its last"):
        found = _vectors(encoder, encoder.token_ids([f"{word} {TEXT}" for word in ("Rain", "Gold")], 4 * MOST_TOKENS))
        assert_other(found[0], found[1], "other first words leave it as it is")
        found = _vectors(encoder, encoder.token_ids([f"{TEXT} {word}" for word in ("Rain", "Gold")], 4 * MOST_TOKENS))
        assert_other(found[0], found[1], "other last words leave it as it is")


def frozen_reader_promises(contract: Contract, source: Source, encoder: SentenceEncoder, device: torch.device) -> None:
    """It is one fixed function, and takes no adapters."""
    rows = _read(encoder)
    expected = _vectors(encoder, rows)
    with contract.promise("load() gives the same model again"):
        assert_same(_vectors(_loaded_reader(source, device), rows), expected, "vectors of two loads")
    with contract.promise("a loaded model is one function: every pass gives the same vectors, in training mode too"):
        encoder.module.train()
        try:
            trained = _vectors(encoder, rows)
        finally:
            encoder.module.eval()
        assert_same(trained, expected, "vectors in training and in evaluation mode")
    with contract.promise("it is frozen: no parameter requires a gradient"):
        free = sorted(trainable(encoder.module))
        assert not free, f"{len(free)} do, such as {free[0]}"
    with contract.promise("`backbone.lora` is refused by a GltaError: what only reads is never trained"):
        try:
            source.made(lora=LoraSettings(rank=2)).load(device)
        except GltaError:
            return
        raise AssertionError("it is taken without a word")


def reader_identity_promises(
    contract: Contract, source: Source, encoder: SentenceEncoder, device: torch.device
) -> None:
    """Encoders of one identity give the same vectors."""

    def difference(other: SentenceEncoder) -> None:
        rows = _read(encoder)
        assert_same(_vectors(other, rows), _vectors(encoder, rows), "one identity, and the vectors")

    told_apart_promise(contract, source, lambda: difference(_loaded_reader(source, device, weights="random")))


def reader_exit_promises(contract: Contract, source: Source, device: torch.device) -> None:
    """An early exit is heeded or refused, and `full_depth` undoes it."""
    with contract.promise("load() at full depth works", decisive=True):
        whole = _loaded_reader(source, device, layers=None)
        rows = _read(whole)
        expected = _vectors(whole, rows)
    with contract.promise("early exit: `backbone.layers: 1` gives other vectors of the same shape, or is refused"):
        try:
            found = _vectors(_loaded_reader(source, device, layers=1), rows)
        except GltaError:
            return
        assert found.shape == expected.shape, f"shape {list(found.shape)}, not {list(expected.shape)}"
        if source.made().architecture().get_text_config().num_hidden_layers > 1:
            assert_other(found, expected, "the vectors are those of full depth")
    with contract.promise("early exit: load(full_depth=True) ignores `backbone.layers`"):
        deep: Any = source.made(layers=1).load(device, full_depth=True)
        assert_same(_vectors(deep, rows), expected, "the vectors")


def _read(encoder: SentenceEncoder) -> list[list[int]]:
    return encoder.token_ids(list(TEXTS), MOST_TOKENS)


def _vectors(encoder: SentenceEncoder, rows: Sequence[Sequence[int]], padding: int = 0) -> Tensor:
    """Vectors of texts given as ids, padded on the right: [B] -> [B, h], without gradients."""
    width = max(map(len, rows))
    ids = torch.tensor([[*row, *[padding] * (width - len(row))] for row in rows], device=device_of(encoder))
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows], device=ids.device)
    with torch.no_grad():
        return encoder.sentence_vectors(ids, mask)


def _loaded_reader(source: Source, device: torch.device, **changes: Any) -> SentenceEncoder:
    model: Any = source.made(**changes).load(device)
    reader: SentenceEncoder = model
    return reader
