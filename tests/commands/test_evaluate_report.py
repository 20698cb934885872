"""`glta evaluate --report`: the page beside the figures; a path that cannot be written to is said beforehand."""

from __future__ import annotations

import json
import re
from statistics import stdev


def test_a_report_without_a_folder_to_stand_in_ends_the_command_at_once(glta, tiny_recipe_file, workspace_root) -> None:
    finished = glta("evaluate", "--recipe", str(tiny_recipe_file), "--report", "absent/report.html")
    assert finished.code == 2
    assert "--report absent/report.html: there is no folder absent" in finished.err
    assert "hint: make it first" in finished.err
    assert not workspace_root.exists()


def test_a_folder_is_no_report(glta, tiny_recipe_file, workspace_root) -> None:
    finished = glta("evaluate", "--recipe", str(tiny_recipe_file), "--report", str(glta.folder))
    assert finished.code == 2
    assert "is a folder" in finished.err
    assert not workspace_root.exists()


def test_tuned_rows_over_seeds_make_a_report(glta, tiny_recipe_file, workspace_root) -> None:
    options = ["--baselines", "popularity,ease", "--seeds", "2", "--tune", "--report", "r.html"]
    finished = glta("evaluate", "--recipe", str(tiny_recipe_file), *options, "--json")
    assert finished.code == 0, finished.err
    report = finished.json
    page = (glta.folder / "r.html").read_text()
    assert "report: r.html" in finished.err
    assert list(report["models"]) == ["popularity", "ease", "lightgcn", "glta-llm", "glta"]
    quality = page.partition("<h2>Quality</h2>")[2].partition("<h2>")[0]
    rows = dict(re.findall(r'<th scope="row">([\w-]+)</th>(.*?)</tr>', quality, re.DOTALL))
    for name, metrics in report["models"].items():
        assert f"{metrics['ndcg@10']:.4f}" in rows[name]
    # Two seeds of a model that draws at random lie apart.
    spread = stdev(report["by_seed"]["lightgcn"]["ndcg@10"])
    assert spread > 0
    assert f"{spread:.4f}" in rows["lightgcn"]
    assert report["tuning"]["ease"]
    for tried in report["tuning"]["ease"]:
        assert f"regularization {json.dumps(tried['settings']['regularization'])}" in page
    assert str(workspace_root) not in page
    assert str(glta.folder.parent) not in page


def test_a_run_without_a_language_model_makes_a_report(glta, tiny_recipe_file) -> None:
    finished = glta(
        "evaluate", "--recipe", str(tiny_recipe_file), "--set", "finetune.enabled=false", "--report", "r.html"
    )
    assert finished.code == 0, finished.err
    page = (glta.folder / "r.html").read_text()
    assert re.findall(r'<th scope="row">(.*?)</th>', page)[:2] == ["popularity", "lightgcn"]
    assert "<h3>pretrain-graph, full</h3>" in page
    assert "<h3>finetune</h3>" not in page
    assert "This run has no stage with a language model, so there are no item tokens." in page
    assert "This run has no index to recommend from." in page
