"""Times told beforehand: counted from recipe and data, measured here, and learnt from the stages run before."""

from __future__ import annotations

import pytest
import torch

from glta_cli.commands.stage_times import stage_times
from glta_cli.core.durations import shown_duration
from glta_cli.core.files import read_json, write_json
from glta_cli.core.world import World
from glta_cli.serving.term_weights import ChosenTerms
from glta_cli.stages import estimates, pretrain_graph, stage_costs
from glta_cli.stages.estimates import Estimator
from glta_cli.stages.pipeline import Pipeline
from glta_cli.stages.schedule import Schedule
from glta_cli.stages.stage_costs import COSTS, StageCost
from glta_cli.training.work import MatrixRate, Part, matrix_rate
from glta_cli.workspace.workspace import Workspace

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _measured_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rate is kept for half a minute, and these tests are faster."""
    monkeypatch.setattr(estimates, "FRESH_SECONDS", -1.0)


@pytest.fixture
def steady(monkeypatch: pytest.MonkeyPatch) -> float:
    """A machine that multiplies matrices at one rate, whatever else it does."""
    rate = 1e9
    monkeypatch.setattr(estimates, "matrix_rate", lambda device: MatrixRate(rate, processors=1.0))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    return rate


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.2, "1 s"),
        (4.2, "5 s"),
        (38, "40 s"),
        (58, "1 min"),
        (110, "2 min"),
        (1480, "25 min"),
        (3590, "1 h"),
        (4900, "1 h 20 min"),
        (3600 * 30, "30 h"),
        (3600 * 24 * 3, "3 d"),
    ],
)
def test_a_duration_is_said_as_roughly_as_it_is_known(seconds: float, shown: str) -> None:
    assert shown_duration(seconds) == shown


def estimator(run_toy, *overrides: str, stage: str = "index", name: str = "toy") -> Estimator:
    pipeline = run_toy(stage=stage, name=name)
    recipe = pipeline.recipe if not overrides else recipe_like(pipeline.recipe, overrides)
    return Estimator(recipe, pipeline.prepared(), pipeline.workspace, CPU)


def recipe_like(recipe, overrides):
    from glta_cli.recipe.files import recipe_from

    return recipe_from(recipe.model_dump(mode="json"), overrides)


def operations(one: Estimator, stage: str) -> float:
    return sum(part.total for part in one.parts(stage))


def test_what_a_stage_computes_is_counted_from_what_its_settings_ask_for(run_toy) -> None:
    plain = estimator(run_toy)
    for stage in ("encode-items", "pretrain-graph", "align", "describe-users", "finetune", "index"):
        assert operations(plain, stage) > 0
    for stage, override, least, most in [
        ("pretrain-graph", "graph.training.epochs=20", 1.9, 2.1),
        ("pretrain-graph", "graph.alignment_holdout=0", 0.4, 0.7),
        ("align", "align.prompts=320", 5, 10),
        ("finetune", "finetune.training.epochs=20", 7, 11),
        ("finetune", "finetune.context_items=1", 0.3, 0.95),
        ("index", "finetune.readout=autoregressive", 4, 8),
        ("index", "dataset.split.strategy=leave-last-out", 1.5, 2.1),
        ("encode-items", "backbone.layers=1", 0.4, 0.6),
        ("finetune", "backbone.layers=1", 0.3, 0.9),
    ]:
        ratio = operations(estimator(run_toy, override), stage) / operations(plain, stage)
        assert least < ratio < most, (stage, override, ratio)


def test_a_linear_term_takes_a_cube_of_the_items_and_a_solution_for_each_row(run_toy) -> None:
    one = estimator(run_toy, "fusion.terms=[ease, encoder]")
    two = estimator(run_toy, "fusion.terms=[ease, ease-text, encoder]")
    sparse = estimator(run_toy, "fusion.terms=[item-knn, encoder]")
    solved, both, ranked = (operations(each, "fit-linear") for each in (one, two, sparse))
    assert both == pytest.approx(2 * solved)
    assert solved - ranked == pytest.approx(12 * 40.0**3)
    assert operations(one, "refit-fit-linear") == solved


def test_rows_of_one_solution_are_counted_once_in_a_large_catalogue(run_toy, monkeypatch: pytest.MonkeyPatch) -> None:
    terms = ("ease", "ease, l3ae, add-ease", "item-knn")
    alone, small, ranked = (
        operations(estimator(run_toy, f"fusion.terms=[{each}, encoder]"), "fit-linear") for each in terms
    )
    monkeypatch.setattr("glta_cli.stages.linear_rows.TOGETHER_BEYOND", 39)
    large = operations(estimator(run_toy, "fusion.terms=[ease, l3ae, add-ease, encoder]"), "fit-linear")
    assert small == pytest.approx(3 * alone)
    assert large == pytest.approx(alone + 2 * ranked)


def test_a_sequence_encoder_is_counted_by_the_places_of_its_histories(run_toy) -> None:
    def counted(*overrides: str) -> float:
        return operations(estimator(run_toy, "graph.encoder=sasrec", *overrides), "pretrain-graph")

    plain = counted()
    for override, least, most in [
        ("graph.training.epochs=20", 1.8, 2.2),
        ("graph.alignment_holdout=0", 0.4, 0.7),
        ("graph.options.layers=8", 2.0, 4.1),
        ("graph.softmax_items=20", 0.5, 0.999),
        ("graph.loss=bpr", 0.3, 0.99),
    ]:
        ratio = counted(override) / plain
        assert least < ratio < most, (override, ratio)


def test_an_estimate_is_what_is_counted_at_the_rate_of_the_machine(run_toy, steady: float) -> None:
    one = estimator(run_toy, *LONG)
    estimate = one.of("finetune")
    assert estimate is not None
    assert not estimate.learnt
    expected = operations(one, "finetune") / (steady * COSTS["finetune"].efficiency)
    assert estimate.seconds == pytest.approx(expected, rel=0.01, abs=2 * estimates.AROUND)


def test_a_stage_that_ran_before_says_how_long_it_takes(
    run_toy, steady: float, monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    monkeypatch.setattr(estimates, "SMALL", 0.0)
    monkeypatch.setattr(estimates, "AROUND", 0.0)
    pipeline = run_toy("graph.training.epochs=7", stage="pretrain-graph", name="before")
    manifest = read_json(pipeline.ensure("pretrain-graph").path / "manifest.json")
    assert manifest["work"]["model"] == "lightgcn"
    assert manifest["work"]["operations"] > 0

    same = Estimator(pipeline.recipe, pipeline.prepared(), pipeline.workspace, CPU).of("pretrain-graph")
    assert same is not None
    assert same.learnt
    assert same.seconds == pytest.approx(manifest["processor_seconds"], rel=0.01)
    longer = estimator(run_toy, "graph.training.epochs=70", stage="pretrain-graph", name="before").of("pretrain-graph")
    assert longer is not None
    assert 8 < longer.seconds / same.seconds < 12
    # Another encoder has not been seen.
    other = estimator(run_toy, "graph.encoder=hccf", stage="pretrain-graph", name="before").of("pretrain-graph")
    assert other is not None
    assert not other.learnt


def learnt_rate(pipeline: Pipeline, stage: str) -> float | None:
    estimate = Estimator(pipeline.recipe, pipeline.prepared(), pipeline.workspace, CPU).of(stage)
    assert estimate is not None
    return estimate.rate if estimate.learnt else None


@pytest.fixture
def learning(steady: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stages of seconds are learnt from like those of hours."""
    monkeypatch.setattr(estimates, "SMALL", 0.0)
    monkeypatch.setattr(estimates, "AROUND", 0.0)


@pytest.mark.usefixtures("learning")
def test_nothing_is_learnt_from_a_training_that_an_earlier_go_did_part_of(
    tiny_recipe, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny_recipe("graph.training.checkpoint_seconds=0")
    pipeline = Pipeline("resumed", recipe, Workspace(tmp_path), device="cpu")
    with monkeypatch.context() as patched:

        def killed(*arguments: object) -> None:
            raise KeyboardInterrupt

        # The encoder is trained, and its state saved.
        patched.setattr(pretrain_graph, "write_tensors", killed)
        with pytest.raises(KeyboardInterrupt):
            pipeline.ensure("pretrain-graph")
    resumed = pipeline.ensure("pretrain-graph")
    assert resumed.manifest["work"]["resumed"] is True
    assert learnt_rate(pipeline, "pretrain-graph") is None

    # One from the start to the end is learnt from, whatever was resumed later.
    whole = Pipeline("whole", tiny_recipe("seed=7"), Workspace(tmp_path), device="cpu")
    manifest = whole.ensure("pretrain-graph").manifest
    assert "resumed" not in manifest["work"]
    (resumed.path / "manifest.json").touch()
    rate = learnt_rate(pipeline, "pretrain-graph")
    assert rate == pytest.approx(manifest["work"]["operations"] / manifest["processor_seconds"], rel=0.01)


@pytest.mark.usefixtures("learning")
@pytest.mark.parametrize("served", ["linear", "llm"])
def test_nothing_is_learnt_of_a_language_model_from_an_index_it_takes_no_part_in(
    tiny_recipe, tmp_path, monkeypatch: pytest.MonkeyPatch, served: str
) -> None:
    single = {"linear": 0.1, "llm": 0.1}
    chosen = ChosenTerms([served], None, single, fused=0.1, cross_checked=0.1, users=50)
    monkeypatch.setattr("glta_cli.stages.index.choose_terms", lambda *_, **__: chosen)
    pipeline = Pipeline("served", tiny_recipe("fusion.terms=[ease, llm]"), Workspace(tmp_path), device="cpu")
    pipeline.ensure("serving-index")
    assert (learnt_rate(pipeline, "serving-index") is None) == (served == "linear")


@pytest.mark.usefixtures("learning")
def test_nothing_is_learnt_from_vectors_that_were_there(tiny_recipe, tmp_path) -> None:
    first = Pipeline("first", tiny_recipe(), Workspace(tmp_path), device="cpu")
    details = first.ensure("encode-items").details
    assert details == {"items": 40, "dimensions": 10}
    rate = learnt_rate(first, "encode-items")
    assert rate is not None
    # Another split of the same items: their texts are read already.
    second = Pipeline("second", tiny_recipe("dataset.split.seed=1"), Workspace(tmp_path), device="cpu")
    assert second.ensure("encode-items").details == {**details, "done_before": 40}
    assert learnt_rate(second, "encode-items") == rate


def test_what_takes_minutes_is_announced_and_what_takes_seconds_is_not(
    run_toy, steady: float, capsys: pytest.CaptureFixture[str]
) -> None:
    stages = ["prepare", *COSTS]
    short, long = (estimator(run_toy, *each) for each in ((), ("finetune.training.epochs=100000",)))
    capsys.readouterr()
    Schedule(stages, ["finetune", "index"], short).announce()
    assert capsys.readouterr().err == ""
    schedule = Schedule(stages, ["finetune", "index"], long)
    schedule.announce()
    said = capsys.readouterr().err
    assert said.startswith(f"about {shown_duration(schedule.seconds)} in all, ")
    assert f"finetune {shown_duration(schedule.estimates['finetune'].seconds)}" in " ".join(said.split())
    assert max(map(len, said.splitlines())) <= 80
    assert schedule.about("finetune")[0] == f"stage {stages.index('finetune') + 1} of {len(stages)}"


def test_beside_busy_processes_a_stage_takes_longer_and_no_more_processor_time(
    run_toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = []
    for processors in (1.0, 0.25):
        monkeypatch.setattr(estimates, "matrix_rate", lambda device, had=processors: MatrixRate(1e9, had))
        estimate = estimator(run_toy, *LONG).of("finetune")
        assert estimate is not None
        seconds.append(estimate.seconds - estimates.AROUND)
    assert seconds[1] == pytest.approx(4 * seconds[0])
    measured = matrix_rate(CPU)
    assert measured.operations > 1e8
    assert 0 < measured.processors < torch.get_num_threads() + 0.5


def test_a_plugin_that_cannot_be_counted_stops_no_stage(run_toy, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(counted: object) -> list[object]:
        raise AttributeError("no hidden_size")

    monkeypatch.setitem(stage_costs.COSTS, "finetune", StageCost(broken, 1.0, COSTS["finetune"].moments))  # type: ignore[arg-type]
    assert estimator(run_toy).of("finetune") is None
    assert estimator(run_toy).record("finetune") == {}


# Users are validated one at a time, so that processes divide them evenly, but for the last few.
LONG = ("finetune.training.epochs=100000", "evaluate.batch_size=1")
EVEN = 0.03


def seconds_by(one: Estimator, world: World, stage: str) -> float:
    estimate = one.by(world).of(stage)
    assert estimate is not None
    return estimate.seconds - estimates.AROUND


def test_several_processes_divide_what_they_share(run_toy, steady: float, monkeypatch: pytest.MonkeyPatch) -> None:
    # A thread each, and processors for all of them.
    monkeypatch.setattr(estimates, "threads_asked_for", lambda _: ("OMP_NUM_THREADS", 1))
    monkeypatch.setattr(estimates, "permitted_threads", lambda: (4, "there are four"))
    one = estimator(run_toy, *LONG, "fusion.terms=[ease, encoder, llm]")
    four = World(size=4, local_size=4)
    alone, shared = (seconds_by(one, world, "finetune") for world in (World(), four))
    assert shared == pytest.approx(alone / 4, rel=EVEN)
    # Every one of them propagates over the whole graph.
    share = seconds_by(one, four, "pretrain-graph") / seconds_by(one, World(), "pretrain-graph")
    assert 1 / 4 < share < 1
    # The first one fits linear rows, and the others wait.
    assert seconds_by(one, four, "fit-linear") == pytest.approx(seconds_by(one, World(), "fit-linear"))


def test_batches_that_go_to_processes_whole_are_not_divided(run_toy) -> None:
    # Four prompts are validated in one batch, which one process reads while the others do the same; eight in two.
    few, more = (
        estimator(run_toy, "align.training.batch_size=4", f"align.validation_prompts={prompts}") for prompts in (4, 8)
    )
    for counted, in_turn in ((few, 1.0), (more, 0.5)):
        (part,) = counted.parts("align")
        assert part.of_one(2) == pytest.approx(part.operations / 2 + in_turn * part.beside)
    # A hundred batches, by eight: one reads thirteen.
    assert Part("read", 100.0, batches=100).of_one(8) == pytest.approx(13.0)


def test_processes_that_share_the_processors_of_one_are_no_faster(
    run_toy, steady: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimates, "threads_asked_for", lambda _: ("OMP_NUM_THREADS", 1))
    monkeypatch.setattr(estimates, "permitted_threads", lambda: (1, "there is one"))
    one = estimator(run_toy, *LONG)
    alone = seconds_by(one, World(), "finetune")
    assert seconds_by(one, World(size=4, local_size=4), "finetune") == pytest.approx(alone, rel=EVEN)
    # On machines of their own they are.
    assert seconds_by(one, World(size=4, local_size=1), "finetune") == pytest.approx(alone / 4, rel=EVEN)


def test_what_several_processes_gain_is_told(run_toy, steady: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimates, "threads_asked_for", lambda _: ("OMP_NUM_THREADS", 1))
    pipeline = run_toy(stage="pretrain-graph", name="gain")
    pipeline.recipe = recipe_like(pipeline.recipe, LONG)
    stages = [("align", None), ("finetune", None)]
    for processors, said in [(1, "2 processes are no faster here than one, about "), (2, "by one process about ")]:
        monkeypatch.setattr(estimates, "permitted_threads", lambda count=processors: (count, "so many"))
        times = stage_times(stages, pipeline, pipeline.prepared(), 2)
        assert times.lines(["align", "finetune"])[0].startswith(said)
        told = times.as_dict()
        assert told["processes"] == 2
        assert (told["seconds"] < 0.6 * told["seconds_of_one_process"]) == (processors == 2)


def test_a_time_nobody_knows_is_called_unknown(run_toy, steady: float, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = run_toy(stage="pretrain-graph", name="unknown")

    def broken(counted: object) -> list[object]:
        raise AttributeError("no hidden_size")

    monkeypatch.setitem(COSTS, "finetune", StageCost(broken, 1.0, COSTS["finetune"].moments))  # type: ignore[arg-type]
    times = stage_times([("align", None), ("finetune", None)], pipeline, pipeline.prepared())
    assert times.shown("finetune") == "unknown"
    assert times.shown_total(["align", "finetune"]).startswith("at least ")
    assert times.lines(["align", "finetune"]) == [
        "how long finetune takes is unknown: nothing says how much it computes"
    ]
    assert times.as_dict()["unknown"] == ["finetune"]


def test_words_that_a_processor_writes_with_packed_weights_take_longer(run_toy) -> None:
    written = ("interests.profile=true", "interests.batch_size=1")
    plain, packed = (
        operations(estimator(run_toy, *written, f"backbone.quantization={bits}"), "describe-users")
        for bits in ("none", "4bit")
    )
    assert packed > 2 * plain


@pytest.mark.usefixtures("learning")
def test_a_stage_that_several_processes_shared_says_how_long_it_takes_them(run_toy, tmp_path) -> None:
    two = World(size=2, local_size=2)
    pipeline = run_toy(stage="pretrain-graph", name="shared")
    found = pipeline.ensure("pretrain-graph")
    counted = Estimator(pipeline.recipe, pipeline.prepared(), Workspace(tmp_path), CPU, two)
    work = counted.record("pretrain-graph")
    assert work["operations"] / 2 < work["operations_of_one"] < work["operations"]
    folder = tmp_path / "stages" / "pretrain-graph" / "shared"
    folder.mkdir(parents=True)
    manifest = found.manifest | {"work": work, "processor_seconds": 50.0}
    write_json(folder / "manifest.json", manifest | {"details": {**found.details, "processes": 2}})
    learnt = Estimator(pipeline.recipe, pipeline.prepared(), Workspace(tmp_path), CPU, two).of("pretrain-graph")
    assert learnt is not None
    assert learnt.processor_seconds == pytest.approx(50.0, rel=0.01)
    # How long one takes that does the whole, two do not say.
    alone = Estimator(pipeline.recipe, pipeline.prepared(), Workspace(tmp_path), CPU).of("pretrain-graph")
    assert alone is not None
    assert not alone.learnt
