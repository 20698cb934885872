"""Day two of a shop whose customers may be shown again what they only viewed: until they buy it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from glta_cli.main import app


def glta(*arguments: str) -> Any:
    return json.loads(CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False).stdout)


@pytest.mark.parametrize("events", [{"events": {"purchase": 3, "cart": 2, "view": 1}}, {}])
def test_what_was_bought_since_is_recommended_no_more(
    shop_folder, tiny_settings, tmp_path: Path, workspace_root, events
):
    log = tmp_path / "log.csv"
    shutil.copy(shop_folder / "log.csv", log)
    shutil.copy(shop_folder / "products.csv", tmp_path)
    rows = [line.split(",") for line in log.read_text().splitlines() if line.startswith("C-07")]
    viewed = sorted({row[1] for row in rows} - {row[1] for row in rows if row[2] == "purchase"})[0]
    options = {"items": "products.csv", "seen": ["purchase"], **events}
    dataset = {"name": "table", "source": str(log), "options": options}
    recipe = tmp_path / "shop.yaml"
    recipe.write_text(yaml.safe_dump({**tiny_settings, "dataset": dataset, "align": {"enabled": False}}))

    before = glta("recommend", "--user", "C-07", "-k", "24", "--recipe", str(recipe))["recommendations"]
    assert viewed in [each["item"] for each in before]
    log.write_text(log.read_text() + f"C-07,{viewed},purchase,1800000000,1\n")
    found = glta("update")
    assert found["updated"]
    assert (found["new"]["interactions"], found["new"]["seen"]) == (0, 1)
    after = glta("recommend", "--user", "C-07", "-k", "24")
    assert viewed not in [each["item"] for each in after["recommendations"]]
    assert viewed in [each["item"] for each in after["history"]]
