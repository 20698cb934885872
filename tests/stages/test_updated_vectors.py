"""The vectors of an update: by the texts of now, and by whoever met an item."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from numpy.testing import assert_allclose
from typer.testing import CliRunner

from glta_cli.main import app
from glta_cli.serving.index import Index
from glta_cli.stages.pipeline import Pipeline
from glta_cli.workspace.artefact import Artefact
from glta_cli.workspace.workspace import Workspace


def glta(*arguments: str) -> Any:
    return json.loads(CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False).stdout)


def graph_vectors(workspace: Workspace, run: str) -> dict[str, np.ndarray]:
    """What the run's serving index has of each item from the graph encoder."""
    artefact = workspace.published("serving-index", workspace.required_run(run).stages["serving-index"])
    assert isinstance(artefact, Artefact)
    index = Index(artefact)
    return dict(zip(index.item_ids.tolist(), index._tensors["graph_items"].T, strict=True))


@pytest.mark.parametrize("saved", [False, True], ids=["texts as given", "texts in its state"])
def test_an_encoder_that_reads_texts_reads_those_of_now(
    run_toy: Callable[..., Pipeline],
    toy_table: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    saved: bool,
) -> None:
    from glta_encoders.alpharec import AlphaRec

    if saved:

        def register(self: AlphaRec, name: str, tensor: torch.Tensor, **_: Any) -> None:
            torch.nn.Module.register_buffer(self, name, tensor)

        monkeypatch.setattr(AlphaRec, "register_buffer", register, raising=False)
    overrides = ("graph.encoder=alpharec", "graph.options.layers=0", f"graph.training.epochs={3 + saved}")
    name = f"alpharec-{saved}"
    root, source = tmp_path / "workspace", tmp_path / "source"
    shutil.copytree(run_toy(*overrides, stage="serving-index", name=name).workspace.root, root)
    shutil.copytree(toy_table, source)
    before = graph_vectors(Workspace(root), name)
    items = source / "items.csv"
    items.write_text(items.read_text().replace("i5,Space film 5\n", "i5,Garden book 30\n"))
    glta("update", "--source", str(source), "--run", name, "--data-dir", str(root))
    after = graph_vectors(Workspace(root), name)
    # Without a layer an item is its text, and two of the same are the same.
    assert not np.allclose(before["i5"], before["i30"], atol=1e-3)
    assert_allclose(after["i5"], after["i30"], atol=1e-5)
    assert_allclose(after["i30"], before["i30"], atol=1e-6)


def test_an_item_nobody_met_goes_by_the_new_users_who_do(
    tiny_settings: dict[str, Any], toy_table: Path, tmp_path: Path, workspace_root: Path
) -> None:
    source = tmp_path / "source"
    shutil.copytree(toy_table, source)
    with (source / "items.csv").open("a") as items:
        items.write("i40,Space film 40\n")
    recipe = tmp_path / "shop.yaml"
    recipe.write_text(yaml.safe_dump({**tiny_settings, "dataset": {"name": "table", "source": str(source)}}))
    glta("recommend", "--user", "u7", "--recipe", str(recipe))
    before = graph_vectors(Workspace(), "shop")
    with (source / "interactions.csv").open("a") as log:
        log.writelines(f"n{user},i{item},1700000000\n" for user in range(20) for item in (40, 21, 22, 23, 24))
    assert glta("update")["new"]["items"] == 0
    after = graph_vectors(Workspace(), "shop")

    def alike(item: np.ndarray, others: list[str]) -> float:
        taste = np.mean([after[each] for each in others], axis=0)
        return float(item @ taste / np.linalg.norm(item) / np.linalg.norm(taste))

    gardens = [f"i{item}" for item in range(21, 39)]
    assert alike(after["i40"], gardens) > alike(before["i40"], gardens) + 0.1
