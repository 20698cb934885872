"""The options several commands share, and how they select a recipe and a run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glta_cli.commands import completion
from glta_cli.core.errors import did_you_mean
from glta_cli.core.terminal import say

if TYPE_CHECKING:
    from glta_cli.recipe.files import LoadedRecipe
    from glta_cli.recipe.schema import Recipe
    from glta_cli.stages.pipeline import Pipeline
    from glta_cli.workspace.workspace import Workspace

DEFAULT_RECIPE = "quickstart"


def checked_device(device: str | None) -> str | None:
    """A device torch can name; None where torch is to choose."""
    if device is None or device == "auto":
        return None
    if not re.fullmatch(r"cpu|mps|cuda(:\d+)?", device):
        hint = did_you_mean(device, ["cpu", "cuda", "mps", "auto"])
        raise typer.BadParameter(f"'{device}' is not one of cpu, cuda, cuda:N, mps, auto{f'; {hint}' if hint else ''}")
    return device


RecipeOption = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        metavar="NAME|FILE",
        help="A shipped recipe (`glta recipes`) or a YAML file; without one, that of --run, else quickstart.",
        autocompletion=completion.recipes,
    ),
]
PreparedRecipeOption = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        metavar="NAME|FILE",
        help="A shipped recipe (`glta recipes`) or a YAML file, whose dataset is prepared.",
        autocompletion=completion.recipes,
    ),
]
AnsweringRecipeOption = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        metavar="NAME|FILE",
        help="A shipped recipe (`glta recipes`) or a YAML file; without one, the latest finished run's.",
        autocompletion=completion.recipes,
    ),
]
RunOption = Annotated[
    str | None,
    typer.Option(
        "--run",
        metavar="NAME",
        help="Name of the run; an existing one brings its own recipe.",
        autocompletion=completion.runs,
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change one setting, such as graph.loss=bpr; repeatable."),
]
DataDirOption = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        metavar="DIR",
        help="Where datasets and runs live (also GLTA_DATA_DIR).",
        file_okay=False,
    ),
]
SeedOption = Annotated[
    int | None,
    typer.Option("--seed", metavar="N", min=0, help="The same as --set seed=N; not the split's seed."),
]
DeviceOption = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="DEVICE",
        help="cpu, cuda, cuda:1, mps or auto.",
        callback=checked_device,
        autocompletion=completion.devices,
    ),
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Show the recipe, the stages, parameters and memory; run nothing.")
]
ProfileOption = Annotated[
    bool, typer.Option("--profile", help="Show where time and memory go, stage by stage; write traces.")
]
RefreshOption = Annotated[
    bool,
    typer.Option("--refresh", help="Read the run's source again, and train anew what depends on it where it changed."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def local_source(source: str, workspace: Workspace) -> str:
    """The source itself; where it is `-`, the file that keeps what is piped in, which is said.

    Raises:
        InputError: nothing is piped in.
    """
    from glta_cli.data.standard_input import STANDARD_INPUT, kept_input

    if source != STANDARD_INPUT:
        return source
    from rich.markup import escape

    path = kept_input(workspace.folder("downloads"))
    say(f"standard input: kept as {escape(str(path))}")
    return str(path)


def open_pipeline(
    recipe: str | None,
    run: str | None,
    overrides: Sequence[str] | None,
    data_dir: Path | None,
    seed: int | None,
    device: str | None,
    *,
    profile: bool = False,
    prefer_latest: bool = False,
    refresh: bool = False,
    default: str = DEFAULT_RECIPE,
) -> Pipeline:
    """The pipeline the shared options select.

    A recipe names its run unless `run` does. Without one, a run keeps the recipe it was made with; without
    either, it is the latest run where `prefer_latest`, else the recipe `default`. Where `prefer_latest`, a run
    of an unknown name is started only if a recipe or a setting says what it is to be, and a finished run is taken as
    it was published unless `refresh`, or a setting of its stages is changed.

    Raises:
        InputError: no such recipe or run, or something wrong inside the recipe or an override.
    """
    from glta_cli.recipe.files import load_recipe, stored_recipe
    from glta_cli.recipe.text_switches import without_defaults
    from glta_cli.stages.pipeline import Pipeline
    from glta_cli.workspace.run import checked_run_name
    from glta_cli.workspace.source_changes import tell_changed_sources
    from glta_cli.workspace.workspace import Workspace

    if run is not None:
        checked_run_name(run)
    workspace = Workspace(data_dir)
    changes = list(overrides or [])
    if seed is not None:
        changes.append(f"seed={seed}")

    if recipe is None:
        if run is None:
            stored = (workspace.latest_run if refresh else workspace.answering_run)() if prefer_latest else None
        elif prefer_latest and not refresh and workspace.run(run) is not None:
            stored = workspace.answering_run(run)
        else:
            stored = workspace.required_run(run) if prefer_latest and not changes else workspace.run(run)
        if stored is not None:
            file = workspace.root / "runs" / f"{stored.name}.json"
            loaded = stored_recipe(stored.name, without_defaults(stored.recipe), changes, file=file)
            kept = fitted_to_machine(loaded, device)
            pipeline = Pipeline(stored.name, kept, workspace, device=device, profile=profile)
            if refresh:
                from glta_cli.stages.run_source import refreshed_source

                pipeline.source = refreshed_source(stored, kept.dataset, workspace)
            if prefer_latest and not refresh and pipeline.answer_from(stored):
                tell_changed_sources(stored, workspace, named=run is not None, data_dir=data_dir)
            if prefer_latest and changes:
                # Who looks at a run with a setting changed has not asked for another run in its place.
                pipeline.recorded = False
                from rich.markup import escape

                say(f"run {escape(stored.name)} stays as it is; --recipe and --run NAME make a run of these settings")
            return pipeline
        say(f"no recipe named: taking {default}")

    loaded = load_recipe(default if recipe is None else recipe, changes)
    fitting = fitted_to_machine(loaded, device)
    return Pipeline(run or loaded.name, fitting, workspace, device=device, profile=profile)


def fitted_to_machine(loaded: LoadedRecipe, device: str | None) -> Recipe:
    """The recipe with what it leaves to the machine settled by the device, and a line where that is less than all.

    Raises:
        GltaError: the machine has no such device.
    """
    if not loaded.automatic:
        return loaded.recipe
    from glta_cli.stages.machine_defaults import fitted

    found = fitted(loaded.recipe, loaded.automatic, device)
    if found.told is not None:
        say(found.told)
    return found.recipe
