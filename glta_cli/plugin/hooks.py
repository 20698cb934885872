"""The hooks: what glta asks a plugin for, one a kind of component."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pluggy

from glta_cli.plugin.declarations import (
    BackboneDeclaration,
    BaselineDeclaration,
    DatasetDeclaration,
    EncoderDeclaration,
    Kind,
    LoggerDeclaration,
)

API_VERSION = 1
"""A plugin module may claim the version it was written for: `GLTA_API_VERSION = 1`. Another one is not loaded."""

ENTRY_POINT_GROUP = "glta"

hookspec = pluggy.HookspecMarker(ENTRY_POINT_GROUP)
hookimpl = pluggy.HookimplMarker(ENTRY_POINT_GROUP)


@hookspec
def glta_graph_encoders() -> Iterable[EncoderDeclaration]:  # type: ignore[empty-body]
    """Yield the graph encoders of this plugin; a recipe selects one by `graph.encoder`.

    Example:
        from glta_cli.plugin import EncoderDeclaration, hookimpl

        @hookimpl
        def glta_graph_encoders():
            yield EncoderDeclaration(
                name="mf",
                summary="matrix factorisation",
                target="my_package.encoder:MatrixFactorisation",
                config="my_package.settings:MatrixFactorisationSettings",
                grid={"dimension": [32, 64]},
            )
    """


@hookspec
def glta_backbones() -> Iterable[BackboneDeclaration]:  # type: ignore[empty-body]
    """Yield the language models of this plugin; a recipe selects one by `backbone.name`, or by `text.backbone`.

    Example:
        from glta_cli.plugin import BackboneDeclaration, hookimpl

        @hookimpl
        def glta_backbones():
            yield BackboneDeclaration(
                name="small-qwen",
                summary="a small Qwen2 with random weights",
                target="my_package.backbone:SmallQwen",
                config="my_package.settings:SmallQwenSettings",
            )
    """


@hookspec
def glta_datasets() -> Iterable[DatasetDeclaration]:  # type: ignore[empty-body]
    """Yield the datasets of this plugin; a recipe selects one by `dataset.name`.

    Example:
        from glta_cli.plugin import DatasetDeclaration, hookimpl

        @hookimpl
        def glta_datasets():
            yield DatasetDeclaration(
                name="library-loans",
                summary="who borrowed which book",
                target="my_package.dataset:LibraryLoans",
                config="my_package.settings:LibraryLoansSettings",
            )
    """


@hookspec
def glta_baselines() -> Iterable[BaselineDeclaration]:  # type: ignore[empty-body]
    """Yield the baselines of this plugin; a recipe lists them in `evaluate.baselines`.

    Example:
        from glta_cli.plugin import BaselineDeclaration, hookimpl

        @hookimpl
        def glta_baselines():
            yield BaselineDeclaration(
                name="neighbours",
                summary="items that stand in the same histories",
                target="my_package.baseline:Neighbours",
                config="my_package.settings:NeighboursSettings",
                grid={"shrink": [0.0, 10.0, 100.0]},
                time_grid={"recency": [1.0, 0.8]},
            )
    """


@hookspec
def glta_loggers() -> Iterable[LoggerDeclaration]:  # type: ignore[empty-body]
    """Yield the loggers of this plugin; a recipe lists them in `loggers`.

    Example:
        from glta_cli.plugin import LoggerDeclaration, hookimpl

        @hookimpl
        def glta_loggers():
            yield LoggerDeclaration(
                name="diary",
                summary="a line of text a stage",
                target="my_package.logger:Diary",
                config="my_package.settings:DiarySettings",
            )
    """


HOOK_OF_KIND: Mapping[Kind, str] = {
    "encoder": "glta_graph_encoders",
    "backbone": "glta_backbones",
    "dataset": "glta_datasets",
    "baseline": "glta_baselines",
    "logger": "glta_loggers",
}
