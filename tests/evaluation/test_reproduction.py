"""A published table beside what a run measures: the figures, the rows, and what is said to differ."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from glta_cli.commands.reproduce import tell_how_long
from glta_cli.core.errors import InputError
from glta_cli.evaluation.published import PAPER
from glta_cli.evaluation.reproduction import (
    all_cutoffs,
    compared_with,
    differences,
    packed_on_processor,
    reproduction_table,
    require_device,
    require_same_data,
)
from glta_cli.recipe.files import load_recipe, recipe_from
from glta_cli.recipe.schema import Recipe
from glta_cli.stages.pipeline import Pipeline
from glta_cli.workspace.workspace import Workspace

# Typed from the paper's table: Goodreads, Amazon, MovieLens; P@5, P@10, N@5, N@10 of each.
COMPARISON = """
LightGCN    .1999 .1618 .2346 .2352   .0204 .0139 .0301 .0305   .0470 .0426 .0463 .0466
HCCF        .1998 .1632 .2371 .2439   .0209 .0143 .0275 .0304   .0467 .0419 .0482 .0486
LightGCN+   .2004 .1616 .2347 .2358   .0211 .0150 .0268 .0290   .0527 .0451 .0467 .0469
HCCF+       .2034 .1641 .2379 .2483   .0217 .0156 .0310 .0315   .0516 .0436 .0486 .0488
RLMRec-Con  .2062 .1676 .2441 .2542   .0227 .0142 .0348 .0358   .0499 .0460 .0488 .0492
RLMRec-Gen  .2062 .1653 .2407 .2424   .0223 .0145 .0336 .0339   .0517 .0451 .0475 .0477
GLTA        .2465 .1882 .2722 .2905   .0359 .0236 .0499 .0500   .0968 .0821 .1162 .1403
"""
# P@5 and N@5 of each.
ABLATION = {
    "w/o both": (0.2462, 0.2705, 0.0316, 0.0408, 0.0736, 0.0658),
    "w/o PF": (0.2466, 0.2668, 0.0318, 0.0414, 0.0763, 0.0713),
    "w/o PD": (0.2467, 0.2688, 0.0341, 0.0449, 0.0860, 0.0761),
}
COUNTS = {
    "goodreads": (10_131, 10_725, 478_334),
    "amazon": (1_032, 17_609, 30_510),
    "movielens-1m": (6_040, 3_706, 1_000_209),
}
ROWS = {
    "LightGCN": "lightgcn",
    "HCCF": "hccf",
    "LightGCN+": "lightgcn-plus",
    "HCCF+": "hccf-plus",
    "RLMRec-Con": "rlmrec-con",
    "RLMRec-Gen": "rlmrec-gen",
    "GLTA": "glta",
    "w/o both": "wo-pf-pd",
    "w/o PF": "wo-pf",
    "w/o PD": "wo-pd",
}
MOVIELENS = PAPER["movielens-1m"]
BOTH = ("interests.profile=true", "interests.prediction=true")


@pytest.mark.parametrize(("place", "name"), list(enumerate(COUNTS)))
def test_published_figures_are_the_papers(place: int, name: str) -> None:
    table = PAPER[name]
    assert (table.users, table.items, table.interactions) == COUNTS[name]
    expected: dict[str, dict[str, float]] = {}
    for line in COMPARISON.strip().splitlines():
        label, *figures = line.split()
        values = map(float, figures[4 * place : 4 * place + 4])
        expected[label] = dict(zip(("precision@5", "precision@10", "ndcg@5", "ndcg@10"), values, strict=True))
    for label, figures in ABLATION.items():
        expected[label] = dict(zip(("precision@5", "ndcg@5"), figures[2 * place : 2 * place + 2], strict=True))
    assert {row.label: dict(row.values) for row in table.rows} == expected
    assert {row.label: row.row for row in table.rows} == ROWS
    assert len(PAPER) == 3


@pytest.mark.parametrize("name", PAPER)
def test_the_recipes_of_a_table_are_about_its_dataset(name: str) -> None:
    table = PAPER[name]
    recipes = [load_recipe(each).recipe for each in (table.recipe, table.without_gpu) if each]
    assert {recipe.dataset.name for recipe in recipes} == {table.dataset}
    assert [recipe.backbone.quantization for recipe in recipes] == ["4bit", "none"][: len(recipes)]
    for recipe in recipes:
        finetune, interests = recipe.finetune, recipe.interests
        assert (finetune.head, finetune.loss, finetune.readout, finetune.fusion) == (
            "linear",
            "positions",
            "positions",
            False,
        )
        assert (interests.profile, interests.prediction, recipe.graph.alignment_holdout) == (True, True, 0)


# ------------------------------------------------------------------------------------------- what is measured

ENCODERS = ["hccf", "lightgcn-plus", "hccf-plus", "rlmrec-con", "rlmrec-gen"]


@pytest.mark.parametrize(
    ("overrides", "ablations"),
    [
        (BOTH, ["wo-pf-pd", "wo-pf", "wo-pd"]),
        (BOTH[:1], ["wo-pf-pd"]),
        (BOTH[1:], ["wo-pf-pd"]),
        ((), []),
        ((*BOTH, "finetune.enabled=false"), []),
    ],
)
def test_rows_are_the_tables_without_ablations_of_what_is_left_out(
    tiny_recipe: Callable[..., Recipe], overrides: tuple[str, ...], ablations: list[str]
) -> None:
    assert compared_with(MOVIELENS, tiny_recipe(*overrides)) == ["popularity", "ease", *ENCODERS, *ablations]


def test_the_encoder_of_the_recipe_is_no_row_beside_itself(tiny_recipe: Callable[..., Recipe]) -> None:
    rows = compared_with(MOVIELENS, tiny_recipe("graph.encoder=hccf"))
    assert "hccf" not in rows
    assert rows.index("lightgcn") == 2


def test_the_cutoffs_of_the_table_join_the_recipes(tiny_recipe: Callable[..., Recipe]) -> None:
    assert all_cutoffs(tiny_recipe("evaluate.cutoffs=[50, 10]").evaluate) == (5, 10, 50)
    assert all_cutoffs(tiny_recipe().evaluate) == tiny_recipe().evaluate.cutoffs


# ----------------------------------------------------------------------------------------------- what is refused


def pipeline_of(recipe: Recipe, root: Path, device: str | None = "cpu") -> Pipeline:
    return Pipeline("mine", recipe, Workspace(root), device=device)


def test_another_dataset_is_refused(tiny_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        require_same_data(PAPER["goodreads"], pipeline_of(tiny_recipe(), tmp_path))
    assert str(caught.value) == (
        "dataset.name: the recipe of run mine is about table, the published table about goodreads-history-biography\n"
        "  hint: --recipe paper/goodreads-history is about the table's"
    )
    require_same_data(MOVIELENS, pipeline_of(tiny_recipe("dataset.name=movielens-1m"), tmp_path))


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("movielens-1m", "--recipe paper/movielens-1m-smollm2 does without"),
        ("amazon", "glta recipes copy paper/amazon-groceries is a start for a recipe that does without"),
    ],
)
def test_where_no_weights_can_be_packed_that_is_said_before_anything_is_trained(
    name: str, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = PAPER[name]
    recipe = load_recipe(table.recipe).recipe
    require_device(table, pipeline_of(recipe, tmp_path))  # a processor packs them too
    monkeypatch.setattr("glta_cli.training.loop.pick_device", lambda _: torch.device("mps"))
    with pytest.raises(InputError) as caught:
        require_device(table, pipeline_of(recipe, tmp_path))
    told = "backbone.quantization: 4bit needs a CUDA GPU or a processor, not mps"
    assert str(caught.value) == f"{told}\n  hint: {hint}"
    assert list(tmp_path.iterdir()) == []
    require_device(table, pipeline_of(load_recipe(table.recipe, ["finetune.enabled=false"]).recipe, tmp_path))
    require_device(table, pipeline_of(load_recipe(table.recipe, ["backbone.quantization=none"]).recipe, tmp_path))


def test_how_long_a_processor_takes_with_packed_weights_is_told(
    run_toy: Callable[..., Pipeline], capsys: pytest.CaptureFixture[str]
) -> None:
    made = run_toy(stage="pretrain-graph")
    recipe = recipe_from(made.recipe.model_dump(mode="json"), ["backbone.quantization=4bit"])
    packed = Pipeline(made.name, recipe, made.workspace, device="cpu")
    assert packed_on_processor(packed)
    assert not packed_on_processor(made)
    capsys.readouterr()
    tell_how_long(MOVIELENS, packed, ["popularity", "wo-pf", "wo-pd"])
    told = capsys.readouterr().err
    assert "warning: a processor computes with 4bit weights, for which a GPU is made:\n" in told
    assert re.search(r"about \d+ (s|min|h|d)\b.* for the run's own model on this machine as it is now\n", told)
    assert "about as long for each of 2 other models of the table\n" in told
    assert "--recipe paper/movielens-1m-smollm2 does without\n" in told
    assert max(map(len, told.splitlines())) <= 80


# -------------------------------------------------------------------------------------------------- what differs


@pytest.fixture
def differs(tiny_settings: dict[str, Any], toy_root: Path) -> Callable[..., list[str]]:
    """What is said to differ from the MovieLens table, of the toy recipe with overrides."""

    def tell(*overrides: str, device: str | None = "cpu") -> list[str]:
        return differences(MOVIELENS, pipeline_of(recipe_from(tiny_settings, overrides), toy_root, device))

    return tell


def test_split_and_counts_are_those_of_the_prepared_data(
    differs: Callable[..., list[str]], run_toy: Callable[..., Pipeline]
) -> None:
    split, data, *_ = differs()
    prepared = run_toy(stage="pretrain-graph").prepared()
    train, validation, test = (len(prepared.split(name)) for name in ("train", "valid", "test"))
    assert split == (
        f"split: ratio of 10% validation, 10% test, seed 0: {train} training, {validation} validation, "
        f"{test} test interactions; the paper states none"
    )
    assert data == (
        f"data: 60 users, 40 items, {train + validation + test} interactions; the paper has 6,040, 3,706 and 1,000,209"
    )
    assert differs("dataset.split.strategy=leave-last-out", "dataset.split.seed=3")[0].startswith(
        "split: leave-last-out, seed 3: "
    )


def test_data_of_the_same_size_is_said_to_be_so(
    tiny_recipe: Callable[..., Recipe], run_toy: Callable[..., Pipeline], toy_root: Path
) -> None:
    from dataclasses import replace

    prepared = run_toy(stage="pretrain-graph").prepared()
    count = sum(len(prepared.split(name)) for name in ("train", "valid", "test"))
    same = replace(MOVIELENS, users=60, items=40, interactions=count)
    assert differences(same, pipeline_of(tiny_recipe(), toy_root))[1].endswith("interactions; as in the paper")


def test_the_papers_own_settings_differ_in_the_language_model_alone(differs: Callable[..., list[str]]) -> None:
    told = differs(
        *BOTH,
        "graph.alignment_holdout=0",
        "graph.loss=bpr",
        "finetune.head=linear",
        "finetune.loss=positions",
        "finetune.readout=positions",
        "finetune.fusion=false",
    )
    assert told[2:-1] == [
        "graph encoders: bpr loss, at most 10 epochs, batches of 16, learning rate 0.05, epoch chosen by validation "
        "NDCG@10; the paper leaves loss, dimension and layers open",
        "language model: tiny, all layers, its own weights, dtype auto; the paper's is Llama-2-7B, quantised by GPTQ",
        "generated words: profile and prediction, 5 words each",
    ]


@pytest.mark.parametrize(
    ("override", "note"),
    [
        (
            "backbone.layers=1",
            "language model: tiny, cut after layer 1 (whole where it writes words), its own weights, dtype auto; "
            "the paper's is Llama-2-7B, quantised by GPTQ",
        ),
        (
            "backbone={name: huggingface, options: {model: /home/ann/llama}, quantization: 4bit, dtype: bfloat16}",
            "language model: llama, all layers, its own weights, loaded in 4bit, dtype bfloat16; "
            "the paper's is Llama-2-7B, quantised by GPTQ",
        ),
        (
            "backbone.weights=random",
            "language model: tiny, all layers, random weights, dtype auto; "
            "the paper's is Llama-2-7B, quantised by GPTQ",
        ),
        ("backbone.lora={rank: 2}", "low-rank adapters: trained; the paper's language model is frozen"),
        ("seed=0", "generated words: none; the paper's GLTA has profile and prediction"),
        (BOTH[0], "generated words: profile, 5 words each; the paper's GLTA has profile and prediction"),
        ("graph.encoder=hccf", "encoder below GLTA: hccf; the paper's is LightGCN"),
        (
            "graph.alignment_holdout=0.2",
            "graph of the fine-tuning: without 20% of the training items, its targets; "
            "the paper's is the whole training graph",
        ),
        (
            "seed=0",
            "GLTA: tied head, loss at the first position, readout first, scores fused with the encoder's; "
            "the paper has a linear layer, cross-entropy at the first k, the first k rows, no fusion",
        ),
        (
            "finetune={head: linear, loss: positions, readout: positions, fusion: false, user_token: false}",
            "GLTA: user ids in words; the paper has user tokens",
        ),
        ("text.shuffled=true", "control: texts dealt out at random"),
        ("text.weights=random", "control: texts read with random weights"),
        ("finetune.shuffled_users=true", "control: user tokens of other users"),
        ("finetune.enabled=false", "GLTA: not measured, the recipe stops at the graph encoder"),
        (
            "evaluate.variants.hccf={graph: {encoder: hccf, loss: bpr, training: {learning_rate: 1.0e-3}}}",
            "HCCF: loss bpr, training.learning_rate 0.001",
        ),
    ],
)
def test_what_a_recipe_does_otherwise_is_told(differs: Callable[..., list[str]], override: str, note: str) -> None:
    assert note in differs(override)


@pytest.mark.parametrize(
    "override",
    [
        # It has the run's own row, which is trained as the recipe says.
        "graph.encoder=hccf",
        # The recipe's own settings once more.
        "graph={loss: bpr, training: {learning_rate: 1.0e-3}}",
    ],
)
def test_an_encoder_trained_as_all_are_is_not_told_of(differs: Callable[..., list[str]], override: str) -> None:
    variant = "evaluate.variants.hccf={graph: {encoder: hccf, loss: bpr, training: {learning_rate: 1.0e-3}}}"
    assert not any(each.startswith("HCCF:") for each in differs(variant, override))


def test_without_a_language_model_nothing_is_said_of_one(differs: Callable[..., list[str]]) -> None:
    told = differs("finetune.enabled=false")
    assert not any(each.startswith(("language model", "generated words", "graph of")) for each in told)


def test_the_hardware_is_this_machines(differs: Callable[..., list[str]]) -> None:
    import os
    import platform

    import torch

    assert differs()[-1] == (
        f"hardware of this evaluation: cpu, {platform.machine()}, cores {os.cpu_count()}, "
        f"threads {torch.get_num_threads()}"
    )


# ----------------------------------------------------------------------------------------------------- the table


def shown(report: dict[str, Any], *notes: str, styled: bool = False) -> str:
    text = io.StringIO()
    console = Console(file=text, width=80, highlight=False, color_system="standard" if styled else None)
    console.print(reproduction_table(MOVIELENS, report, notes))
    return text.getvalue()


@pytest.fixture
def report() -> dict[str, Any]:
    """Of popularity, the longest row of the table and an ablation: 0.1, 0.2 and 0.3, and intervals of ±0.01."""
    values = {"popularity": 0.1, "rlmrec-con": 0.2, "wo-pf": 0.3}
    metrics = ("precision@5", "precision@10", "ndcg@5", "ndcg@10", "recall@20")
    return {
        "dataset": "movielens-1m",
        "run": "toy",
        "users": 6039,
        "tuning": {},
        "served": [],
        "seeds": [0],
        "models": {name: dict.fromkeys(metrics, value) for name, value in values.items()},
        "intervals": {name: dict.fromkeys(metrics, (value - 0.01, value + 0.01)) for name, value in values.items()},
    }


def test_published_figures_stand_below_the_measured_ones(report: dict[str, Any]) -> None:
    lines = [line.rstrip() for line in shown(report).splitlines()]
    at = {line.split("  ")[0].strip(): place for place, line in enumerate(lines)}
    assert lines[at["popularity"]].split() == ["popularity", *["0.1000", "±0.0100"] * 4]
    assert lines[at["popularity"] + 1].startswith(" RLMRec-Con")
    assert lines[at["RLMRec-Con"]].split() == ["RLMRec-Con", *["0.2000", "±0.0100"] * 4]
    published = lines[at["RLMRec-Con"] + 1]
    assert published.split() == ["published", "0.0499", "0.0460", "0.0488", "0.0492"]
    assert lines[at["w/o PF"]].split()[-8:] == ["0.3000", "±0.0100"] * 4
    ablation = lines[at["w/o PF"] + 1]
    assert ablation.split() == ["published", "0.0763", "0.0713"]
    # Of an ablation P@5 and N@5 are published, each below its own metric.
    columns = [published.index(figure) for figure in ("0.0499", "0.0488")]
    assert [ablation.index(figure) for figure in ("0.0763", "0.0713")] == columns
    assert [lines[at["RLMRec-Con"]].index("0.2000"), published.index("0.0499")] == [columns[0]] * 2


def test_the_table_fits_into_eighty_columns(report: dict[str, Any]) -> None:
    lines = shown(report, "data: " + "many words " * 30).splitlines()
    assert max(map(len, lines)) <= 80
    assert not any("…" in line for line in lines)


def test_published_figures_are_dim_and_the_best_measured_one_bold(report: dict[str, Any]) -> None:
    text = shown(report, styled=True)
    assert "\x1b[1m0.3000 ±0.0100\x1b[0m" in text
    assert "\x1b[1m0.2000" not in text
    assert "\x1b[2m0.0499\x1b[0m" in text


def test_rows_stand_in_the_published_order(report: dict[str, Any]) -> None:
    for part in ("models", "intervals"):
        row = report[part]["wo-pf"]
        report[part] |= {"glta-llm": row, "glta": row, "lightgcn": row}
    labels = [line[1:13].strip() for line in shown(report).splitlines() if line.count("±") == 4]
    assert labels == ["popularity", "glta-llm", "LightGCN", "RLMRec-Con", "GLTA", "w/o PF"]


def test_the_foot_holds_users_seeds_and_what_differs(report: dict[str, Any]) -> None:
    text = shown(report, "split: by [brackets]")
    assert "movielens-1m, run toy: measured and published" in text
    assert "6,039 test users, seed 0" in text
    assert "split: by [brackets]" in text
    assert "means of 3 seeds, 4 to 6" in shown(report | {"seeds": [4, 5, 6]})


def test_without_resamples_there_are_no_intervals(report: dict[str, Any]) -> None:
    text = shown(report | {"intervals": {name: {} for name in report["models"]}})
    assert "0.2000" in text
    assert "0.2000 ±" not in text
    assert "bootstrap" not in text
