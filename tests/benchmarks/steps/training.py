"""Stage 3's step on Amazon Sports at four layers of SmolLM2: the same prompts, targets and weights on both sides."""

from __future__ import annotations

import os
import tempfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from step import SHARED_DATA, Step, Work

if TYPE_CHECKING:
    from torch import Tensor

    from glta_cli.language.finetuning import FinetuningTask
    from glta_cli.recipe.schema import Recipe

BATCH = 32
STEPS_TIMED = 2
LAYERS = 4
FROZEN: tuple[str, ...] = ()
ALL_ADAPTED = ("backbone.lora.rank=8",)
TOP_ADAPTED = ("backbone.lora.rank=8", "backbone.lora.layers=1")


# --------------------------------------------------------------------------------------- what both sides are given


def recipe_of(*overrides: str) -> Recipe:
    """Amazon Sports in float32: the peer computes in the same dtype."""
    from glta_cli.recipe.files import load_recipe

    source = f"dataset.source={Path(os.environ[SHARED_DATA]) / 'amazon-sports-2014'}"
    fixed = (source, f"backbone.layers={LAYERS}", "backbone.dtype=float32")
    return load_recipe("amazon-sports", (*fixed, *overrides)).recipe


def task_of(*overrides: str) -> FinetuningTask:
    """Stage 3's task; graph and text vectors are drawn at random, which changes no step's cost."""
    import torch

    from glta_cli.data.preparation import prepare
    from glta_cli.data.splits import holdout_targets
    from glta_cli.graph.pretraining import Embeddings
    from glta_cli.language.finetuning import Examples, FinetuningTask
    from glta_cli.language.gllm import TiedHead
    from glta_cli.language.model import GraphLanguageModel
    from glta_cli.language.readout import UserPrompts
    from glta_cli.stages.backbone import backbone_of
    from glta_cli.workspace.workspace import Workspace

    recipe = recipe_of(*overrides)
    with tempfile.TemporaryDirectory() as folder:
        prepared, _ = prepare(recipe.dataset, Workspace(Path(folder)))
        train, validation, user_ids = prepared.split("train"), prepared.split("valid"), prepared.user_ids
    language_model = backbone_of(recipe).load(torch.device("cpu"))
    torch.manual_seed(0)  # after the adapters, whose number differs between the sides
    # By name, so that a layer starts with the same adapter whichever others there are.
    for name, parameter in language_model.module.named_parameters():
        if "lora_A" in name:
            seeded = torch.Generator().manual_seed(zlib.crc32(name.encode()))
            torch.nn.init.normal_(parameter, std=0.04, generator=seeded)
    generator = np.random.default_rng(0)
    users, items, texts = (
        generator.normal(size=shape).astype(np.float32)
        for shape in ((train.user_count, 64), (train.item_count, 64), (train.item_count, recipe.text.dimensions))
    )
    counts = torch.from_numpy(np.bincount(train.items, minlength=train.item_count))
    head = TiedHead(language_model.hidden_size, torch.from_numpy(np.concatenate([items, texts], axis=1)), counts)
    model = GraphLanguageModel(language_model, Embeddings(users, items), head)
    empty = [""] * train.user_count
    prompts = UserPrompts(language_model.tokenizer, user_ids, empty, empty, recipe.finetune, recipe.prompts)
    targets = holdout_targets(train, recipe.graph.alignment_holdout, recipe.seed)
    examples = Examples(train, targets, recipe.finetune, recipe.seed)
    return FinetuningTask(
        model, prompts, examples, train, validation, recipe.finetune, aligned=True, inference_batch=64, seed=0
    )


def batches_of(task: FinetuningTask, size: int) -> list[Any]:
    """The same users on both sides; `size` multiplies the prompts of a batch."""
    examples = [example for batch in task.batches(0) for example in batch]
    rows = BATCH * size
    return [examples[start * rows : (start + 1) * rows] for start in range(STEPS_TIMED)]


def prompts_of(task: FinetuningTask, batch: list[Any]) -> list[NDArray[np.int64]]:
    return [task.prompts.write(example.user, example.context) for example in batch]


def work_of(task: FinetuningTask, batches: list[Any], loss: Callable[[list[Any]], Tensor]) -> Work:
    """Steps of one optimiser over the same batches; the first step's gradients are what is compared."""
    import torch

    module = task.module.train()
    parameters = {name: value for name, value in module.named_parameters() if value.requires_grad}
    before = {name: value.detach().clone() for name, value in parameters.items()}

    def work() -> Mapping[str, Any]:
        with torch.no_grad():
            for name, value in parameters.items():
                value.copy_(before[name])
        optimizer = torch.optim.AdamW(parameters.values(), lr=1e-4, weight_decay=0.0, fused=True)
        result: dict[str, Any] = {"losses": []}
        for batch in batches:
            optimizer.zero_grad(set_to_none=True)
            value = loss(batch)
            value.backward()
            if not result["losses"]:
                result |= {f"gradient.{name}": p.grad.numpy(force=True) for name, p in parameters.items()}
            optimizer.step()
            result["losses"].append(float(value.detach()))
        return result

    return work


def ours(*overrides: str) -> Callable[[int], Work]:
    """The product's own step."""

    def prepare_work(size: int) -> Work:
        task = task_of(*overrides)
        return work_of(task, batches_of(task, size), task.loss)

    return prepare_work


def transformers_step(*overrides: str) -> Callable[[int], Work]:
    """A script around `AutoModelForCausalLM`: whole prompts, padded, with their mask, the last hidden states read."""

    def prepare_work(size: int) -> Work:
        import torch

        from glta_cli.language.prompts import pad_right
        from glta_cli.training.losses import Positives

        task = task_of(*overrides)
        model = task.module
        causal = model.language_module
        ids_of_nodes = len(model.users)

        def pairs(items: list[NDArray[np.int64]]) -> Positives:
            rows = np.repeat(np.arange(len(items)), [len(part) for part in items])
            return Positives(torch.from_numpy(rows), torch.from_numpy(np.concatenate(items)))

        def loss(batch: list[Any]) -> Tensor:
            padded, mask = (torch.from_numpy(array) for array in pad_right(prompts_of(task, batch)))
            is_node = padded < 0
            nodes = -1 - padded[is_node]
            is_user = nodes < ids_of_nodes
            embedded = causal.get_input_embeddings()(padded.clamp(min=0))  # [B, L, h]
            vectors = embedded.new_empty(len(nodes), embedded.shape[-1])
            vectors[is_user] = model.user_projector(model.users[nodes[is_user]])
            vectors[~is_user] = model.item_projector(model.items[nodes[~is_user] - ids_of_nodes])
            embedded[is_node] = vectors
            output = causal(inputs_embeds=embedded, attention_mask=mask, output_hidden_states=True)
            ends = output.hidden_states[-1][torch.arange(len(batch)), mask.sum(dim=1) - 1]  # [B, h]
            logits = model.head.queries(ends) @ model.head.item_matrix().T + model.head.bias  # [B, I]
            shown, wanted = (pairs([getattr(e, kind) for e in batch]) for kind in ("context", "targets"))
            logits = logits.index_put((shown.rows, shown.items), logits.new_tensor(-torch.inf))
            return torch.nn.functional.nll_loss(logits.log_softmax(dim=1)[wanted.rows], wanted.items)

        return work_of(task, batches_of(task, size), loss)

    return prepare_work


# ------------------------------------------------------------------------------------------------------ equality


def same_step(ours: Mapping[str, Any], peer: Mapping[str, Any]) -> None:
    """Losses of every step, and the first step's gradient of every trained parameter."""
    np.testing.assert_allclose(ours["losses"], peer["losses"], rtol=1e-4)
    assert set(ours) == set(peer)
    same_gradients(ours, peer)


def same_start(ours: Mapping[str, Any], peer: Mapping[str, Any]) -> None:
    """Adapters start at no effect, so the first loss is the same, and so are the gradients of what both train."""
    np.testing.assert_allclose(ours["losses"][0], peer["losses"][0], rtol=1e-4)
    assert set(ours) < set(peer)
    same_gradients(ours, peer)


def same_gradients(ours: Mapping[str, Any], peer: Mapping[str, Any]) -> None:
    """Within 0.2% of the largest entry: hundreds of products are summed in another order."""
    for name in ours:
        if name.startswith("gradient."):
            bound = 2e-3 * np.abs(peer[name]).max()
            np.testing.assert_allclose(ours[name], peer[name], rtol=0, atol=bound, err_msg=name)


STEPS: tuple[Step, ...] = (
    Step(
        name="stage 3 step, frozen model",
        peer_name="transformers, whole prompts",
        ours=ours(*FROZEN),
        peer=transformers_step(*FROZEN),
        check=same_step,
        targets={"cpu": 2.0},
        sizes=(1, 4, 16),
        note="The same prompts in the same batches, so the ratio of times is that of tokens a second.",
    ),
    Step(
        name="stage 3 step, every layer adapted",
        peer_name="peft, whole prompts",
        ours=ours(*ALL_ADAPTED),
        peer=transformers_step(*ALL_ADAPTED),
        check=same_step,
        targets={"cpu": 2.0},
    ),
    Step(
        name="stage 3 step, top layer adapted",
        peer_name="peft on every layer, whole prompts",
        ours=ours(*TOP_ADAPTED),
        peer=transformers_step(*ALL_ADAPTED),
        check=same_start,
        targets={"cpu": 4.0},
        note="Equal: the first loss, and the gradients of all that both train. The matched metric is not "
        "part of this step.",
    ),
)
