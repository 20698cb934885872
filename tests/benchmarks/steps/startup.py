"""How long a command takes to answer, as a process of its own."""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from step import Step, Work

# The size of Gowalla, and the width of a query with text vectors.
USERS, ITEMS, GRAPH, LANGUAGE = 29_858, 40_981, 64, 192
HISTORY = 28
USER = "42"


def command(name: str) -> list[str]:
    """A command of the environment this runs in."""
    return [str(Path(sys.executable).with_name(name))]


def environment() -> dict[str, str]:
    """That of an installed command, whose byte code was kept from the run before."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def answer_of(arguments: list[str]) -> str:
    """What a command prints."""
    return subprocess.run(arguments, check=True, capture_output=True, text=True, env=environment()).stdout


# ---------------------------------------------------------------------------------------------------- --help


def help_of(name: str) -> Work:
    def work() -> Mapping[str, Any]:
        shown = answer_of([*command(name), "--help"])
        return {"shown": "usage" in shown.lower() and "help" in shown.lower()}

    return work


def check_help(ours: Mapping[str, Any], peer: Mapping[str, Any]) -> None:
    assert ours["shown"], "glta --help showed no usage"
    assert peer["shown"], "transformers --help showed no usage"


# ------------------------------------------------------------------------------------------------- recommend


def vectors() -> dict[str, np.ndarray]:
    """An index's content, drawn at random: its size is what the time depends on."""
    generator = np.random.default_rng(0)
    shapes = {"rows": (USERS, LANGUAGE), "items": (ITEMS, LANGUAGE), "bias": (ITEMS,)}
    shapes |= {"graph_users": (USERS, GRAPH), "graph_items": (ITEMS, GRAPH)}
    drawn = {name: generator.standard_normal(shape, dtype=np.float32) for name, shape in shapes.items()}
    starts = generator.integers(0, ITEMS - HISTORY, USERS)
    return drawn | {"history": starts[:, None] + np.arange(HISTORY)}  # [U, HISTORY]


def published_workspace(folder: Path) -> None:
    """A workspace whose latest run has an index."""
    from glta_cli.plugin.interactions import Interactions
    from glta_cli.serving.index import PAIR_LAYOUT, LanguageScores
    from glta_cli.serving.index_file import write_index
    from glta_cli.workspace.run import Run
    from glta_cli.workspace.workspace import Workspace

    drawn = vectors()
    history = Interactions.from_pairs(
        np.repeat(np.arange(USERS), HISTORY), drawn["history"].ravel(), user_count=USERS, item_count=ITEMS
    )

    def write(folder: Path) -> dict[str, Any]:
        write_index(
            folder,
            LanguageScores(drawn["rows"][:, None], drawn["items"], drawn["bias"]),
            (drawn["graph_users"], drawn["graph_items"]),
            history.counts,
            history,
            user_ids=[str(user) for user in range(USERS)],
            item_ids=[f"i{item}" for item in range(ITEMS)],
            titles=[f"Title of item {item}" for item in range(ITEMS)],
        )
        known = {"interactions": len(history), "newest": "2026-01-01", "trained": len(history)}
        return {"encoder": "lightgcn", "fusion": {"starts": [0], "weights": [1.0]}, **known}

    workspace = Workspace(folder)
    settings = {"layout": PAIR_LAYOUT}
    workspace.publish("serving-index", "random", write, settings=settings, inputs={"prepare": "random"}, seed=0)
    stages = dict.fromkeys(("index", "serving-index"), "random")
    workspace.save_run(Run("random", {"dataset": {"name": "random"}}, stages))


def our_recommend(size: int) -> Work:
    scratch = tempfile.TemporaryDirectory(prefix="glta-bench-")
    atexit.register(scratch.cleanup)
    published_workspace(Path(scratch.name))
    arguments = [*command("glta"), "recommend", "--user", USER, "--data-dir", scratch.name]
    content = json.loads(answer_of([*arguments, "--json"]))
    items = [int(entry["item"].removeprefix("i")) for entry in content["recommendations"]]
    loaded = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "glta_cli", *arguments[1:]], capture_output=True, text=True
    ).stderr
    imports_torch = any(line.rpartition("|")[2].strip() == "torch" for line in loaded.splitlines())

    def work() -> Mapping[str, Any]:
        shown = answer_of(arguments)
        return {
            "items": items,
            "shown": all(f"Title of item {item}" in shown for item in items),
            "torch": imports_torch,
        }

    return work


def import_of_torch(size: int) -> Work:
    """The import alone is timed; the list beside it is the formula, written out for one user."""
    drawn = vectors()
    user = int(USER)
    graph = drawn["graph_items"] @ drawn["graph_users"][user]
    language = drawn["items"] @ drawn["rows"][user] + drawn["bias"]
    fused = (graph - graph.mean()) / graph.std() + (language - language.mean()) / language.std()
    fused[drawn["history"][user]] = -np.inf
    items = np.argsort(-fused, kind="stable")[:10]

    def work() -> Mapping[str, Any]:
        subprocess.run([sys.executable, "-c", "import torch"], check=True, env=environment())
        return {"items": items}

    return work


def check_recommend(ours: Mapping[str, Any], peer: Mapping[str, Any]) -> None:
    np.testing.assert_array_equal(ours["items"], peer["items"])
    assert ours["shown"], "a recommended title is missing from the table"
    assert not ours["torch"], "torch was imported"


STEPS: tuple[Step, ...] = (
    Step(
        name="glta --help",
        peer_name="transformers --help",
        ours=lambda size: help_of("glta"),
        peer=lambda size: help_of("transformers"),
        check=check_help,
        targets={"wall": 15},
        limits={"wall": 0.15},
        runs=7,
    ),
    Step(
        name="glta recommend --user 42, cold process",
        peer_name="python -c 'import torch'",
        ours=our_recommend,
        peer=import_of_torch,
        check=check_recommend,
        targets={"wall": 9},
        limits={"wall": 0.2},
        runs=7,
        note="an index of Gowalla's size, 29,858 users and 40,981 items",
    ),
)
