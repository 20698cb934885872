"""Fixtures every test folder shares."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml

if TYPE_CHECKING:
    from glta_cli.plugin.interactions import Interactions
    from glta_cli.recipe.schema import Recipe
    from glta_cli.stages.context import StageContext
    from glta_cli.stages.pipeline import Pipeline

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Started in the background of a script, where Ctrl-C is ignored, as it would be by every process started from here.
    signal.signal(signal.SIGINT, signal.default_int_handler)

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real datasets; its tests skip where it is absent."""
    folder = Path(os.environ.get("GLTA_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real datasets: set GLTA_SHARED_DATA to their folder ({folder} is absent)")
    return folder


@pytest.fixture
def workspace_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty workspace that commands use by default."""
    root = tmp_path / "workspace"
    monkeypatch.setenv("GLTA_DATA_DIR", str(root))
    return root


# ------------------------------------------------------------------------------------- a toy dataset and its runs

TOY_USERS, TOY_ITEMS = 60, 40


@pytest.fixture(scope="session")
def toy_table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the loader `table`: users u0 to u59, items i0 to i39, and two tastes.

    The first thirty users liked films about space, the others books about gardens; the item i39 has one
    interaction, and the user u59 only two, too few to be tested.
    """
    generator = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("toy")
    rows = []
    for user in range(TOY_USERS):
        taste = np.arange(20) if user < 30 else np.arange(20, 39)
        chosen = generator.choice(taste, 2 if user == 59 else generator.integers(9, 14), replace=False)
        rows += [(f"u{user}", f"i{item}") for item in chosen]
    rows.append(("u40", "i39"))
    lines = [f"{user},{item},{1_600_000_000 + time}\n" for time, (user, item) in enumerate(rows)]
    (folder / "interactions.csv").write_text("user,item,timestamp\n" + "".join(lines))
    titles = [f"i{item},{'Space film' if item < 20 else 'Garden book'} {item}\n" for item in range(TOY_ITEMS)]
    (folder / "items.csv").write_text("item,title\n" + "".join(titles))
    return folder


@pytest.fixture(scope="session")
def shop_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`log.csv` and `products.csv` of a made-up shop: 30 customers C-00 to C-29, 24 products 0000 to 0023.

    Every customer views eight products, each once to thrice, puts some of them into the cart and buys some of those;
    every tenth product is never bought. Even customers look at lamps, odd ones at tents.
    """
    generator = np.random.default_rng(0)
    rows = []
    for user in range(30):
        for item in generator.choice(np.arange(12) + user % 2 * 12, 8, replace=False):
            pair, time = f"C-{user:02},{item:04}", 1_700_000_000 + int(generator.integers(10_000_000))
            rows += [(time + 40 * again, f"{pair},view", 1) for again in range(item % 3 + 1)]
            if generator.random() < 0.7:
                rows.append((time + 400, f"{pair},cart", 1))
                if item % 10 and generator.random() < 0.7:
                    rows.append((time + 900, f"{pair},purchase", int(generator.integers(1, 4))))
    folder = tmp_path_factory.mktemp("shop")
    lines = "".join(f"{event},{time},{quantity}\n" for time, event, quantity in sorted(rows))
    (folder / "log.csv").write_text("customer,sku,event,time,qty\n" + lines)
    titles = "".join(f"{item:04},{'Lamp' if item < 12 else 'Tent'} {item}\n" for item in range(24))
    (folder / "products.csv").write_text("sku,title\n" + titles)
    return folder


@pytest.fixture(scope="session")
def tiny_settings(toy_table: Path) -> dict[str, Any]:
    """A recipe that takes the toy table through every stage in seconds, as the values of its YAML."""
    return {
        "dataset": {"name": "table", "source": str(toy_table)},
        "graph": {
            "options": {"dimension": 16},
            "training": {"epochs": 10, "batch_size": 16, "learning_rate": 0.05},
        },
        "backbone": {"name": "tiny"},
        "text": {"tokens": 16, "dimensions": 10},
        "align": {
            "least_items": 3,
            "most_items": 5,
            "description_tokens": 16,
            "prompts": 32,
            "validation_prompts": 8,
            "training": {"epochs": 1, "batch_size": 8},
        },
        "interests": {"profile": False, "prediction": False},
        # Steps so long that an epoch is better than the warm start, and selected.
        "finetune": {
            "positions": 4,
            "training": {"epochs": 2, "batch_size": 16, "learning_rate": 0.003, "warmup_steps": 2},
        },
        # The two terms whose stages most tests are about; those of linear ones say so.
        "fusion": {"terms": ["encoder", "llm"]},
        "evaluate": {"bootstrap": 20},
    }


@pytest.fixture(scope="session")
def tiny_recipe(tiny_settings: dict[str, Any]) -> Callable[..., Recipe]:
    """Make the toy recipe with `key=value` overrides, as `--set` takes them."""

    def make(*overrides: str) -> Recipe:
        from glta_cli.recipe.files import recipe_from

        return recipe_from(tiny_settings, overrides)

    return make


@pytest.fixture(scope="session")
def tiny_recipe_file(tiny_settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy recipe as a file for `--recipe`; its run is called toy."""
    path = tmp_path_factory.mktemp("recipes") / "toy.yaml"
    path.write_text(yaml.safe_dump(tiny_settings))
    return path


@pytest.fixture(scope="session")
def toy_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace all tests of a session share, so that a stage runs once."""
    return tmp_path_factory.mktemp("workspace")


@pytest.fixture(scope="session")
def run_toy(tiny_recipe: Callable[..., Recipe], toy_root: Path) -> Callable[..., Pipeline]:
    """Run the toy recipe with overrides up to a stage, by default the index, and return its pipeline."""

    def run(*overrides: str, stage: str = "index", name: str = "toy") -> Pipeline:
        from glta_cli.stages.pipeline import Pipeline
        from glta_cli.workspace.workspace import Workspace

        pipeline = Pipeline(name, tiny_recipe(*overrides), Workspace(toy_root), device="cpu")
        pipeline.ensure(stage)
        return pipeline

    return run


@pytest.fixture(scope="session")
def toy_context(run_toy: Callable[..., Pipeline]) -> Callable[..., StageContext]:
    """What the stages after the given one would work with, of the toy recipe with overrides."""

    def make(*overrides: str, stage: str = "align", name: str = "context") -> StageContext:
        import torch

        from glta_cli.stages.context import StageContext

        pipelines = [run_toy(*overrides, stage=needed, name=name) for needed in ("pretrain-graph", stage)]
        artefacts = {"pretrain-graph": pipelines[0].ensure("pretrain-graph")}
        pipeline = pipelines[1]
        artefacts |= {name: artefact for name, artefact in pipeline.status() if artefact is not None}
        return StageContext(pipeline.recipe, pipeline.workspace, torch.device("cpu"), artefacts)

    return make


@pytest.fixture(scope="session")
def random_interactions() -> Callable[..., Interactions]:
    """Draw interactions: every pair of user and item with the same probability."""

    def draw(users: int, items: int, *, share: float = 0.3, seed: int = 0) -> Interactions:
        from glta_cli.plugin.interactions import Interactions

        rows, columns = np.nonzero(np.random.default_rng(seed).random((users, items)) < share)
        return Interactions.from_pairs(rows, columns, user_count=users, item_count=items)

    return draw
