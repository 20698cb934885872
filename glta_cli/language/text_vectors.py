"""What the language model makes of each item's text: one whitened vector an item."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from glta_cli.language.prompts import encode_cut, pad_right
from glta_cli.plugin import LanguageModel
from glta_cli.recipe import TextSettings
from glta_cli.terminal import progress_bar


def encode_texts(model: LanguageModel, texts: Sequence[str], settings: TextSettings) -> NDArray[np.float32]:
    """The mean of the model's last states over each text's tokens: [n] -> [n, h]."""
    prompts = [np.asarray(ids, dtype=np.int64) for ids in encode_cut(model.tokenizer, texts, settings.tokens)]
    # Texts of one length share a batch, so that little of the work is padding.
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    means = np.empty((len(prompts), model.hidden_size), dtype=np.float32)
    device = next(model.module.parameters()).device
    with torch.inference_mode(), progress_bar(len(prompts), "encode item texts", "items") as bar:
        for start in range(0, len(order), settings.batch_size):
            rows = order[start : start + settings.batch_size]
            padded, mask = pad_right([prompts[row] for row in rows])
            weights = torch.from_numpy(mask).to(device)  # [B, L]
            states = model.hidden(model.embed(torch.from_numpy(padded).to(device)), weights).float()  # [B, L, h]
            total = (states * weights[:, :, None]).sum(1)  # [B, h]
            means[rows] = (total / weights.sum(1, keepdim=True)).cpu().numpy()
            bar.update(len(rows))
    return means


def whiten(vectors: NDArray[np.float32], dimensions: int) -> NDArray[np.float32]:
    """Centre, keep the principal directions at equal variance, and scale to unit length: [n, h] -> [n, D].

    A language model's mean states share a few dominant directions that say nothing about the item; without
    whitening they decide every similarity. D is `dimensions`, or the rank where that is smaller.

    Source: Su et al., Whitening Sentence Representations for Better Semantics and Faster Retrieval, 2021.
    """
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    variances, directions = np.linalg.eigh(centred.T @ centred / len(vectors))
    kept = [i for i in np.argsort(-variances)[:dimensions] if variances[i] > variances.max() * 1e-9]
    if not kept:
        return np.zeros((len(vectors), 1), dtype=np.float32)
    white = centred @ (directions[:, kept] / np.sqrt(variances[kept]))
    lengths = np.linalg.norm(white, axis=1, keepdims=True)
    return np.asarray(white / np.maximum(lengths, 1e-12), dtype=np.float32)
