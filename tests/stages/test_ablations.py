"""Ablations and controls: each goes all the way, changes what it says, and leaves the rest as it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from glta_backbones.causal_lm import CausalLanguageModel
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray
from safetensors.numpy import load_file
from torch import Tensor

import glta_cli.language.text_vectors
import glta_cli.stages.align
import glta_cli.stages.describe_users
import glta_cli.stages.encode_items
from glta_cli.core.errors import InputError, InputErrors
from glta_cli.evaluation.listed_rows import compared_rows, require_rows
from glta_cli.language.gllm import TiedHead
from glta_cli.language.memory_plan import plan
from glta_cli.language.prompts import node_of
from glta_cli.language.readout import UserPrompts
from glta_cli.language.whitening import Whitening
from glta_cli.plugin.settings import BackboneSettings
from glta_cli.ranking.top_k import rank_users
from glta_cli.recipe.schema import Recipe
from glta_cli.serving.index import Index
from glta_cli.stages.backbone import backbone_of
from glta_cli.stages.context import StageContext
from glta_cli.stages.pipeline import Pipeline
from glta_cli.workspace.workspace import Workspace

USERS, ITEMS = 60, 40
CPU = torch.device("cpu")
SHUFFLED = "text.shuffled=true"
WORDS = ["interests.profile=true", "interests.prediction=true", "interests.new_tokens=8"]
NO_LANGUAGE_MODEL = ["backbone.name=none", "text.vectors=false", "align.enabled=false"]


def fingerprints(pipeline: Pipeline) -> dict[str, str | None]:
    """Of what the run published for each stage."""
    return {stage: artefact and artefact.fingerprint for stage, artefact in pipeline.status()}


def rankings(pipeline: Pipeline) -> NDArray[np.int64]:
    """What the language model alone would recommend to each user, [U, 10]."""
    scorer = Index(pipeline.ensure("index")).language_scorer()
    return rank_users(scorer, np.arange(USERS), 10)


def written(context: StageContext) -> list[str]:
    """The words of the prompt of each user with training items."""
    tokenizer = tokenizer_of(context)
    prompts = context.user_prompts(tokenizer)
    ids = [prompts.write(user, context.visible.of(user)) for user in range(USERS)]
    return [tokenizer.decode(prompt[prompt >= 0].tolist()) for prompt in ids]


def context_of(pipeline: Pipeline, *stages: str) -> StageContext:
    """What a stage after these would work with."""
    artefacts = {stage: pipeline.ensure(stage) for stage in stages} | {"prepare": pipeline.prepared().artefact}
    return StageContext(pipeline.recipe, pipeline.workspace, CPU, artefacts)


def tokenizer_of(context: StageContext) -> Any:
    return backbone_of(context.recipe).load(CPU).tokenizer


# --------------------------------------------------------------------------------------------- all of them


@pytest.mark.parametrize(
    "switches",
    [
        [SHUFFLED],
        ["finetune.shuffled_users=true"],
        ["text.vectors=false"],
        ["finetune.user_token=false"],
        ["align.enabled=false"],
        NO_LANGUAGE_MODEL,
        ["finetune.loss=positions", "finetune.readout=positions"],
        ["finetune.readout=autoregressive"],
    ],
    ids=lambda switches: switches[0],
)
def test_each_switch_goes_to_the_index_and_ranks_otherwise(
    run_toy: Callable[..., Pipeline], switches: list[str]
) -> None:
    full, ablated = rankings(run_toy()), rankings(run_toy(*switches, name="ablated"))
    assert ablated.shape == (USERS, 10)
    assert not np.array_equal(full, ablated)


@pytest.mark.parametrize(
    ("left_out", "absent", "present"),
    [
        (["interests.profile=false"], ["Tags:"], ["Next interests: drama, war\n"]),
        (["interests.prediction=false"], ["Next interests:"], ["Tags: drama, war\n"]),
        ([], [], ["Tags: drama, war\nNext interests: drama, war\n"]),
    ],
    ids=str,
)
def test_without_profile_or_prediction_their_words_stand_in_no_prompt(
    tiny_recipe: Callable[..., Recipe],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    left_out: list[str],
    absent: list[str],
    present: list[str],
) -> None:
    # What the toy model says by itself is no word.
    monkeypatch.setattr(CausalLanguageModel, "generate", lambda self, prompts, tokens: ["drama, war"] * len(prompts))
    pipeline = Pipeline("toy", tiny_recipe(*WORDS, *left_out), Workspace(tmp_path), device="cpu")
    prompts = written(context_of(pipeline, "pretrain-graph", "describe-users"))
    assert not any(line in prompt for line in absent for prompt in prompts)
    assert all(line in prompt for line in present for prompt in prompts)


def test_without_either_no_words_are_generated(run_toy: Callable[..., Pipeline]) -> None:
    assert dict(run_toy(name="wordless").status())["describe-users"] is None


def test_without_user_tokens_the_users_id_stands_there_in_words(toy_context: Callable[..., StageContext]) -> None:
    context = toy_context("finetune.user_token=false", stage="pretrain-graph", name="named")
    prompts = context.user_prompts(tokenizer_of(context))
    for user, words in enumerate(written(context)):
        assert f"User: u{user}\n" in words
        nodes = node_of((ids := prompts.write(user, context.visible.of(user)))[ids < 0])
        assert (nodes >= USERS).all()
    assert not any("User: u" in words for words in written(toy_context(stage="pretrain-graph", name="tokens")))


# ------------------------------------------------------------------------------------------- shuffled texts


@pytest.fixture
def half_described(toy_table: Path, tmp_path: Path) -> str:
    """The toy table in which every third item has no text."""
    folder = tmp_path / "half"
    folder.mkdir()
    (folder / "interactions.csv").write_bytes((toy_table / "interactions.csv").read_bytes())
    head, *lines = (toy_table / "items.csv").read_text().splitlines(keepends=True)
    (folder / "items.csv").write_text(head + "".join(line for place, line in enumerate(lines) if place % 3))
    return f"dataset.source={folder}"


def test_texts_change_hands_among_the_items_that_have_one(
    toy_context: Callable[..., StageContext], half_described: str
) -> None:
    plain, shuffled, other_seed = (
        toy_context(half_described, *switches, stage="pretrain-graph", name="half")
        for switches in ([], [SHUFFLED], [SHUFFLED, "seed=1"])
    )
    described = plain.prepared.described
    assert 20 < described.sum() < ITEMS
    assert plain.texts == plain.prepared.texts
    true, dealt, otherwise = (np.array(context.texts) for context in (plain, shuffled, other_seed))
    assert sorted(dealt[described]) == sorted(true[described])
    assert not (dealt[described] == true[described]).any()
    assert_array_equal(dealt[~described], true[~described])
    assert (dealt != otherwise).any()
    assert shuffled.texts == list(dealt)
    assert shuffled.prepared.titles == plain.prepared.titles


def test_shuffled_texts_are_the_same_vectors_at_other_items(
    tiny_recipe: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    means, encoded = [], []
    whitening_of, encode_texts = Whitening.of, glta_cli.language.text_vectors.encode_texts

    def recorded(vectors: NDArray[np.float32], dimensions: int) -> Whitening:
        means.append(vectors)
        return whitening_of(vectors, dimensions)

    def counted(model: Any, texts: Any, *rest: Any) -> NDArray[np.float32]:
        encoded.append(len(texts))
        return encode_texts(model, texts, *rest)

    monkeypatch.setattr(Whitening, "of", staticmethod(recorded))
    monkeypatch.setattr(glta_cli.language.text_vectors, "encode_texts", counted)
    workspace = Workspace(tmp_path)
    plain, shuffled = (
        Pipeline("toy", tiny_recipe(*switches), workspace, device="cpu") for switches in ([], [SHUFFLED])
    )
    plain.ensure("encode-items"), shuffled.ensure("encode-items")
    assert encoded == [ITEMS]  # the second time all are known

    true, dealt = means
    where = np.array([int(np.flatnonzero((true == vector).all(axis=1))[0]) for vector in dealt])
    assert sorted(where) == list(range(ITEMS))
    assert (where != np.arange(ITEMS)).all()
    # Whitened, up to the signs of directions: what resembled each other still does.
    white, moved = (load_file(each.ensure("encode-items").file("vectors.safetensors")) for each in (plain, shuffled))
    before, after = white["vectors"][where], moved["vectors"]
    assert_allclose(after @ after.T, before @ before.T, atol=1e-3)


def test_every_stage_that_reads_texts_reads_the_shuffled_ones(
    tiny_recipe: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: dict[str, Any] = {}

    def spy(stage: ModuleType, name: str, position: int) -> None:
        real = getattr(stage, name)

        def recorded(*arguments: Any, **options: Any) -> Any:
            read[name] = arguments[position]
            return real(*arguments, **options)

        monkeypatch.setattr(stage, name, recorded)

    spy(glta_cli.stages.encode_items, "text_vectors", 2)
    spy(glta_cli.stages.align, "AlignmentPrompts", 1)
    spy(glta_cli.stages.describe_users, "generate_interests", 2)
    pipeline = Pipeline("toy", tiny_recipe(SHUFFLED, *WORDS), Workspace(tmp_path), device="cpu")
    context = context_of(pipeline, "pretrain-graph", "align", "describe-users")
    assert context.texts != context.prepared.texts
    assert read["text_vectors"] == read["AlignmentPrompts"] == context.texts
    for user, shown in enumerate(read["generate_interests"]):
        assert shown == [context.texts[item] for item in context.visible.of(user)[-10:]]


def test_only_shuffled_texts_depend_on_the_seed(run_toy: Callable[..., Pipeline]) -> None:
    def published(*switches: str) -> str:
        return run_toy(*switches, stage="encode-items", name="seeds").ensure("encode-items").fingerprint

    assert published() == published("seed=3")
    assert len({published(), published(SHUFFLED), published(SHUFFLED, "seed=3")}) == 3


def test_baselines_are_given_the_true_texts(run_toy: Callable[..., Pipeline]) -> None:
    plain, shuffled = run_toy(name="true"), run_toy(SHUFFLED, name="dealt")
    before = fingerprints(shuffled)
    assert shuffled.ensure("encode-items").fingerprint != plain.ensure("encode-items").fingerprint
    assert shuffled.beside("encode-items").fingerprint == plain.ensure("encode-items").fingerprint
    run = shuffled.workspace.run("dealt")
    assert run is not None
    assert run.recipe["text"]["shuffled"]
    assert fingerprints(shuffled) == before


# ------------------------------------------------------------------------------------------- shuffled users


@pytest.mark.parametrize("switches", [[], ["finetune.shuffled_users=true"]], ids=["plain", "shuffled"])
def test_in_training_validation_and_inference_alike_the_token_is_the_same_other_users(
    tiny_recipe: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, switches: list[str]
) -> None:
    tokens: dict[int, set[int]] = {user: set() for user in range(USERS)}
    items: dict[int, set[int]] = {user: set() for user in range(USERS)}
    write = UserPrompts.write

    def recorded(prompts: UserPrompts, user: int, context: NDArray[np.int64]) -> NDArray[np.int64]:
        ids = write(prompts, user, context)
        nodes = node_of(ids[ids < 0])
        tokens[user].update(nodes[nodes < USERS].tolist())
        items[user].update((nodes[nodes >= USERS] - USERS).tolist())
        return ids

    monkeypatch.setattr(UserPrompts, "write", recorded)
    pipeline = Pipeline("toy", tiny_recipe(*switches), Workspace(tmp_path), device="cpu")
    pipeline.ensure("finetune")
    trained = {user: set(seen) for user, seen in tokens.items()}
    pipeline.ensure("index")
    assert sum(map(len, trained.values())) >= USERS - 1  # the user with too few items is read out only
    assert all(trained[user] <= tokens[user] for user in range(USERS))
    shown_as = [token for seen in tokens.values() for token in seen]
    assert sorted(shown_as) == list(range(USERS))
    own = [user for user in range(USERS) if tokens[user] == {user}]
    assert own == ([] if switches else list(range(USERS)))
    # The items are the user's own all the same.
    history = pipeline.prepared().split("train")
    assert all(items[user] == set(history.of(user).tolist()) for user in range(USERS))


def test_the_warm_start_aims_at_the_true_users_all_the_same(
    tiny_recipe: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple[Tensor, Tensor]] = []
    fit = TiedHead.fit

    def recorded(head: TiedHead, hidden: Tensor, targets: Tensor) -> None:
        started.append((hidden, targets))
        fit(head, hidden, targets)

    monkeypatch.setattr(TiedHead, "fit", recorded)
    for switches in ([], ["finetune.shuffled_users=true"]):
        Pipeline("toy", tiny_recipe(*switches), Workspace(tmp_path), device="cpu").ensure("finetune")
    (states, targets), (shuffled_states, shuffled_targets) = started
    assert torch.equal(targets, shuffled_targets)
    assert not torch.allclose(states, shuffled_states)


def test_users_without_tokens_cannot_be_shuffled(tiny_recipe: Callable[..., Recipe]) -> None:
    with pytest.raises(InputErrors, match="without user tokens there are none to shuffle"):
        tiny_recipe("finetune.shuffled_users=true", "finetune.user_token=false")


# -------------------------------------------------------------------------------------- items without vectors


def test_without_text_vectors_the_head_knows_items_by_their_embeddings_alone(
    toy_context: Callable[..., StageContext],
) -> None:
    with_texts, without = (
        toy_context(*switches, stage="finetune", name="vectors") for switches in ([], ["text.vectors=false"])
    )
    assert "encode-items" not in without.artefacts
    embeddings = without.embeddings(serving=True)
    assert_array_equal(without.item_vectors(embeddings), embeddings.items)
    assert with_texts.item_vectors(embeddings).shape == (ITEMS, 26)
    found = load_file(without.artefacts["finetune"].file("model.safetensors"))
    assert found["head.project.weight"].shape == (16, 32)
    needs = plan(without.recipe, users=USERS, items=ITEMS, graph_dimension=16)
    trained = ("project.weight", "project.bias", "bias")
    assert needs.parameters["head"] == sum(found[f"head.{name}"].size for name in trained)


def test_vectors_made_for_the_encoder_alone_are_none_of_the_head_s(run_toy: Callable[..., Pipeline]) -> None:
    encoder = "graph.encoder=lightgcn-plus"
    with_texts, without = (
        run_toy(encoder, *switches, name=name) for switches, name in (([], "both"), (["text.vectors=false"], "one"))
    )
    assert fingerprints(with_texts)["pretrain-graph"] == fingerprints(without)["pretrain-graph"]
    for stage in ("align", "finetune", "index"):
        assert fingerprints(with_texts)[stage] != fingerprints(without)[stage]
    columns = [
        load_file(run.ensure("finetune").file("model.safetensors"))["head.project.weight"].shape[0]
        for run in (with_texts, without)
    ]
    assert columns == [26, 16]


# ------------------------------------------------------------------------------------------- no language model


def test_without_a_language_model_a_prompt_s_state_is_the_mean_of_its_graph_tokens(
    toy_context: Callable[..., StageContext],
) -> None:
    context = toy_context(*NO_LANGUAGE_MODEL, stage="pretrain-graph", name="none")
    model = context.model(context.embeddings(serving=False), adapters=True)
    prompts = context.user_prompts(model.language_model.tokenizer)
    ids = [prompts.extended(prompts.write(user, context.train.of(user)), 3) for user in range(5)]
    rows, columns = np.repeat(np.arange(5), 2), np.array([[len(each) - 3, len(each) - 1] for each in ids]).ravel()

    def projected(projector: Any, embedding: NDArray[np.float32]) -> NDArray[np.float32]:
        weight, bias = projector.linear.weight.detach().numpy(), projector.linear.bias.detach().numpy()
        return embedding @ weight.T + bias

    users, items = model.users.numpy(), model.items.numpy()
    expected = []
    for user in range(5):
        shown = projected(model.item_projector, items[context.train.of(user)])
        expected.append(np.vstack([projected(model.user_projector, users[user]), shown]).mean(axis=0))
    for prefix in ([], prompts.template.literals[0]):
        model.share_prefix(prefix)
        found = model.states_at(ids, rows, columns).detach().numpy()
        # Placeholders are words: their states are that of the prompt's end.
        assert_allclose(found, np.repeat(expected, 2, axis=0), rtol=1e-4, atol=1e-6)
    rms = float(model.item_projector(model.items).detach().square().mean().sqrt())
    assert rms == pytest.approx(0.122, rel=1e-3)


def test_without_a_language_model_projectors_and_head_are_all_there_is(
    run_toy: Callable[..., Pipeline], toy_context: Callable[..., StageContext]
) -> None:
    pipeline = run_toy(*NO_LANGUAGE_MODEL, name="none")
    found = {stage for stage, artefact in pipeline.status() if artefact is not None}
    assert found == {"prepare", "pretrain-graph", "finetune", "index"}
    tensors = load_file(pipeline.ensure("finetune").file("model.safetensors"))
    assert {name.split(".")[0] for name in tensors} == {"user_projector", "item_projector", "head"}
    needs = plan(pipeline.recipe, users=USERS, items=ITEMS, graph_dimension=16)
    assert needs.parameters["language model"] == 0
    [finetune] = needs.stages
    assert finetune.trainable == pipeline.ensure("finetune").details["trainable_parameters"]
    assert finetune.weights == 0
    assert finetune.total > 0
    assert len(list(needs.rows())) == len(needs.as_dict()["parameters"]) + 9


@pytest.mark.parametrize(
    ("switches", "named"),
    [
        ([], ["text.vectors", "align.enabled"]),
        (["text.vectors=false", "align.enabled=false", "interests.profile=true"], ["interests.profile"]),
        (["finetune.head=linear", "align.enabled=false", "interests.prediction=true"], ["interests.prediction"]),
    ],
    ids=str,
)
def test_words_and_no_language_model_contradict_each_other(
    tiny_recipe: Callable[..., Recipe], switches: list[str], named: list[str]
) -> None:
    with pytest.raises(InputErrors) as caught:
        tiny_recipe("backbone.name=none", *switches)
    [error] = caught.value.errors
    assert error.problem == f"backbone.name: none reads no text, which {', '.join(named)} would have it do"
    assert error.hint == "switch it off: " + " ".join(f"--set {name}=false" for name in named)
    # What the hint names is enough.
    tiny_recipe("backbone.name=none", *switches, *(f"{name}=false" for name in named))


def test_a_baseline_of_texts_beside_no_language_model_is_refused(run_toy: Callable[..., Pipeline]) -> None:
    pipeline = run_toy(*NO_LANGUAGE_MODEL, stage="pretrain-graph", name="none beside")
    rows = compared_rows({"text-only": {}}, pipeline.recipe)
    with pytest.raises(InputError, match="none reads no text, so there are no vectors of item texts"):
        require_rows(rows, pipeline, tune=False)


def test_another_backbone_may_read_for_it(tiny_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    recipe = tiny_recipe(*NO_LANGUAGE_MODEL, "text.backbone=tiny")
    pipeline = Pipeline("read beside", recipe, Workspace(tmp_path), device="cpu")
    rows = compared_rows({"text-only": {}}, pipeline.recipe)
    require_rows(rows, pipeline, tune=False)
    [fitted] = rows[0].fitted(pipeline)
    assert fitted.score(np.arange(USERS)).shape == (USERS, ITEMS)


# --------------------------------------------------------------------------------------------- random weights


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained model, as far as its weights tell: every parameter, norms too, is another than at the start."""
    folder = tmp_path_factory.mktemp("checkpoint")
    model: Any = backbone_of(Recipe(backbone=BackboneSettings(name="tiny"))).load(CPU)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.module.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    model.module.save_pretrained(folder)
    model.tokenizer.save_pretrained(folder)
    return folder


def test_random_weights_are_none_of_the_pretrained_ones_and_always_the_same(
    tiny_recipe: Callable[..., Recipe], checkpoint: Path
) -> None:
    options = ["backbone.name=huggingface", f"backbone.options.model={checkpoint}"]

    def weights(*switches: str, state: int = 0) -> dict[str, Tensor]:
        torch.manual_seed(state)  # whatever was drawn before
        return dict(backbone_of(tiny_recipe(*options, *switches)).load(CPU).module.named_parameters())

    pretrained, random = weights(), weights("backbone.weights=random")
    assert pretrained.keys() == random.keys()
    for name, parameter in pretrained.items():
        assert parameter.shape == random[name].shape
        assert not (parameter == random[name]).any(), name
    for again in (weights("backbone.weights=random", state=7), weights("backbone.weights=random", "seed=7")):
        assert all(torch.equal(random[name], parameter) for name, parameter in again.items())


def test_the_random_twin_goes_to_the_index_and_ranks_otherwise(
    run_toy: Callable[..., Pipeline], checkpoint: Path
) -> None:
    options = ["backbone.name=huggingface", f"backbone.options.model={checkpoint}"]
    pretrained = rankings(run_toy(*options, name="pretrained"))
    twin = run_toy(*options, "backbone.weights=random", name="random")
    assert not np.array_equal(pretrained, rankings(twin))
    before = fingerprints(run_toy(*options, name="pretrained"))
    after = fingerprints(twin)
    assert {stage for stage in before if before[stage] != after[stage]} == {
        "encode-items", "align", "finetune", "index",
    }  # fmt: skip
