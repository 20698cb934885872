"""What a language model, or one that only reads, makes of each item's text: one whitened vector an item."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save
from torch import Tensor

from glta_cli.core.errors import GltaError
from glta_cli.core.files import fingerprint, set_aside
from glta_cli.core.progress import progress_bar
from glta_cli.core.storage import require_room, storage_errors
from glta_cli.core.tensors import check_seal, damaged, read_arrays, unsealed, write_sealed_tensors
from glta_cli.core.world import team
from glta_cli.language.batching import length_batches
from glta_cli.language.prompts import encode_cut, pad_right
from glta_cli.language.shared_batches import computed
from glta_cli.plugin import LanguageModel, SentenceEncoder
from glta_cli.recipe.schema import TextSettings

# To be raised when a text's vector is computed in another way: older vectors are then left alone.
ENCODING_FORM = 1
MOST_STORED_BYTES = 2**30
KEY_BYTES = 32
# What a killed run loses is at most this much work; one that is stopped or fails loses none.
SECONDS_BETWEEN_WRITES = 15.0
# Each time the whole file is written: a large one less often, so that it takes a twentieth of the time.
WRITES_TO_WORK = 20.0


def text_vectors(
    load_model: Callable[[], LanguageModel | SentenceEncoder],
    identity: str,
    texts: Sequence[str],
    settings: TextSettings,
    cache: Path,
    *,
    tell_found: Callable[[int], object] = lambda count: None,
) -> NDArray[np.float32]:
    """`encode_texts`, but for the texts whose vectors the cache holds: [n] -> [n, h].

    Vectors are kept by text, so that another split of the same items encodes nothing, and a new item only itself.
    While texts are encoded, the file is written every `SECONDS_BETWEEN_WRITES` and when the encoding is stopped or
    fails, so that the next run goes on there. A damaged file is set aside, and what it held is encoded again.

    Args:
        load_model: called only when a vector is missing.
        identity: of the model's weights, dtype, depth and tokenizer; vectors of another model are never used.
        cache: folder of the vectors, shared by all runs of a workspace; a file holds at most `MOST_STORED_BYTES`.
        tell_found: called with the number of distinct texts whose vectors the cache holds already.
    """
    path = cache / f"{fingerprint([ENCODING_FORM, identity, settings.tokens])}.safetensors"
    distinct = list(dict.fromkeys(texts))
    keys = [hashlib.sha256(text.encode()).digest() for text in distinct]
    known = read_vectors(path) if team().first else {}
    # Of processes that work together the first one looks, and writes.
    missing = team().broadcast([row for row, key in enumerate(keys) if key not in known])
    if not team().first:
        known = read_vectors(path)
    team().wait_for_all()  # until they have read what it is going to replace
    tell_found(len(distinct) - len(missing))
    if missing:
        # These texts first: what does not fit are vectors this run has no use for.
        stored = {key: known[key] for key in keys if key in known} | known
        new: dict[bytes, NDArray[np.float32]] = {}
        due = time.monotonic() + SECONDS_BETWEEN_WRITES

        def write() -> None:
            if not team().first:
                return
            with storage_errors(cache):
                write_vectors(path, new | stored)

        def keep(rows: NDArray[np.int64], vectors: Sequence[NDArray[np.float32]]) -> None:
            nonlocal due
            new.update((keys[missing[row]], vector) for row, vector in zip(rows, vectors, strict=True))
            begun = time.monotonic()
            if begun >= due:
                write()
                ended = time.monotonic()
                due = ended + max(SECONDS_BETWEEN_WRITES, WRITES_TO_WORK * (ended - begun))

        model = load_model()
        # float32; the file of before stays until the new one is whole.
        require_room(cache, min(MOST_STORED_BYTES, 4 * len(keys) * model.hidden_size))
        try:
            encode_texts(model, [distinct[row] for row in missing], settings, keep)
        except BaseException:
            if new:
                # What stopped it is to be told, not that the disk is full too.
                with suppress(GltaError, OSError):
                    write()
            raise
        write()
        known = new | stored
    row_of = {text: known[key] for text, key in zip(distinct, keys, strict=True)}
    return np.stack([row_of[text] for text in texts])


def read_vectors(path: Path) -> dict[bytes, NDArray[np.float32]]:
    """Vectors [h] by the SHA-256 of their text; none where there is no file, or a damaged one, which is set aside."""
    if not path.is_file():
        return {}
    try:
        return checked_vectors(path)
    except GltaError as error:
        set_aside(path, error.problem, "its texts are encoded again")
        return {}


def checked_vectors(path: Path) -> dict[bytes, NDArray[np.float32]]:
    """Vectors [h] by the SHA-256 of their text; raises `GltaError` where the file is not what `write_vectors` wrote."""
    check_seal(path)
    stored = read_arrays(path, "keys", "vectors")
    keys, vectors = stored["keys"], stored["vectors"]
    if keys.dtype != np.uint8 or keys.shape[1:] != (KEY_BYTES,) or len(keys) != len(vectors) or vectors.ndim != 2:
        raise damaged(path, "its keys are not those of its vectors")
    return dict(zip(map(bytes, keys), vectors, strict=True))


def write_vectors(path: Path, vectors: dict[bytes, NDArray[np.float32]]) -> None:
    """Replace the file by one with the first of these vectors, as many as it may hold."""
    width = next(iter(vectors.values())).nbytes
    kept = list(vectors)[: max(1, MOST_STORED_BYTES // width)]
    keys = np.frombuffer(b"".join(kept), dtype=np.uint8).reshape(len(kept), -1)
    content: dict[str, NDArray[Any]] = {"keys": keys, "vectors": np.stack([vectors[key] for key in kept])}
    write_sealed_tensors(path, save(content, metadata=unsealed()))


def encode_texts(
    model: LanguageModel | SentenceEncoder,
    texts: Sequence[str],
    settings: TextSettings,
    keep: Callable[[NDArray[np.int64], Sequence[NDArray[np.float32]]], object] = lambda rows, vectors: None,
    *,
    bar_called: tuple[str, str] = ("encode item texts", "items"),
) -> NDArray[np.float32]:
    """Vectors of texts by the model's own way, or else the means of its last states: [n] -> [n, h].

    Args:
        bar_called: what a bar says is done, and what it counts.
        keep: called after each batch with the rows [B] of its texts and the vector [h] of each, views of what is
            returned.
    """
    encoder = sentence_encoder(model)
    prompts = [np.asarray(ids, dtype=np.int64) for ids in encoder.token_ids(texts, settings.tokens)]
    vectors = np.empty((len(prompts), encoder.hidden_size), dtype=np.float32)
    device = next(encoder.module.parameters()).device
    shown = progress_bar(len(prompts), *bar_called, step="this batch of texts", kept="the vectors so far are kept")

    def vectors_of(rows: NDArray[np.int64]) -> NDArray[np.float32]:
        padded, mask = pad_right([prompts[row] for row in rows])
        batch = encoder.sentence_vectors(torch.from_numpy(padded).to(device), torch.from_numpy(mask).to(device))
        found: NDArray[np.float32] = batch.float().cpu().numpy()
        return found

    with torch.inference_mode(), shown as bar:
        batches = list(length_batches([len(prompt) for prompt in prompts], settings.batch_size))
        for rows, found in computed(batches, vectors_of):
            vectors[rows] = found
            # Not those of the batch: what is kept would hold pieces of the heap between one batch and the next.
            keep(rows, [vectors[row] for row in rows])
            bar.update(len(rows))
    return vectors


def sentence_encoder(model: LanguageModel | SentenceEncoder) -> SentenceEncoder:
    """The model itself where it makes vectors of texts, else the means of its last states."""
    return model if isinstance(model, SentenceEncoder) else _MeanStates(model)


class _MeanStates:
    """A causal language model as a `SentenceEncoder`: the mean of its last states over the tokens of a text alone."""

    def __init__(self, model: LanguageModel) -> None:
        self.hidden_size, self.tokenizer, self.module = model.hidden_size, model.tokenizer, model.module
        self._model = model

    def token_ids(self, texts: Sequence[str], most: int) -> list[list[int]]:
        return encode_cut(self.tokenizer, texts, most)

    def sentence_vectors(self, token_ids: Tensor, attention_mask: Tensor) -> Tensor:
        states = self._model.hidden(self._model.embed(token_ids), attention_mask).float()  # [B, L, h]
        total = (states * attention_mask[:, :, None]).sum(1)  # [B, h]
        return total / attention_mask.sum(1, keepdim=True)
