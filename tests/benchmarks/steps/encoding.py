"""Texts and users read by a frozen SmolLM2, and words it generates, beside plain use of transformers."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from step import SHARED_DATA, Step, Work

if TYPE_CHECKING:
    from glta_cli.plugin import LanguageModel

EARLY_EXIT = 4  # layers, as in the recipe of Amazon Sports
TEXTS, TEXTS_AT_FULL_DEPTH, TEXTS_IN_BFLOAT16 = 768, 192, 96
USERS = 256
DESCRIBED_USERS, DESCRIPTIONS, NEW_TOKENS = 8, 10, 24
PEER_BATCH = 32


# ------------------------------------------------------------------------------------------------------------ texts


def item_texts(count: int) -> list[str]:
    """Texts of Amazon's Sports and Outdoors, in the catalogue's order."""
    from glta_cli.data.preparation import prepare
    from glta_cli.recipe.files import load_recipe
    from glta_cli.workspace.workspace import Workspace

    source = f"dataset.source={Path(os.environ[SHARED_DATA]) / 'amazon-sports-2014'}"
    with tempfile.TemporaryDirectory() as folder:
        prepared, _ = prepare(load_recipe("amazon-sports", (source,)).recipe.dataset, Workspace(Path(folder)))
        texts = prepared.texts
    return [texts[row] for row in np.linspace(0, len(texts) - 1, count).astype(int)]


def smollm2(dtype: str = "auto", layers: int | None = None) -> LanguageModel:
    """Thirty layers, or the first ones."""
    import torch

    from glta_cli.plugin.settings import BackboneSettings
    from glta_cli.recipe.schema import Recipe
    from glta_cli.stages.backbone import backbone_of

    settings = BackboneSettings.model_validate({"dtype": dtype, "layers": layers})
    return backbone_of(Recipe(backbone=settings)).load(torch.device("cpu"))


def our_texts(count: int, layers: int | None = None) -> Callable[[int], Work]:
    """Vectors of `count` texts, none of them in the cache."""

    def prepare_work(size: int) -> Work:
        from glta_cli.language.text_vectors import encode_texts
        from glta_cli.recipe.schema import TextSettings

        texts, model = item_texts(count * size), smollm2(layers=layers)
        return lambda: {"vectors": encode_texts(model, texts, TextSettings())}

    return prepare_work


def our_texts_again(size: int) -> Work:
    """The same, all of them in the cache: what stage `encode-items` does where another split has the same texts."""
    import torch

    from glta_cli.language.text_vectors import text_vectors
    from glta_cli.language.whitening import whiten
    from glta_cli.plugin.settings import BackboneSettings
    from glta_cli.recipe.schema import Recipe
    from glta_cli.stages.backbone import backbone_of, model_identity

    texts = item_texts(TEXTS * size)
    recipe = Recipe(backbone=BackboneSettings(layers=EARLY_EXIT))
    cpu = torch.device("cpu")
    folder = tempfile.TemporaryDirectory()

    def work() -> Mapping[str, Any]:
        # Named, so that the folder lives as long as the work.
        cache = Path(folder.name)
        identity = model_identity(recipe, cpu)
        means = text_vectors(lambda: backbone_of(recipe).load(cpu), identity, texts, recipe.text, cache)
        return {"vectors": means, "whitened": whiten(means, recipe.text.dimensions)}

    work()
    return work


def transformers_texts(count: int, layers: int | None = None, dtype: str = "float32") -> Callable[[int], Work]:
    """The whole causal model on one padded batch after another; the mean of the last hidden states."""

    def prepare_work(size: int) -> Work:
        import torch

        from glta_cli.recipe.schema import TextSettings

        texts, model = item_texts(count * size), smollm2(dtype, layers)
        causal, tokenizer = model.module, model.tokenizer
        longest = TextSettings().tokens

        @torch.no_grad()
        def work() -> Mapping[str, Any]:
            vectors = []
            for start in range(0, len(texts), PEER_BATCH):
                batch = tokenizer(
                    texts[start : start + PEER_BATCH],
                    add_special_tokens=False,
                    truncation=True,
                    max_length=longest,
                    padding=True,
                    padding_side="right",
                    return_tensors="pt",
                )
                output = causal(**batch, output_hidden_states=True)
                weights = batch["attention_mask"][:, :, None]  # [B, L, 1]
                states = output.hidden_states[-1].float()  # [B, L, h]
                vectors.append((states * weights).sum(dim=1) / weights.sum(dim=1))
            return {"vectors": torch.cat(vectors).numpy()}

        return work

    return prepare_work


def same_vectors(ours: Mapping[str, Any], peer: Mapping[str, Any]) -> None:
    """Within 1e-4 of the largest entry."""
    bound = 1e-4 * np.abs(peer["vectors"]).max()
    np.testing.assert_allclose(ours["vectors"], peer["vectors"], rtol=0, atol=bound)


def alike_vectors(ours: Mapping[str, Any], peer: Mapping[str, Any]) -> None:
    """The same direction, as far as eight bits of mantissa let thirty layers keep it."""
    first, second = (
        array / np.linalg.norm(array, axis=1, keepdims=True) for array in (ours["vectors"], peer["vectors"])
    )
    assert (first * second).sum(axis=1).min() > 0.99


# ------------------------------------------------------------------------------------------------------------ users


def our_users(size: int) -> Work:
    """Queries of Amazon Sports' users at four layers, as the index stage reads them out."""
    from glta_cli.language.readout import encode_users
    from glta_cli.recipe.schema import EvaluateSettings
    from steps.training import task_of

    task = task_of()
    users, batch_size = some_users(task.seen.user_count, size), EvaluateSettings().batch_size

    def work() -> Mapping[str, Any]:
        return {
            "queries": encode_users(task.module, task.prompts, task.seen, users, rows=1, batch_size=batch_size)[:, 0]
        }

    return work


def some_users(user_count: int, size: int) -> NDArray[np.int64]:
    return np.linspace(0, user_count - 1, USERS * size).astype(np.int64)


def transformers_users(size: int) -> Work:
    """The whole causal model on whole prompts, one padded batch after another in the order of the users."""
    import torch

    from glta_cli.language.prompts import pad_right
    from steps.training import task_of

    task = task_of()
    model = task.module.eval()
    causal: Any = model.language_module
    users = some_users(task.seen.user_count, size)

    @torch.no_grad()
    def work() -> Mapping[str, Any]:
        queries = []
        for start in range(0, len(users), PEER_BATCH):
            written = [task.prompts.write(int(u), task.seen.of(int(u))) for u in users[start : start + PEER_BATCH]]
            padded, mask = (torch.from_numpy(array) for array in pad_right(written))
            embedded = causal.get_input_embeddings()(padded.clamp(min=0))  # [B, L, h]
            embedded[padded < 0] = model.node_vectors(-1 - padded[padded < 0])
            output = causal(inputs_embeds=embedded, attention_mask=mask, output_hidden_states=True)
            ends = output.hidden_states[-1][torch.arange(len(written)), mask.sum(dim=1) - 1]  # [B, h]
            queries.append(model.head.queries(ends))
        return {"queries": torch.cat(queries).numpy()}

    return work


def same_queries(ours: Mapping[str, Any], peer: Mapping[str, Any]) -> None:
    """Within 1e-4 of the largest entry."""
    bound = 1e-4 * np.abs(peer["queries"]).max()
    np.testing.assert_allclose(ours["queries"], peer["queries"], rtol=0, atol=bound)


# ------------------------------------------------------------------------------------------------------------ words


class TransformersGeneration:
    """A language model that leaves generation to transformers."""

    def __init__(self, model: LanguageModel) -> None:
        self.model = model
        self.tokenizer = model.tokenizer

    def generate(self, prompts: Sequence[str], max_new_tokens: int) -> list[str]:
        batch = self.tokenizer(
            list(prompts), add_special_tokens=False, padding=True, padding_side="left", return_tensors="pt"
        )
        end = self.tokenizer.eos_token_id
        output = self.model.module.generate(  # type: ignore[operator]
            **batch, max_new_tokens=max_new_tokens, do_sample=False, pad_token_id=end, eos_token_id=end
        )
        texts: list[str] = self.tokenizer.batch_decode(
            output[:, batch["input_ids"].shape[1] :], skip_special_tokens=True
        )
        return texts


def words(wrap: Callable[[LanguageModel], Any]) -> Callable[[int], Work]:
    """Profile and prediction of users who liked ten items each, in one batch of prompts at size 1."""

    def prepare_work(size: int) -> Work:
        from glta_cli.language.interests import generate_interests
        from glta_cli.recipe.schema import InterestSettings, PromptSettings

        model = wrap(smollm2())
        texts = item_texts(DESCRIBED_USERS * DESCRIPTIONS * size)
        liked = [texts[start : start + DESCRIPTIONS] for start in range(0, len(texts), DESCRIPTIONS)]
        settings = InterestSettings(items=DESCRIPTIONS, new_tokens=NEW_TOKENS)

        def work() -> Mapping[str, Any]:
            with tempfile.TemporaryDirectory() as cache:
                answers = generate_interests(lambda: model, "smollm2", liked, PromptSettings(), settings, Path(cache))
            return {"words": answers}

        return work

    return prepare_work


def same_words(ours: Mapping[str, Any], peer: Mapping[str, Any]) -> None:
    np.testing.assert_array_equal(ours["words"], peer["words"])


STEPS: tuple[Step, ...] = (
    Step(
        name="item texts by a frozen LLM, 4 layers",
        peer_name="transformers, padded batches",
        ours=our_texts(TEXTS, EARLY_EXIT),
        peer=transformers_texts(TEXTS, EARLY_EXIT),
        check=same_vectors,
        targets={"wall": 3.5},
        sizes=(1, 4, 16),
        note="float32 on both sides; 48 tokens a text at most",
    ),
    Step(
        name="item texts by a frozen LLM, 30 layers",
        peer_name="transformers, padded batches",
        ours=our_texts(TEXTS_AT_FULL_DEPTH),
        peer=transformers_texts(TEXTS_AT_FULL_DEPTH),
        check=same_vectors,
        targets={"wall": 3.5},
        note="float32 on both sides; of the peer's work a fifth is the output head and half is padding",
    ),
    Step(
        name="item texts by a frozen LLM, default dtype",
        peer_name="transformers in the checkpoint's bfloat16",
        ours=our_texts(TEXTS_IN_BFLOAT16),
        peer=transformers_texts(TEXTS_IN_BFLOAT16, dtype="bfloat16"),
        check=alike_vectors,
        targets={"wall": 10},
        note="ours in float32, 30 layers; equal to cosine 0.99, the accuracy of bfloat16. The target is for processors "
        "that emulate bfloat16 (ONEDNN_MAX_CPU_ISA=AVX512_CORE); with AMX it is several times as fast as float32",
    ),
    Step(
        name="item texts a second time, 4 layers",
        peer_name="transformers, padded batches",
        ours=our_texts_again,
        peer=transformers_texts(TEXTS, EARLY_EXIT),
        check=same_vectors,
        targets={"wall": 100},
        sizes=(1, 4, 16),
        note="ours: the model's identity, the cached vectors and their whitening, which the peer leaves out. "
        "The first look at a checkpoint hashes it, a second a gigabyte; what was not written since is not hashed again",
    ),
    Step(
        name="users by a frozen LLM, 4 layers",
        peer_name="transformers, padded batches",
        ours=our_users,
        peer=transformers_users,
        check=same_queries,
        targets={"wall": 3.5},
        sizes=(1, 4, 16),
        note="float32 on both sides; Amazon Sports' prompts",
    ),
    Step(
        name="profile and prediction words",
        peer_name="transformers' generate, padded batches",
        ours=words(lambda model: model),
        peer=words(TransformersGeneration),
        check=same_words,
        targets={"wall": 1},
        note="no more was asked for than to be no slower; the prompts of a user share all but the question",
    ),
)
