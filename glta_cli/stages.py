"""The stages: what each depends on, what it reads, what it publishes. None reaches back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl
import torch
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_tensors
from torch import nn

from glta_cli.component_identity import component_identity
from glta_cli.data.interactions import Interactions
from glta_cli.data.prepared import PreparedDataset
from glta_cli.data.splits import holdout_targets
from glta_cli.errors import InputError
from glta_cli.evaluation.ranking import Scorer
from glta_cli.graph.encoder_outputs import checked_encoder
from glta_cli.graph.interaction_graph import InteractionGraph
from glta_cli.graph.pretraining import Embeddings, PretrainedEncoder, embeddings_of, pretrain
from glta_cli.language.alignment import AlignmentPrompts, AlignmentTask
from glta_cli.language.architecture import choose_dtype
from glta_cli.language.finetuning import Examples, FinetuningTask
from glta_cli.language.gllm import scoring_arrays
from glta_cli.language.interests import generate_interests
from glta_cli.language.model import load_own_tensors, own_tensors
from glta_cli.language.readout import encode_users
from glta_cli.language.text_vectors import text_vectors, whiten
from glta_cli.recipe import GraphSettings, Recipe
from glta_cli.registry import installed
from glta_cli.selection import (
    component_options,
    encoder_dimension,
    encoder_needs_text_vectors,
    require_reader,
    text_reader,
)
from glta_cli.serving.fusion import choose_weights
from glta_cli.serving.index import LAYOUT, LanguageScores, write_index
from glta_cli.stage_context import (
    ALIGNMENT_GRAPH,
    FULL_GRAPH,
    MODEL,
    TARGETS,
    VECTORS,
    WORDS,
    StageContext,
    backbone_of,
    head_takes_texts,
    read_embeddings,
    together,
)
from glta_cli.terminal import progress_bar
from glta_cli.training import TrainingProgress, train, trainable
from glta_cli.workspace import fingerprint


def require_text(prepared: PreparedDataset, needing: str, switch: str) -> None:
    """Raise `InputError` where the dataset has no item texts, which a stage or a component cannot do without."""
    if not prepared.has_text:
        raise InputError(
            f"{prepared.name} was prepared without item texts, which {needing} needs",
            hint=f"prepare it again with its metadata file beside the interactions, or leave it out: --set {switch}",
        )


def training_details(progress: TrainingProgress) -> dict[str, Any]:
    """What a manifest says of a training."""
    return {
        "best_epoch": progress.best_epoch,
        "best_metric": progress.best_metric,
        "steps": progress.step,
        "training_seconds": round(progress.seconds, 2),
        "history": progress.history,
    }


def refit_details(progress: TrainingProgress) -> dict[str, Any]:
    """What a manifest says of a training that selected no epoch."""
    return {
        "epochs": progress.epoch,
        "steps": progress.step,
        "training_seconds": round(progress.seconds, 2),
        "history": progress.history,
    }


# -------------------------------------------------------------------------------------------------- stages


class Stage(ABC):
    """One stage after `prepare`.

    Attributes:
        name: as the artefact and the manifest call it.
        inputs: the stages whose artefacts it reads, whatever the recipe.
    """

    name: ClassVar[str]
    inputs: ClassVar[tuple[str, ...]]

    def needed(self, recipe: Recipe, prepared: PreparedDataset) -> bool:
        """Whether the recipe has this stage at all."""
        return True

    def reads(self, recipe: Recipe) -> tuple[str, ...]:
        """The stages whose artefacts it reads under this recipe, those the recipe leaves out among them."""
        return self.inputs

    @abstractmethod
    def settings(self, recipe: Recipe) -> dict[str, Any]:
        """The part of the recipe the result depends on."""

    def loading(self, recipe: Recipe) -> Recipe:
        """The recipe with the backbone this stage loads, where it loads one, as its backbone."""
        return recipe

    @abstractmethod
    def run(self, context: StageContext, state_folder: Path, folder: Path) -> dict[str, Any]:
        """Fill `folder` and return the details for its manifest."""


class PretrainGraph(Stage):
    """Stage 1: the encoder on the whole training graph and, with a holdout, one on the graph without targets.

    With `graph.refit` the former is trained anew on training and validation interactions once its epoch is selected.
    """

    name = "pretrain-graph"
    inputs = ("prepare",)

    def reads(self, recipe: Recipe) -> tuple[str, ...]:
        # An encoder without texts must not be trained again for another language model.
        return (*self.inputs, "encode-items") if encoder_needs_text_vectors(recipe) else self.inputs

    def settings(self, recipe: Recipe) -> dict[str, Any]:
        graph = recipe.graph.model_dump(mode="json", exclude=_TIMING)
        if not recipe.graph.refit:
            # What was published before there was a choice stays found.
            del graph["refit"]
        return {
            "graph": graph,
            "options": component_options(recipe, "encoder").model_dump(mode="json"),
            "plugin": component_identity(installed().find("encoder", recipe.graph.encoder)),
            "seed": recipe.seed,
        }

    def run(self, context: StageContext, state_folder: Path, folder: Path) -> dict[str, Any]:
        recipe, whole = context.recipe, context.train
        full = self._pretrain(context, whole, state_folder / "full", f"{recipe.graph.encoder} on the whole graph")
        details = {"encoder": recipe.graph.encoder, "full": training_details(full.progress)}
        if recipe.graph.refit:
            full = self._pretrain(
                context,
                together(whole, context.validation),
                state_folder / "refit",
                f"{recipe.graph.encoder} on training and validation",
                fixed_epochs=full.progress.best_epoch,
            )
            details["refit"] = refit_details(full.progress)
        save_file({"users": full.embeddings.users, "items": full.embeddings.items}, folder / FULL_GRAPH)
        if recipe.graph.alignment_holdout == 0:
            return details

        targets = holdout_targets(whole, recipe.graph.alignment_holdout, recipe.seed)
        visible = whole.where(~targets)
        held = self._pretrain(
            context, visible, state_folder / "alignment", f"{recipe.graph.encoder} without stage 3's targets"
        )
        served = self._on_graph(context, held.module, whole)
        save_file(
            {
                "users": held.embeddings.users,
                "items": held.embeddings.items,
                "served_users": served.users,
                "served_items": served.items,
            },
            folder / ALIGNMENT_GRAPH,
        )
        save_file({"targets": targets.astype(np.uint8)}, folder / TARGETS)
        return details | {"targets": int(targets.sum()), "alignment": training_details(held.progress)}

    def _pretrain(
        self,
        context: StageContext,
        edges: Interactions,
        state_folder: Path,
        description: str,
        *,
        fixed_epochs: int | None = None,
    ) -> PretrainedEncoder:
        return pretrain(
            partial(self._encoder, context),
            context.recipe.graph,
            edges,
            context.train,
            context.validation,
            seed=context.recipe.seed,
            device=context.device,
            state_folder=state_folder,
            description=description,
            fixed_epochs=fixed_epochs,
        )

    def _on_graph(self, context: StageContext, trained: nn.Module, edges: Interactions) -> Embeddings:
        """The same parameters, propagated over another graph of the same nodes."""
        encoder = self._encoder(context, InteractionGraph(edges)).to(context.device)
        with installed().find("encoder", context.recipe.graph.encoder).named():
            # What it says of shapes that differ is that something saved follows from the edges.
            encoder.load_state_dict(trained.state_dict())
        return embeddings_of(encoder, context.recipe.graph)

    @staticmethod
    def _encoder(context: StageContext, graph: InteractionGraph) -> nn.Module:
        recipe = context.recipe
        component = installed().find("encoder", recipe.graph.encoder)
        # Each encoder has a copy of its own: what one did to it must not show in the next.
        texts = (torch.from_numpy(context.text_vectors()),) if component.needs_text_vectors() else ()
        encoder = component.build(graph, component_options(recipe, "encoder"), *texts)
        with component.named():
            return checked_encoder(encoder, graph, encoder_dimension(recipe))


class EncodeItems(Stage):
    """Item texts to whitened vectors, for the tied head and whoever else asks for them."""

    name = "encode-items"
    inputs = ("prepare",)

    def needed(self, recipe: Recipe, prepared: PreparedDataset) -> bool:
        """Whether the head or the encoder takes them.

        Raises:
            InputError: the encoder needs item texts, and the dataset has none or the backbone reads none.
        """
        if not encoder_needs_text_vectors(recipe):
            return recipe.finetune.enabled and head_takes_texts(recipe) and prepared.has_text
        encoder, switch = f"the encoder '{recipe.graph.encoder}'", f"graph.encoder={GraphSettings().encoder}"
        require_text(prepared, encoder, switch)
        require_reader(recipe, encoder, f"leave it out: --set {switch}")
        return True

    def loading(self, recipe: Recipe) -> Recipe:
        return text_reader(recipe)

    def settings(self, recipe: Recipe) -> dict[str, Any]:
        return {
            "backbone": frozen_backbone_settings(self.loading(recipe)),
            # Which backbone that is stands in its own settings.
            "text": recipe.text.model_dump(
                mode="json", exclude={"backbone", "options", "batch_size", "shuffled", "vectors"}
            ),
            **_dealt_texts(recipe),
        }

    def run(self, context: StageContext, state_folder: Path, folder: Path) -> dict[str, Any]:
        recipe = self.loading(context.recipe)
        backbone = backbone_of(recipe)
        plain = text_vectors(
            partial(backbone.load, context.device),
            model_identity(recipe, context.device),
            context.texts,
            recipe.text,
            context.workspace.folder("encodings"),
        )
        vectors = whiten(plain, recipe.text.dimensions)
        save_file({"vectors": vectors}, folder / VECTORS)
        return {"items": len(vectors), "dimensions": vectors.shape[1]}


class ModelStage(Stage):
    """A stage with the language model and its head."""

    def reads(self, recipe: Recipe) -> tuple[str, ...]:
        # Vectors that are there for the encoder alone are none of the head's.
        return tuple(name for name in self.inputs if name != "encode-items" or head_takes_texts(recipe))


class Align(ModelStage):
    """Stage 2: the item projector and the head, on prompts that match item tokens with descriptions."""

    name = "align"
    inputs = ("prepare", "pretrain-graph", "encode-items")

    def needed(self, recipe: Recipe, prepared: PreparedDataset) -> bool:
        return recipe.finetune.enabled and recipe.align.enabled

    def settings(self, recipe: Recipe) -> dict[str, Any]:
        return {
            "align": recipe.align.model_dump(mode="json", exclude=_TIMING),
            "backbone": frozen_backbone_settings(recipe),
            "prompts": {"system": recipe.prompts.system, "alignment": recipe.prompts.alignment},
            "head": recipe.finetune.head,
            "seed": recipe.seed,
            **_dealt_texts(recipe),
        }

    def run(self, context: StageContext, state_folder: Path, folder: Path) -> dict[str, Any]:
        recipe = context.recipe
        require_text(context.prepared, "align", "align.enabled=false")
        model = context.model(context.embeddings(serving=False), adapters=False)
        tokenizer = model.language_model.tokenizer
        prompts = AlignmentPrompts(tokenizer, context.texts, context.prepared.user_count, recipe.align, recipe.prompts)
        task = AlignmentTask(model, prompts, recipe.align, recipe.seed)
        progress = train(task, recipe.align.training, state_folder=state_folder, description="align items")
        save_tensors(own_tensors(model), folder / MODEL)
        return {"labels": recipe.align.labels, **training_details(progress)}


class DescribeUsers(Stage):
    """Profile and prediction words, generated by the backbone from training items, held-out targets left out."""

    name = "describe-users"
    inputs = ("prepare", "pretrain-graph")

    def needed(self, recipe: Recipe, prepared: PreparedDataset) -> bool:
        return recipe.finetune.enabled and (recipe.interests.profile or recipe.interests.prediction)

    def settings(self, recipe: Recipe) -> dict[str, Any]:
        prompts = recipe.prompts
        return {
            "interests": recipe.interests.model_dump(mode="json", exclude={"batch_size"}),
            "prompts": {
                "system": prompts.system,
                "profile": prompts.profile,
                "prediction": prompts.prediction,
            },
            "backbone": frozen_backbone_settings(recipe) | {"layers": None},
            **_dealt_texts(recipe),
        }

    def run(self, context: StageContext, state_folder: Path, folder: Path) -> dict[str, Any]:
        recipe, prepared = context.recipe, context.prepared
        require_text(prepared, "describe-users", "interests.profile=false --set interests.prediction=false")
        backbone = backbone_of(recipe)
        shown = recipe.interests.items
        visible = context.visible
        descriptions = [
            [context.texts[item] for item in visible.of(user)[-shown:]] for user in range(prepared.user_count)
        ]
        profiles, predictions = generate_interests(
            partial(backbone.load, context.device, full_depth=True),
            model_identity(recipe, context.device, full_depth=True),
            descriptions,
            recipe.prompts,
            recipe.interests,
            context.workspace.folder("generations"),
        )
        pl.DataFrame({"user": prepared.user_ids, "profile": profiles, "prediction": predictions}).write_parquet(
            folder / WORDS
        )
        return {"users": prepared.user_count, "with_profile": sum(map(bool, profiles))}


class Finetune(ModelStage):
    """Stage 3: the user projector, the head and, where the recipe says so, adapters."""

    name = "finetune"
    inputs = ("prepare", "pretrain-graph", "encode-items", "align", "describe-users")

    def needed(self, recipe: Recipe, prepared: PreparedDataset) -> bool:
        return recipe.finetune.enabled

    def settings(self, recipe: Recipe) -> dict[str, Any]:
        # Readout and fusion are decided at inference; the trained model is the same.
        decided_elsewhere = {"enabled": True, "readout": True, "fusion": True, **_TIMING}
        settings = recipe.finetune.model_dump(mode="json", exclude=decided_elsewhere)
        lora = recipe.backbone.lora
        return {
            "finetune": settings,
            "backbone": frozen_backbone_settings(recipe) | {"lora": lora and lora.model_dump(mode="json")},
            "prompts": _stage_3_prompts(recipe),
            "seed": recipe.seed,
        }

    def run(self, context: StageContext, state_folder: Path, folder: Path) -> dict[str, Any]:
        recipe = context.recipe
        model = context.model(context.embeddings(serving=False), adapters=True)
        aligned = context.artefacts.get("align")
        if aligned is not None:
            load_own_tensors(model, aligned.file(MODEL))
        task = FinetuningTask(
            model,
            context.user_prompts(model.language_model.tokenizer),
            Examples(context.train, context.holdout, recipe.finetune, recipe.seed),
            context.train,
            context.validation,
            recipe.finetune,
            aligned=aligned is not None,
            inference_batch=recipe.evaluate.batch_size,
            seed=recipe.seed,
        )
        # The regression knows the state at the end of the prompt only, not those at the placeholders.
        if recipe.finetune.head == "tied" and recipe.finetune.loss == "first" and recipe.finetune.warm_start_users:
            task.warm_start(recipe.graph.temperature if recipe.graph.loss == "softmax" else 1.0)
        parameters = {name: parameter.numel() for name, parameter in trainable(model).items()}
        progress = train(task, recipe.finetune.training, state_folder=state_folder, description="fine-tune")
        save_tensors(own_tensors(model), folder / MODEL)
        return {"trainable_parameters": sum(parameters.values()), **training_details(progress)}


class BuildIndex(ModelStage):
    """Read every user out of the model once, choose the fusion weights on validation, and publish vectors."""

    name = "index"
    inputs = ("prepare", "pretrain-graph", "encode-items", "align", "describe-users", "finetune")

    def needed(self, recipe: Recipe, prepared: PreparedDataset) -> bool:
        return recipe.finetune.enabled

    def settings(self, recipe: Recipe) -> dict[str, Any]:
        return {
            "layout": LAYOUT,
            "readout": recipe.finetune.readout,
            "fusion": recipe.finetune.fusion,
            "positions": recipe.finetune.positions,
        }

    def run(self, context: StageContext, state_folder: Path, folder: Path) -> dict[str, Any]:
        settings = context.recipe.finetune
        language = self._language_scores(context)
        graph = read_embeddings(context.artefacts["pretrain-graph"])
        weights = None
        if settings.fusion:
            scorer: Scorer = language.scorer(context.train)
            weights = choose_weights(
                graph.scorer(), scorer, context.train, context.validation, seed=context.recipe.seed
            )
        prepared = context.prepared
        write_index(
            folder,
            language,
            graph.users,
            graph.items,
            context.train.counts,
            prepared.history(),
            user_ids=prepared.user_ids,
            item_ids=prepared.item_ids,
            titles=prepared.titles,
        )
        return {
            "dataset": prepared.name,
            "users": prepared.user_count,
            "items": prepared.item_count,
            "encoder": context.recipe.graph.encoder,
            "readout": settings.readout,
            "fusion": None if weights is None else {"starts": weights.starts, "weights": weights.weights},
        }

    @staticmethod
    def _language_scores(context: StageContext) -> LanguageScores:
        recipe = context.recipe
        model = context.model(context.embeddings(serving=True), adapters=True)
        load_own_tensors(model, context.artefacts["finetune"].file(MODEL))
        prompts = context.user_prompts(model.language_model.tokenizer)
        model.share_prefix(prompts.template.literals[0])
        users = np.arange(context.prepared.user_count)
        with progress_bar(len(users), "read out users", "users") as bar:
            rows = encode_users(
                model,
                prompts,
                context.train,
                users,
                rows=1 if recipe.finetune.readout == "first" else recipe.finetune.positions,
                batch_size=recipe.evaluate.batch_size,
                autoregressive=recipe.finetune.readout == "autoregressive",
                advance=bar.update,
            )
        return LanguageScores(rows, *scoring_arrays(model.head))


STAGES: tuple[Stage, ...] = (
    EncodeItems(),
    PretrainGraph(),
    Align(),
    DescribeUsers(),
    Finetune(),
    BuildIndex(),
)


# How often a state is saved does not change what is trained.
_TIMING: Any = {"training": {"checkpoint_seconds"}}


def _dealt_texts(recipe: Recipe) -> dict[str, Any]:
    """What decides which text is an item's: nothing, or the seed where texts are shuffled."""
    return {"texts_shuffled_by": recipe.seed} if recipe.text.shuffled else {}


def frozen_backbone_settings(recipe: Recipe) -> dict[str, Any]:
    """The backbone without its adapters, which only stage 3 trains, and without what only saves memory."""
    settings = recipe.backbone.model_dump(mode="json", exclude={"lora", "gradient_checkpointing", "device_map"})
    return settings | {"plugin": component_identity(installed().find("backbone", recipe.backbone.name))}


def model_identity(recipe: Recipe, device: torch.device, *, full_depth: bool = False) -> str:
    """Changes with whatever decides what the frozen model computes: weights, tokenizer, depth and resolved dtype."""
    settings = frozen_backbone_settings(recipe)
    if full_depth:
        settings["layers"] = None
    # Under `auto` the same recipe computes in another dtype on another device.
    dtype = str(choose_dtype(recipe.backbone.dtype, device))
    return fingerprint([settings, backbone_of(recipe).identity(), dtype])


def backbone_fingerprint(recipe: Recipe) -> str:
    """Changes when the language model's weights change."""
    return fingerprint(backbone_of(recipe).identity())


def _stage_3_prompts(recipe: Recipe) -> dict[str, Any]:
    keys = {"system", "recommendation", "profile_line", "prediction_line", "placeholder"}
    return recipe.prompts.model_dump(mode="json", include=keys)
