"""Steps of stages 2 and 3 as the product takes them, and the same prompts through transformers alone, each timed.

Both sides count the same tokens: those of the whole prompts, chat markup and node tokens included, padding not.
Each side runs in a process of its own; the product's goes first and leaves what the other one is given in a folder.
"""

from __future__ import annotations

import importlib
import json
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import yaml
from estimates import measured
from numpy.typing import NDArray
from worker import processor_seconds

GIVEN, MODEL = "given.json", "model"


@dataclass(frozen=True)
class StepTime:
    """One step: tokens of its prompts, seconds on the clock, seconds of all processors."""

    tokens: int
    wall: float
    processor: float


@dataclass(frozen=True)
class Prompt:
    """Token ids [L], nodes negative, and the places [T] whose last hidden states are read."""

    ids: list[int]
    read: list[int]


def moment() -> tuple[float, float]:
    """Now, on the clock and in processor seconds, once a GPU has done what it was given."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter(), processor_seconds()


def between(moments: Sequence[tuple[float, float]], batches: Sequence[Sequence[Prompt]]) -> list[StepTime]:
    """The steps that lie between moments, one more than there are batches."""
    assert len(moments) == len(batches) + 1
    taken = np.diff(np.array(moments), axis=0)  # [steps, 2]
    tokens = [sum(len(prompt.ids) for prompt in batch) for batch in batches]
    return [StepTime(count, *map(float, each)) for count, each in zip(tokens, taken, strict=True)]


# ------------------------------------------------------------------------------------------------- the product's


class Watched:
    """A training task that notes when each of its steps begins; all else is the task's own.

    A step is all the loop does from one loss to the next: prompts, forward, backward, clipping, optimizer, bar.
    """

    def __init__(self, task: Any) -> None:
        self.task = task
        self.taken: list[Any] = []
        self.moments: list[tuple[float, float]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.task, name)

    def loss(self, batch: Any) -> Any:
        self.moments.append(moment())
        self.taken.append(batch)
        return self.task.loss(batch)

    def validate(self) -> dict[str, float]:
        # The validation behind an epoch tells when its last step ended; the one before any step tells nothing.
        if self.taken:
            self.moments.append(moment())
        values: dict[str, float] = self.task.validate()
        return values

    def batches_taken(self) -> list[list[Prompt]]:
        return [[prompt_of(self.task, each) for each in batch] for batch in self.taken]


def prompt_of(task: Any, example: Any) -> Prompt:
    """The prompt of an example of stage 2, which is one, or of stage 3, which is read where its prompt ends."""
    if hasattr(example, "ids"):
        return Prompt(example.ids.tolist(), example.positions.tolist())
    ids: NDArray[np.int64] = task.prompts.write(example.user, example.context)
    return Prompt(ids.tolist(), [len(ids) - 1])


def products_side(recipe: Path, data: Path, stage: str, folder: Path) -> dict[str, Any]:
    """Run a stage as a command does, each step of its training noted; `folder` gets what the other side is given.

    Returns:
        Its steps, and what the process and, where there is one, the GPU had at most, in bytes.
    """
    import torch

    from glta_cli.core.counts import counted

    module: Any = importlib.import_module(f"glta_cli.stages.{stage}")
    found: list[Watched] = []

    def watch(task: Any, *settings: Any, train: Callable[..., Any] = module.train, **told: Any) -> Any:
        found.append(Watched(task))
        return train(found[-1], *settings, **told)

    with patch.object(module, "train", watch):
        peak = measured(recipe, data, stage)
    [watched] = found
    batches = watched.batches_taken()
    backbone = yaml.safe_load(recipe.read_text())["backbone"]
    adapted = any("lora_" in name for name, _ in watched.task.module.named_parameters())
    config = watched.task.module.language_model.config
    config.save_pretrained(folder / MODEL)
    given = {
        "batches": [[asdict(prompt) for prompt in batch] for batch in batches],
        "dtype": backbone["dtype"],
        "lora": backbone["lora"] if adapted else None,
        "gradient_checkpointing": backbone["gradient_checkpointing"],
        "device": str(watched.task.module.device),
        "threads": torch.get_num_threads(),
    }
    (folder / GIVEN).write_text(json.dumps(given))
    steps = [asdict(step) for step in between(watched.moments, batches)]
    about = f"{counted(config.get_text_config().num_hidden_layers, 'layer')}, {device_name(given['device'])}"
    return {"steps": steps, "host": peak["host"], "device": peak["device"], "about": about}


def device_name(device: str) -> str:
    """What computes, as a person says it."""
    import torch

    from glta_cli.core.counts import counted

    if device.startswith("cuda"):
        return str(torch.cuda.get_device_name(device))
    return f"{device}, {counted(torch.get_num_threads(), 'thread')}"


# ------------------------------------------------------------------------------------------ transformers' alone


def bare_side(folder: Path) -> dict[str, Any]:
    """Forward and backward of a model of that configuration over whole prompts; its weights are drawn.

    Gradients flow to the input embeddings, and to adapters (peft's) where the other side trained some. Padding stands
    on the right, where no real token of a causal model sees it, so no mask is needed and the fastest attention runs.
    There is no output head, no loss and no optimizer: a sum of the states that are read is what is differentiated.

    Returns:
        As `products_side`.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    given = json.loads((folder / GIVEN).read_text())
    batches = [[Prompt(**prompt) for prompt in batch] for batch in given["batches"]]
    device = torch.device(given["device"])
    torch.set_num_threads(given["threads"])
    config = AutoConfig.from_pretrained(folder / MODEL)
    with device:
        # Billions of weights are drawn where they stay.
        model = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, given["dtype"]))
    model.requires_grad_(False)
    body, embeddings = model.base_model, model.get_input_embeddings()
    if given["lora"]:
        from peft import LoraConfig, get_peft_model

        rank = given["lora"]["rank"]
        model = get_peft_model(model, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear"))
    if given["gradient_checkpointing"]:
        body.gradient_checkpointing_enable({"use_reentrant": False})
    model.train()
    steps = []
    for batch in batches:
        padded, places = (each.to(device) for each in as_tensors(batch))
        begun = moment()
        inputs = embeddings(padded).detach().requires_grad_()  # [B, L, h]
        states = body(inputs_embeds=inputs, use_cache=False).last_hidden_state
        states[places[0], places[1]].sum().backward()
        steps += between([begun, moment()], [batch])
        require_gradients(inputs, model)
        model.zero_grad(set_to_none=True)
    on_gpu = torch.cuda.max_memory_allocated() if device.type == "cuda" else 0
    host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"steps": [asdict(step) for step in steps], "host": host, "device": on_gpu}


def as_tensors(batch: Sequence[Prompt]) -> tuple[Any, Any]:
    """Ids padded on the right [B, L], the embedding of token 0 in place of nodes' and padding, and places [2, T]."""
    import torch

    padded = torch.zeros(len(batch), max(len(prompt.ids) for prompt in batch), dtype=torch.int64)
    for row, prompt in enumerate(batch):
        padded[row, : len(prompt.ids)] = torch.tensor(prompt.ids).clamp(min=0)
    rows = [row for row, prompt in enumerate(batch) for _ in prompt.read]
    return padded, torch.tensor([rows, [place for prompt in batch for place in prompt.read]])


def require_gradients(inputs: Any, model: Any) -> None:
    """What is to be compared with a training has to have come as far back as it does."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if inputs.grad is None or any(parameter.grad is None for parameter in trained):
        raise AssertionError("the gradient did not reach the inputs and every adapter")
