"""A run of a recipe: brings stages up to date in order, and skips what was published before."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from glta_cli.core.terminal import nothing_on_stdout
from glta_cli.data.prepared import PreparedDataset
from glta_cli.recipe.fused_terms import ENCODER, terms_of
from glta_cli.recipe.schema import Recipe
from glta_cli.stages.dependence import Dependence
from glta_cli.stages.known_at_test import knows_all_at_test
from glta_cli.stages.lineage import GO_ON, LANGUAGE_STAGES, SERVING, STAGES, lineage_of
from glta_cli.stages.published_run import published_stages
from glta_cli.stages.run_record import failure_noted, record_served, record_stages
from glta_cli.stages.run_so_far import dataset_of, run_so_far
from glta_cli.workspace.artefact import Artefact
from glta_cli.workspace.run import Run, checked_run_name
from glta_cli.workspace.stored_recipe import deciding
from glta_cli.workspace.workspace import Workspace

if TYPE_CHECKING:
    from glta_cli.stages.loggers import Loggers
    from glta_cli.stages.schedule import Schedule
    from glta_cli.training.profiling import StageProfile


class Pipeline:
    """One run.

    Args:
        name: of the run; a run of that name is continued.
        recipe: what to run.
        device: a torch device by name; None picks one.
        profile: whether to measure the stages that run.

    Raises:
        InputError: its name would lead out of the workspace.
    """

    def __init__(
        self, name: str, recipe: Recipe, workspace: Workspace, *, device: str | None = None, profile: bool = False
    ) -> None:
        self.name = checked_run_name(name)
        self.recipe = recipe
        self.workspace = workspace
        self.device = device
        self.profile = profile
        self.named_after: tuple[str, ...] = ()
        self.recorded = True
        self.as_published = False
        self.source: str | None = None  # read in place of the recipe's
        self._published_own = False
        self._texts_told = False
        self._sources: dict[str, list[Any]] = {}
        self._artefacts: dict[str, Artefact] = {}
        self._schedule: Schedule | None = None
        self.announced = False
        self._weights_of_backbone: dict[str, str] = {}

    @property
    def last_stage(self) -> str:
        """The stage whose artefact ranks: the index, or the encoder where it is the only term."""
        return "pretrain-graph" if terms_of(self.recipe) == (ENCODER,) else "index"

    @nothing_on_stdout()
    def ensure(self, stage: str) -> Artefact:
        """Run what is missing up to `stage`, one line on stderr for each, and return its artefact.

        Raises:
            BusyError: another process runs the same stage.
            GltaError: the recipe leaves this stage out.
        """
        if self.as_published and stage in self._artefacts:
            return self._artefacts[stage]
        with self._failure_noted():
            wanted = self.checked(stage)
        if stage in self._artefacts:
            return self._artefacts[stage]
        if self.as_published:
            # What a finished run has stays what it was made of, whatever would be made of its recipe today.
            wanted = [each for each in wanted if each.name not in self._artefacts]
        from glta_cli.stages.schedule import scheduled

        self._schedule = scheduled(self, wanted, self._unpublished(wanted))
        for each in wanted:
            with self._failure_noted():
                self._artefacts[each.name] = self._up_to_date(each)
            if self._published_own:
                self._save()
        self._save()
        if self.as_published and stage == SERVING:
            record_served(self.name, self._artefacts[stage], self.workspace)
        return self._artefacts[stage]

    def checked(self, stage: str) -> list[Any]:
        """The stages up to `stage` this recipe has, once nothing is known that would keep one of them from running.

        Raises:
            GltaError: the recipe leaves this stage out, or an encoder or a backbone cannot be imported.
            InputError: what asks for item texts cannot have them.
        """
        from glta_cli.core.errors import GltaError
        from glta_cli.plugin.registry import installed
        from glta_cli.stages.texts import require_texts_of

        self.require(stage)
        prepared = self.prepared()
        if any(each.name == stage and not each.needed(self.recipe, prepared) for each in self._later_stages()):
            require_texts_of(stage, self._later_stages(), self.recipe, prepared)
            raise GltaError(f"this recipe leaves out {stage}", location=self.name, hint=GO_ON)
        lineage = lineage_of(stage, self.recipe)
        wanted = [each for each in self._later_stages() if each.name in lineage and each.needed(self.recipe, prepared)]
        self._tell_what_lacks_texts(lineage, prepared)
        loading = [each for each in wanted if "backbone" in each.settings(self.recipe)]
        for name in sorted({each.loading(self.recipe).backbone.name for each in loading}):
            # One that cannot be imported is said before the stages that do without it have run for hours.
            installed().find("backbone", name).target()
        reading = [each for each in self._unpublished(wanted) if "backbone" in each.settings(self.recipe)]
        if reading:
            from glta_cli.stages.backbone_checks import check_backbones

            check_backbones(reading, self.recipe, prepared)
        return wanted

    def _tell_what_lacks_texts(self, stages: set[str], prepared: PreparedDataset) -> None:
        """One line, once, on what the recipe would have and drops out where nothing is written about the items."""
        from glta_cli.core.terminal import say
        from glta_cli.stages.texts import left_out_without_texts

        left_out = "" if prepared.has_text or self._texts_told else left_out_without_texts(self.recipe, stages)
        if left_out:
            self._texts_told = True
            say(f"no item texts: without {left_out}")

    def _unpublished(self, stages: list[Any]) -> list[Any]:
        """Those of the stages, which stand in order, that have yet to run."""
        fingerprints = {name: artefact.fingerprint for name, artefact in self._artefacts.items()}
        missing = []
        for stage in stages:
            if self.as_published and stage.name in fingerprints:
                continue
            identity, _, _, _ = self._depends_on(stage, fingerprints)
            if self.workspace.published(stage.name, identity) is None:
                missing.append(stage)
            fingerprints[stage.name] = identity
        return missing

    def require(self, stage: str) -> None:
        """Raise `GltaError` where the recipe has no language model to run `stage`; looks at the recipe alone."""
        if not self.recipe.finetune.enabled and stage in LANGUAGE_STAGES:
            from glta_cli.core.errors import GltaError

            raise GltaError(
                f"this recipe leaves out {stage}: it has no language model",
                location=self.name,
                hint=f"{GO_ON}; finetune.enabled=true trains one",
            )

    def answer_from(self, run: Run, *, to_measure: bool = True) -> bool:
        """Take what a finished run published as it is, without a look at its source; the run stays as it was.

        Args:
            to_measure: whether figures are to come from it; who only asks it may ask one that knows less at test.

        Returns:
            Whether that can be: the run is finished and of this recipe, all of it is there, its index can be read, and
            users are in it as every other row of an evaluation knows them.
        """
        artefacts = published_stages(run, self.workspace)
        if artefacts is None or deciding(run.recipe) != deciding(self.recipe.model_dump(mode="json")):
            return False
        if to_measure and not knows_all_at_test(artefacts, self.recipe):
            from rich.markup import escape

            from glta_cli.core.terminal import say

            say(
                f"run {escape(run.name)} was made when histories at test held training items alone: it is made again, "
                "to know the validation items too"
            )
            # Its own data, wherever their source is by now.
            self._artefacts, self._sources = {"prepare": artefacts["prepare"]}, dict(run.sources)
            return False
        _ = self.loggers  # one that cannot be had is said before anything runs
        self._artefacts = artefacts
        self.as_published = True
        self.recorded = False
        return True

    @nothing_on_stdout()
    def beside(self, stage: str) -> Artefact:
        """The artefact of a stage that reads the prepared dataset alone, for others than this run.

        Made now where it is not, even where the recipe leaves the stage out; it does not become part of the run. Where
        the run is given shuffled texts, others are given the true ones.
        """
        self.prepared()
        if self.recipe.text.shuffled:
            return self.with_true_texts().beside(stage)
        [found] = [each for each in self._later_stages() if each.name == stage]
        return self._artefacts.get(stage) or self._up_to_date(found)

    def with_true_texts(self) -> Pipeline:
        """This run, or beside one that is given shuffled texts a sibling that is not."""
        if not self.recipe.text.shuffled:
            return self
        text = self.recipe.text.model_copy(update={"shuffled": False})
        return self.sibling("true texts", self.recipe.model_copy(update={"text": text}))

    def text_identity(self) -> list[Any]:
        """Plain values that change with whatever the vectors of item texts depend on, but for the dataset."""
        [found] = [each for each in self._later_stages() if each.name == "encode-items"]
        made = self._artefacts.get(found.name)
        settings = found.settings_on(self.recipe, self.prepared()) if made is None else dict(made.manifest["settings"])
        settings.pop("warm_start_from", None)
        return [settings, self._weights(found.loading(self.recipe))]

    def sibling(self, name: str, recipe: Recipe) -> Pipeline:
        """Another recipe on this run's prepared dataset, to be compared with it.

        Its stages are published as any others, and found again; it is no run of the workspace, and no logger is told.

        Args:
            name: what tells its lines on stderr from this run's.
        """
        self.prepared()
        other = Pipeline(self.name, recipe.model_copy(update={"loggers": {}}), self.workspace, device=self.device)
        other.named_after = (*self.named_after, name)
        other.take({"prepare": self._artefacts["prepare"]})
        other._weights_of_backbone = self._weights_of_backbone
        return other

    def take(self, artefacts: Mapping[str, Artefact]) -> None:
        """Go on from what another pipeline has, by stage, as no run of the workspace."""
        self._artefacts.update(artefacts)
        self.recorded, self._texts_told = False, True

    @nothing_on_stdout()
    def prepared(self) -> PreparedDataset:
        """The prepared dataset, prepared now where it is not."""
        if "prepare" not in self._artefacts:
            self.workspace.remove_leftovers()
            _ = self.loggers  # one that cannot be had is said before anything runs
            from glta_cli.stages.prepared_remarks import tell_prepared

            with self.profiled("prepare") as profile:
                prepared, was_there, sources = dataset_of(self.name, self.recipe, self.source, self.workspace)
                if profile is not None:
                    profile.nothing_ran = was_there
            tell_prepared(prepared, up_to_date=was_there)
            self._artefacts["prepare"] = prepared.artefact
            self._sources = sources
            if not was_there:
                # A run that only found what another prepared has nothing of its own yet to be known by.
                self._published_own = True
                self._save()
                self._log(prepared.artefact)
        return PreparedDataset(self._artefacts["prepare"])

    def profiled(self, stage: str) -> AbstractContextManager[StageProfile | None]:
        """Measures what runs inside as a stage of this run, where profiles are asked for."""
        if not self.profile:
            return nullcontext()
        from glta_cli.core.terminal import show_table
        from glta_cli.training.profiling import profiled

        folder, show = self.workspace.root / "profiles" / self.name, partial(show_table, on_stderr=True)
        return profiled(stage, folder, show, self._schedule)

    @cached_property
    def loggers(self) -> Loggers:
        """Those the recipe lists."""
        from glta_cli.stages.loggers import Loggers

        return Loggers(self.name, self.recipe, self.workspace)

    def reached(self) -> list[tuple[str, Artefact]]:
        """The stages that `ensure` has brought up to date, with what they published."""
        return list(self._artefacts.items())

    def begin_anew(self, prepared: PreparedDataset, sources: dict[str, list[Any]], starts: Mapping[str, str]) -> None:
        """Train the run again on another dataset, from what it published before; until then it answers as it did.

        Args:
            sources, starts: as those of `Run`.
        """
        self._artefacts = {"prepare": prepared.artefact}
        self._sources, self.starts = sources, dict(starts)
        self.as_published, self.recorded, self._published_own = False, True, True

    @cached_property
    def starts(self) -> dict[str, str]:
        """By stage, what an earlier training published that this run's own starts from."""
        run = run_so_far(self.name, self.recipe, self.workspace, whatever_is_served=True)
        return {} if run is None else run.starts

    def status(self) -> list[tuple[str, Artefact | None]]:
        """Every stage with what this run published for it, as long as its settings are still the recipe's."""
        run = run_so_far(self.name, self.recipe, self.workspace)
        names = {} if run is None else run.stages
        return [(stage, self.workspace.published(stage, names[stage]) if stage in names else None) for stage in STAGES]

    def _later_stages(self) -> tuple[Any, ...]:
        # torch and transformers stay out of everything that only looks at a run.
        from glta_cli.stages.order import STAGES as LATER_STAGES

        return LATER_STAGES

    def _up_to_date(self, stage: Any) -> Artefact:
        from rich.markup import escape

        from glta_cli.core.terminal import say
        from glta_cli.stages.schedule import stage_begun
        from glta_cli.stages.together import run_stage

        label = escape(f" ({', '.join(self.named_after)})") if self.named_after else ""
        fingerprints = {name: artefact.fingerprint for name, artefact in self._artefacts.items()}
        identity, settings, inputs, weights = self._depends_on(stage, fingerprints)

        def publish() -> Artefact:
            if stage.name in self.starts and "warm_start_from" not in settings:
                say("  trains from the start: what it went on from before was removed")
            states = self.workspace.root / "states" / f"{stage.name}-{identity}"
            context = self.context()
            begun = stage_begun(stage.name, self._schedule, self.named_after, states)
            with begun as work, self.profiled(stage.name):
                return self.workspace.publish(
                    stage.name,
                    identity,
                    partial(run_stage, stage, context, states),
                    settings=settings,
                    inputs={**inputs, **({"backbone": weights} if weights else {})},
                    seed=self.recipe.seed,
                    needed=stage.bytes_to_write(context),
                    work=work,
                )

        artefact, was_there = self.workspace.published_or_made(stage.name, identity, publish)
        if was_there:
            say(f"[green]✓[/] {stage.name}{label}: up to date")
            if left_out := artefact.manifest["details"].get("left_out"):
                say(f"  as it was then: {left_out}")  # such as for want of memory, of which there may be more now
        else:
            self._published_own = True
            say(f"[green]✓[/] {stage.name}{label}: done in {artefact.manifest['seconds']:.0f} s")
            self._log(artefact)
        return artefact

    def _depends_on(
        self, stage: Any, fingerprints: Mapping[str, str]
    ) -> tuple[str, dict[str, Any], dict[str, str], str | None]:
        """Fingerprint of what a stage publishes, and what it follows from: settings, inputs, weights.

        Args:
            fingerprints: of the stages before it.
        """
        settings = stage.settings_on(self.recipe, self.prepared())
        inputs = {name: fingerprints[name] for name in stage.reads(self.recipe) if name in fingerprints}
        weights = self._weights(stage.loading(self.recipe)) if "backbone" in settings else None
        start = self.starts.get(stage.name)
        found = Dependence(stage, self.recipe, settings, inputs, weights, start).found_in(self.workspace)
        return *found, inputs, weights

    def _log(self, artefact: Artefact) -> None:
        self.loggers.stage_ended(artefact.stage, artefact.manifest["seconds"], artefact.details, artefact.path)

    def context(self) -> Any:
        """What a stage after those brought up to date works with: a `StageContext`."""
        from glta_cli.stages.context import StageContext
        from glta_cli.training.loop import pick_device

        found = {name: self.workspace.published(name, start) for name, start in self.starts.items()}
        starts = {name: artefact for name, artefact in found.items() if artefact is not None}
        return StageContext(self.recipe, self.workspace, pick_device(self.device), dict(self._artefacts), starts=starts)

    def _weights(self, recipe: Recipe) -> str:
        """The fingerprint of a backbone's weights, taken once: there are gigabytes of them."""
        from glta_cli.stages.backbone import backbone_fingerprint

        key = recipe.backbone.model_dump_json()
        if key not in self._weights_of_backbone:
            self._weights_of_backbone[key] = backbone_fingerprint(recipe)
        return self._weights_of_backbone[key]

    def _save(self) -> None:
        if self.recorded:
            record_stages(self.name, self.recipe, self._artefacts, self._sources, self.workspace, self.starts)

    def _failure_noted(self) -> AbstractContextManager[None]:
        """Notes in the run's file why a stage could not be made, where the run is known and not finished."""
        return failure_noted(self.name, self.recipe, self.workspace) if self.recorded else nullcontext()
