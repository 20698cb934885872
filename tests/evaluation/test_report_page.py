"""The page of an evaluation: what it says is what the dictionary says, and it needs nothing but itself."""

from __future__ import annotations

import copy
import re
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from glta_cli.evaluation.report.extras import Extras
from glta_cli.evaluation.report.page import report_page
from glta_cli.evaluation.report.projection import PlacedItem, PlacedWord, Projection
from glta_cli.evaluation.report.samples import SampleUser
from glta_cli.evaluation.report.trainings import training

ATTACK = "<script>alert(1)</script>"
MODELS = ("popularity", "ease", "lightgcn", "glta-llm", "glta")
METRICS = tuple(f"{kind}@{k}" for k in (5, 10, 20) for kind in ("ndcg", "recall", "precision", "hit", "mrr", "map"))


class Page(HTMLParser):
    """What a test asks of a page: elements with attributes, tables as rows of texts, all text outside markup."""

    VOID = frozenset({"meta", "br", "img", "link", "input", "hr"})

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.tables: list[list[list[str]]] = []
        self.headers: list[int] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
            self.headers.append(0)
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("th", "td"):
            self.tables[-1][-1].append("")
            self.headers[-1] += tag == "th"

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text += data
        if "th" in self.open or "td" in self.open:
            self.tables[-1][-1][-1] += f" {data}" if self.open[-1] == "small" else data

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.elements)


def numbered(position: int, metric: str) -> float:
    """A value no other model or metric has."""
    return round(0.1 + 0.05 * position + 0.0011 * METRICS.index(metric), 4)


@pytest.fixture
def report() -> dict[str, Any]:
    models = {name: {metric: numbered(n, metric) for metric in METRICS} for n, name in enumerate(MODELS)}
    return {
        "dataset": "shop",
        "split": {"strategy": "ratio", "seed": 0, "train": 5370, "valid": 590, "test": 591},
        "run": "toy",
        "users": 1059,
        "left_out": 3,
        "histories": ["train"],
        "seeds": [0, 1, 2],
        "models": models,
        "intervals": {n: {m: [v - 0.01, v + 0.03] for m, v in row.items()} for n, row in models.items()},
        "by_seed": {n: {m: [v - 0.002, v, v + 0.002] for m, v in row.items()} for n, row in models.items()},
        "curves": {
            name: {kind: [0.01 * k + 0.001 * n for k in range(1, 21)] for kind in ("ndcg", "recall", "precision")}
            for n, name in enumerate(MODELS)
        },
        "slices": {
            "cold items": {
                "users": 41,
                "about": "test items nobody met in training",
                "models": {n: {"ndcg@20": 0.0123, "recall@20": 0.0456} for n in MODELS},
            },
            "long histories": {
                "users": 333,
                "about": "the upper third",
                "models": {n: {"ndcg@20": 0.3123, "recall@20": 0.4456} for n in MODELS},
            },
        },
        "costs": {
            name: {"fit_seconds": 7.5 * n, "peak_mib": None if n == 0 else 100.0 * n, "users_per_second": 4321.0 + n}
            for n, name in enumerate(MODELS)
        },
        "settings": {"popularity": {}, "ease": {"regularization": 250.0}},
        "tuning": {
            "ease": [
                {"settings": {"regularization": value}, "ndcg@10": quality, "seconds": 12.5}
                for value, quality in ((100.0, 0.1511), (250.0, 0.1622), (500.0, 0.1533))
            ]
        },
        "served": [
            {"seed": seed, "row": "glta", "terms": ["ease", "lightgcn"], "chosen_among": 4, "validation_ndcg@10": 0.2}
            for seed in (0, 1, 2)
        ],
        "comparison": {"model": "glta", "against": "ease", "metric": "ndcg@10", "difference": 0.15, "p": 0.0123},
        "comparisons": [
            {"model": "glta-llm", "against": "wo-ia-llm", "metric": "ndcg@10", "difference": -0.02, "p": 0.3}
        ],
    }


@pytest.fixture
def extras() -> Extras:
    epochs = [
        {"epoch": 0.0, "ndcg@10": 0.1},
        {"epoch": 1.0, "loss": 6.25},
        {"epoch": 2.0, "loss": 6.0, "ndcg@10": 0.2345},
        {"epoch": 3.0, "loss": 5.5, "ndcg@10": 0.2},
    ]
    return Extras(
        encoder="lightgcn",
        trainings=[training("finetune", {"best_epoch": 2, "best_metric": 0.2345, "training_seconds": 12.0}, epochs)],
        projection=Projection(
            items=[PlacedItem(f"{ATTACK} {n}", 0.1 * n, -0.2 * n, ["cable", "wire"]) for n in range(5)],
            words=[PlacedWord("cable", 0.5, 0.5), PlacedWord("wire", -0.5, 0.1)],
            shares=(0.254, 0.111),
            item_count=500,
            word_count=20_000,
            whole_words=True,
        ),
        samples=[SampleUser("A1", ["An old lamp"], 12, [("A lamp", False), (f"{ATTACK} & co", True)], 2)],
        recipe={"dataset": {"name": "shop"}, "seed": 0},
        environment={
            "python": "3.12.1",
            "platform": "Linux",
            "packages": {"torch": "9.8.7"},
            "plugins": {"glta": "0.1.0"},
            "threads": 2,
        },
    )


def drawings(text: str) -> list[ET.Element]:
    """Every SVG of a page, read as the XML it is meant to be."""
    found = re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL)
    assert len(found) == text.count("<svg")
    return [ET.fromstring(each) for each in found]


def check_page(text: str) -> Page:
    """What holds of every page; returns it read."""
    page = Page(text)
    assert page.open == []
    assert page.count("h1") == 1
    assert page.tables
    assert all(page.headers)
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in page.elements:
        assert tag not in ("script", "link", "img", "iframe", "object", "embed", "base")
        assert "src" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
        target = attributes.get("href")
        assert target is None or target.removeprefix("#") in ids
    assert "url(" not in text
    assert "@import" not in text
    for drawing in drawings(text):
        assert "NaN" not in ET.tostring(drawing, encoding="unicode").replace("nan", "NaN")
    return page


def table_with(page: Page, first: str) -> list[list[str]]:
    """The table whose header row starts like this."""
    [found] = [table for table in page.tables if " ".join(table[0]).startswith(first)]
    return found


def test_the_page_needs_nothing_else_and_is_well_formed(report, extras) -> None:
    page = check_page(report_page(report, extras))
    assert page.count("svg") >= 10


def test_every_figure_of_the_table_is_the_dictionarys(report, extras) -> None:
    page = Page(report_page(report, extras))
    header, *rows = table_with(page, "model NDCG@5")
    assert header[:3] == ["model", "NDCG@5", "Recall@5"]
    assert len(header) == 1 + len(METRICS)
    assert [row[0] for row in rows] == list(MODELS)
    for name, *cells in rows:
        for metric, cell in zip(METRICS, cells, strict=True):
            value, half, spread = cell.split(maxsplit=2)
            assert float(value) == report["models"][name][metric]
            assert half == "±0.0200"
            assert spread == "seeds 0.0020"


def test_the_best_of_each_column_is_marked(report, extras) -> None:
    report["models"]["ease"]["recall@5"] = 0.9
    text = report_page(report, extras)
    rows = dict(re.findall(r'<th scope="row">([\w-]+)</th>\n?((?:<td.*?</td>)+)</tr>', text.partition("</table>")[0]))
    marked = {name: re.findall(r'class="best"><b>([\d.]+)</b>', cells) for name, cells in rows.items()}
    best = [f"{value:.4f}" for metric, value in report["models"]["glta"].items() if metric != "recall@5"]
    assert marked == {"popularity": [], "ease": ["0.9000"], "lightgcn": [], "glta-llm": [], "glta": best}


def test_the_foot_tells_the_split_the_users_and_the_test_in_words(report, extras) -> None:
    text = " ".join(Page(report_page(report, extras)).text.split())
    assert "Means over 1,059 users with a test item; 3 without one are left out. Split: ratio with seed 0." in text
    assert "± is half of the 95% bootstrap interval over users" in text
    assert "the standard deviation over the 3 seeds" in text
    assert "NDCG@10 of glta is 0.1500 above that of ease" in text
    assert "p = 0.012 (paired test over users, random sign flips): the users tell the two apart at the 5% level" in text
    report["comparison"] |= {"difference": -0.003, "p": 0.4}
    text = " ".join(Page(report_page(report, extras)).text.split())
    assert "NDCG@10 of glta is 0.0030 below that of ease" in text
    assert "the users do not tell the two apart" in text


def test_a_split_in_time_says_what_histories_hold(report, extras) -> None:
    said = "histories at test are training and validation items"
    assert said not in Page(report_page(report, extras)).text
    report["histories"] = ["train", "valid"]
    assert said in Page(report_page(report, extras)).text


def test_what_is_served_is_told_once_or_by_seed(report, extras) -> None:
    page = report_page(report, extras)
    assert page.count("glta is ease + lightgcn, the best of 4 on validation.") == 1
    report["served"][2] |= {"terms": ["ease"], "row": "ease"}
    page = report_page(report, extras)
    assert "seeds 0, 1: glta is ease + lightgcn, the best of 4 on validation." in page
    assert "seed 2: glta is ease, the best of 4 on validation." in page


def test_variants_are_compared_one_by_one(report, extras) -> None:
    text = " ".join(Page(report_page(report, extras)).text.split())
    assert "NDCG@10 of glta-llm is 0.0200 below that of wo-ia-llm (p = 0.3). Were the two equally good" in text
    report["comparison"] = None
    assert "No paired test was made" not in Page(report_page(report, extras)).text


def test_costs_slices_tuning_and_versions_are_told(report, extras) -> None:
    page = Page(report_page(report, extras))
    costs = {row[0]: row[1:] for row in table_with(page, "model NDCG@10 time to fit")}
    assert costs["popularity"] == [f"{numbered(0, 'ndcg@10'):.4f}", "< 1 ms", "not measured", "4,321"]
    assert costs["glta"] == [f"{numbered(4, 'ndcg@10'):.4f}", "30 s", "400", "4,325"]
    slices = [table for table in page.tables if table[0][1:] == ["cold items", "long histories"]]
    assert [table[-1] for table in slices] == [["glta", "0.0123", "0.3123"], ["glta", "0.0456", "0.4456"]]
    tried = table_with(page, "settings validation NDCG@10 time to fit")
    assert tried[1][1:] == ["0.1622", "12.5 s"]
    assert [row[0] for row in tried[1:]] == ["regularization 250.0", "regularization 500.0", "regularization 100.0"]
    for said in ("41 users", "test items nobody met in training", "Python 3.12.1", "torch 9.8.7"):
        assert said in page.text


def test_curves_and_trainings_say_each_point_in_a_tooltip(report, extras) -> None:
    titles = {title.text for drawing in drawings(report_page(report, extras)) for title in drawing.iter("title")}
    for n, name in enumerate(MODELS):
        for kind in ("NDCG", "Recall", "Precision"):
            assert f"{name}: {kind}@20 {0.2 + 0.001 * n:.4f}" in titles
    assert {"epoch 2: loss 6", "epoch 2: NDCG@10 0.2345", "epoch 0: NDCG@10 0.1"} <= titles


def test_every_plot_has_labelled_axes_and_keeps_its_text_inside(report, extras) -> None:
    plots = [drawing for drawing in drawings(report_page(report, extras)) if drawing.get("class") == "plot"]
    assert plots
    for plot in plots:
        assert plot.get("aria-label")
        labels = [text.text for text in plot.iter("text") if text.get("class") == "label"]
        assert labels
        assert all(labels)
        _, _, width, height = map(float, plot.get("viewBox", "").split())
        for text in plot.iter("text"):
            assert 0 <= float(text.get("x", -1)) <= width
            assert 0 <= float(text.get("y", -1)) <= height


def test_the_models_own_rows_stand_out_and_all_models_look_different(report, extras) -> None:
    from glta_cli.evaluation.report.marks import model_marks

    names = [f"baseline-{n}" for n in range(18)] + ["lightgcn", "glta-llm", "glta"]
    marks = model_marks(names, "lightgcn")
    assert [name for name, mark in marks.items() if mark.own] == ["lightgcn", "glta-llm", "glta"]
    assert len({(mark.colour, mark.dash, mark.shape) for mark in marks.values()}) == len(names)
    page = Page(report_page(report, extras))
    rows = [attributes.get("class") or "" for tag, attributes in page.elements if tag == "tr"]
    assert any("own" in row.split() for row in rows)


def test_texts_of_the_data_stay_text(report, extras) -> None:
    for old in ("popularity", "glta"):
        for part in ("models", "intervals", "by_seed", "curves", "costs"):
            report[part] = {(f"{old}{ATTACK}" if n == old else n): v for n, v in report[part].items()}
    report |= {
        "run": ATTACK,
        "dataset": f'"{ATTACK}',
        "settings": {"ease": {ATTACK: "\x1b[1m\x00\ufffe"}},
        "slices": {},
    }
    text = report_page(report, extras)
    page = check_page(text)
    assert ATTACK not in text
    assert f"{ATTACK} & co" in page.text
    [heading] = re.findall(r"<h1>(.*?)</h1>", text)
    assert heading.startswith("&lt;script&gt;")


def test_what_a_run_lacks_is_said(report, extras) -> None:
    bare = Extras("lightgcn", [], "There are no item tokens.", "There is no index.", {}, extras.environment)
    report |= {"slices": {}, "tuning": {}, "served": [], "comparison": None, "comparisons": [], "seeds": [0]}
    report["intervals"] = {name: {} for name in MODELS}
    report["by_seed"] = {n: {m: [v] for m, v in row.items()} for n, row in report["models"].items()}
    page = check_page(report_page(report, bare))
    for said in ("There are no item tokens.", "There is no index.", "No intervals", "No paired test", "One seed"):
        assert said in page.text
    assert "±" not in page.text
    for name, *cells in table_with(page, "model NDCG@5")[1:]:
        assert [float(cell) for cell in cells] == list(report["models"][name].values())


def test_a_large_evaluation_stays_a_small_file(report, extras) -> None:
    from dataclasses import replace

    for part in ("models", "intervals", "by_seed", "costs"):
        report[part] = {f"model {n}": copy.deepcopy(report[part]["ease"]) for n in range(40)}
    report["curves"] = {
        name: {kind: [k / 1000 for k in range(1, 1001)] for kind in ("ndcg", "recall", "precision")}
        for name in report["models"]
    }
    report["tuning"] = {"model 1": [{"settings": {"a": n}, "ndcg@10": n / 1e4} for n in range(5000)]}
    report["slices"] = {}
    epochs = [{"epoch": float(n), "loss": 1 / (n + 1), "ndcg@10": n / 5000} for n in range(5000)]
    long = training("pretrain-graph", {"best_epoch": 4999, "best_metric": 4999 / 5000}, epochs)
    items = [PlacedItem("A title without an end " * 100, n, -n, ["word"] * 4) for n in range(300)]
    assert not isinstance(extras.projection, str)
    large = replace(extras, trainings=[long] * 4, projection=replace(extras.projection, items=items))
    text = report_page(report, large)
    check_page(text)
    assert len(text.encode()) < 2_000_000
