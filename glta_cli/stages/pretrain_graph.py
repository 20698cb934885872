"""Stage `pretrain-graph` (1): the graph encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.markup import escape
from torch import nn

from glta_cli.core.tensors import read_tensors, write_tensors
from glta_cli.core.terminal import say
from glta_cli.core.world import team
from glta_cli.data.splits import holdout_targets, latest_targets
from glta_cli.graph.pretraining import Embeddings, PretrainedEncoder, pretrain
from glta_cli.plugin.identity import component_identity
from glta_cli.plugin.interaction_graph import InteractionGraph
from glta_cli.plugin.interactions import Interactions
from glta_cli.plugin.registry import installed
from glta_cli.recipe.schema import Recipe
from glta_cli.recipe.selection import (
    component_options,
    encoder_dimension,
    encoder_needs_text_vectors,
    targets_share,
)
from glta_cli.recipe.target_folds import fold_count, in_folds
from glta_cli.stages.context import (
    ALIGNMENT_AT_TEST,
    ALIGNMENT_GRAPH,
    ALIGNMENT_PARAMETERS,
    FULL_AT_TEST,
    FULL_GRAPH,
    FULL_PARAMETERS,
    TARGETS,
    StageContext,
    together,
)
from glta_cli.stages.dependence import Dependence
from glta_cli.stages.fold_encoders import drawn_folds, write_folds
from glta_cli.stages.known_at_test import known_at_test
from glta_cli.stages.propagation import encoder_on, parameters_of, propagated
from glta_cli.stages.stage import FLOAT, Stage, details_of, refit_details, trained
from glta_cli.stages.warm_start import Earlier, earlier, start_at, targets_kept
from glta_cli.workspace.artefact import Artefact


class PretrainGraph(Stage):
    """Stage 1: the encoder on the whole training graph and, with a holdout for stage 3, one on that without targets.

    With `graph.refit` the former is trained anew on training and validation interactions once its epoch is selected.
    Where the split is in time, both are published on the graph of all that is known at test time too. Where stage 3's
    targets come in folds, there is an encoder without each of them.
    """

    name = "pretrain-graph"
    inputs = ("prepare",)
    shared = True

    def reads(self, recipe: Recipe) -> tuple[str, ...]:
        # An encoder without texts must not be trained again for another language model.
        return (*self.inputs, "encode-items") if encoder_needs_text_vectors(recipe) else self.inputs

    def reads_texts(self, recipe: Recipe) -> bool:
        return encoder_needs_text_vectors(recipe)

    def settings(self, recipe: Recipe) -> dict[str, Any]:
        return self._settings(recipe, targets_share(recipe))

    def settings_of_more(self, recipe: Recipe) -> list[dict[str, Any]]:
        """Without stage 3, those of an encoder that was published with the one behind stage 3 beside it."""
        return [] if recipe.finetune.enabled else [self._settings(recipe, recipe.graph.alignment_holdout)]

    def _settings(self, recipe: Recipe, targets: float) -> dict[str, Any]:
        graph = trained(recipe.graph) | {"alignment_holdout": targets}
        if not recipe.graph.refit:
            # What was published before there was a choice stays found.
            del graph["refit"]
        return {
            "graph": graph,
            "options": component_options(recipe, "encoder").model_dump(mode="json"),
            "plugin": component_identity(installed().find("encoder", recipe.graph.encoder)),
            "seed": recipe.seed,
            **known_at_test(recipe),
            **({"targets": recipe.finetune.targets} if targets and recipe.finetune.targets != "share" else {}),
        }

    def bytes_to_write(self, context: StageContext) -> int:
        prepared, recipe = context.prepared, context.recipe
        # With a holdout, the vectors of the second graph, and those of its encoder on the first.
        times = 3 if targets_share(recipe) else 1
        if recipe.dataset.split.in_time:
            times += 2 if targets_share(recipe) else 1
        times += fold_count(recipe) if in_folds(recipe) else 0
        return times * (prepared.user_count + prepared.item_count) * encoder_dimension(recipe) * FLOAT

    def run(self, context: StageContext, state_folder: Path, folder: Path) -> dict[str, Any]:
        _tell_of_order(context)
        start = earlier(context, "pretrain-graph")
        details = self._on_whole_graph(context, start, state_folder, folder)
        if targets_share(context.recipe):
            details |= self._without_targets(context, start, state_folder, folder)
        return details

    def _on_whole_graph(
        self, context: StageContext, start: Earlier | None, state_folder: Path, folder: Path
    ) -> dict[str, Any]:
        """Train and write the encoder that ranks, or take what an evaluation or a recipe without stage 3 trained."""
        recipe, whole = context.recipe, context.train
        known = None if start is not None or context.selected is not None else self._published_alone(context)
        if known is not None:
            for name in (FULL_GRAPH, FULL_PARAMETERS, FULL_AT_TEST):
                if known.has(name):
                    write_tensors(folder / name, read_tensors(known.file(name)))
            return {key: known.details[key] for key in ("encoder", "full")}
        epochs = context.epochs_selected("pretrain-graph", "full")
        full = self._pretrain(
            context,
            whole,
            state_folder / "full",
            f"{recipe.graph.encoder} on {'the whole graph' if epochs is None else 'everything known'}",
            start=(start, FULL_PARAMETERS),
            fixed_epochs=epochs,
        )
        details = {"encoder": recipe.graph.encoder, "full": details_of(full.progress, epochs)}
        if recipe.graph.refit:
            full = self._pretrain(
                context,
                together(whole, context.validation),
                state_folder / "refit",
                f"{recipe.graph.encoder} on training and validation",
                fixed_epochs=full.progress.best_epoch,
            )
            details["refit"] = refit_details(full.progress)
        parameters = parameters_of(full.module)
        # One that reads texts was trained without those of hidden items.
        hides_items = context.prepared.items_to_learn is not None
        _write_embeddings(
            folder / FULL_GRAPH, propagated(context, parameters, whole) if hides_items else full.embeddings
        )
        write_tensors(folder / FULL_PARAMETERS, parameters)
        # A refitted one has seen them: its own graph is that of all that is known.
        if recipe.dataset.split.in_time and not recipe.graph.refit:
            _write_embeddings(folder / FULL_AT_TEST, propagated(context, parameters, context.histories_at_test))
        return details

    def _published_alone(self, context: StageContext) -> Artefact | None:
        """The same encoder, published without the one behind stage 3; None where there is none, or it is of 0.1."""
        recipe = context.recipe
        alone = recipe.model_copy(update={"finetune": recipe.finetune.model_copy(update={"enabled": False})})
        inputs = {name: context.artefacts[name].fingerprint for name in self.reads(alone) if name in context.artefacts}
        made = Dependence(self, alone, self.settings(alone), inputs, None, None)
        found = made.found_in(context.workspace)[0]
        # Another command may publish it just now: the processes of this one all have it, or none.
        there = team().broadcast(context.workspace.published(self.name, found) is not None)
        artefact = context.workspace.published(self.name, found) if there else None
        return artefact if artefact is not None and artefact.has(FULL_PARAMETERS) else None

    def _without_targets(
        self, context: StageContext, start: Earlier | None, state_folder: Path, folder: Path
    ) -> dict[str, Any]:
        """Train and write the encoder behind stages 2 and 3, which knows none of the targets of stage 3."""
        recipe, whole = context.recipe, context.train
        targets = _drawn_targets(recipe, whole)
        if start is not None:
            targets = targets_kept(targets, whole, start)
        visible = whole.where(~targets)
        epochs = context.epochs_selected("pretrain-graph", "alignment")
        held = self._pretrain(
            context,
            visible,
            state_folder / "alignment",
            f"{recipe.graph.encoder} without stage 3's targets",
            start=(start, ALIGNMENT_PARAMETERS),
            fixed_epochs=epochs,
        )
        parameters = parameters_of(held.module)
        served = propagated(context, parameters, whole)
        write_tensors(
            folder / ALIGNMENT_GRAPH,
            {
                "users": held.embeddings.users,
                "items": held.embeddings.items,
                "served_users": served.users,
                "served_items": served.items,
            },
        )
        write_tensors(folder / ALIGNMENT_PARAMETERS, parameters)
        if recipe.dataset.split.in_time:
            _write_embeddings(folder / ALIGNMENT_AT_TEST, propagated(context, parameters, context.histories_at_test))
        write_tensors(folder / TARGETS, {"targets": targets.astype(np.uint8)})
        told = {"targets": int(targets.sum()), "alignment": details_of(held.progress, epochs)}
        return told | self._other_folds(context, targets, held.embeddings, state_folder, folder)

    def _other_folds(
        self,
        context: StageContext,
        first: NDArray[np.bool_],
        embeddings: Embeddings,
        state_folder: Path,
        folder: Path,
    ) -> dict[str, Any]:
        """Where targets come in folds: the encoders of all but the first, and what the manifest says of them.

        They start anew where a run is trained again: which interactions were in their folds then is not known.
        """
        recipe, whole = context.recipe, context.train
        if not in_folds(recipe):
            return {}
        folds = drawn_folds(recipe, whole, first)
        count = fold_count(recipe)
        epochs = {str(fold): context.epochs_selected("pretrain-graph", "folds", str(fold)) for fold in range(1, count)}
        trained = write_folds(
            folder,
            folds,
            embeddings,
            lambda fold, visible: self._pretrain(
                context,
                whole.where(visible),
                state_folder / f"fold-{fold}",
                f"{recipe.graph.encoder} without fold {fold + 1} of {count}",
                fixed_epochs=epochs[str(fold)],
            ),
        )
        progress = {fold: details_of(each.progress, epochs[fold]) for fold, each in trained.items()}
        return {"folds": progress, "targets": int((folds >= 0).sum())}

    def _pretrain(
        self,
        context: StageContext,
        edges: Interactions,
        state_folder: Path,
        description: str,
        *,
        start: tuple[Earlier | None, str] = (None, ""),
        fixed_epochs: int | None = None,
    ) -> PretrainedEncoder:
        """Train one encoder, started at the earlier one with the published parameters of that name, where there is."""

        def encoder(graph: InteractionGraph) -> nn.Module:
            made = encoder_on(context, graph, to_learn=True)
            before, parameters = start
            return made if before is None else start_at(made, before, parameters)

        return pretrain(
            encoder,
            context.recipe.graph,
            edges,
            context.train,
            context.prepared.validation_of_known(),
            seed=context.recipe.seed,
            device=context.device,
            state_folder=state_folder,
            description=description,
            fixed_epochs=fixed_epochs,
            catalogue=context.prepared.items_to_learn,
        )


def _drawn_targets(recipe: Recipe, train: Interactions) -> NDArray[np.bool_]:
    """Which training interactions the encoder behind stages 2 and 3 does not see, bool [n]."""
    if in_folds(recipe):
        return drawn_folds(recipe, train) == 0
    if recipe.finetune.targets == "latest":
        return latest_targets(train, recipe.graph.alignment_holdout)
    return holdout_targets(train, recipe.graph.alignment_holdout, recipe.seed)


def _tell_of_order(context: StageContext) -> None:
    """Say by what order an encoder of histories reads them where there are no times."""
    name = context.recipe.graph.encoder
    if installed().find("encoder", name).reads_histories() and context.prepared.newest is None:
        say(f"  [yellow]note[/]: no times: {escape(name)} reads each user's items in the order of the source")


def _write_embeddings(path: Path, embeddings: Embeddings) -> None:
    write_tensors(path, {"users": embeddings.users, "items": embeddings.items})
