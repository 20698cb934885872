"""What `throughput.py` measures: models and dtypes as recipes, and what glta says of each before it runs."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from estimates import BEFORE, MadeUp, chosen

SCRIPT = str(Path(__file__).resolve().with_name("throughput.py"))
LLAMA_7B = Path(__file__).resolve().parents[2] / "recipes" / "llama7b-lora.yaml"
MODELS = SMOLLM2, SHAPE_7B = "smollm2-135m", "7b-shape"
TINY = "tiny"
DEPTH_7B = 32
DTYPES = ("float32", "bfloat16")
# What is measured: a stage, and whether the model has adapters; stage 2 trains none.
ROWS = {"align": ("align", False), "finetune": ("finetune", False), "finetune-lora": ("finetune", True)}
ITEMS, EACH, WORDS = 200, 40, 40
# For a tokenizer of bytes: as long in them as the default wording is in tokens, so that prompts share no more.
WORDING_IN_BYTES = {
    "system": "",
    "alignment": "Put them in this order\n{descriptions}\nBy: {items}\nList:",
    "recommendation": "Choose good ones.\nUser: {user}\nHad: {items}\n{profile}{prediction}List:",
}
# Seconds of the bare model for each that is foretold of a stage.
BARE = 1.5
MOST_LINES = 5


class NoFiguresError(Exception):
    """A process ended without them, and what it said last."""


@dataclass(frozen=True)
class Sizes:
    """What is measured of each row.

    Attributes:
        steps: whose median counts, behind `warm_up` others.
        batch: prompts of a step of stage 2; stage 3 takes twice as many, as by default.
        layers: of the 7B shape.
        checkpointing: whether both sides compute activations again in the backward pass.
    """

    steps: int
    warm_up: int
    batch: int
    layers: int
    checkpointing: bool

    @property
    def all_steps(self) -> int:
        return self.warm_up + self.steps

    def remark(self) -> str:
        """What keeps ratios of some layers of the 7B shape from being those of all; nothing of all."""
        if self.layers == DEPTH_7B:
            return ""
        return (
            "\nnote: of a prompt before the places that are read the last layer gives keys\n"
            f"and values alone: here 1 of {self.layers}, in the whole {SHAPE_7B} 1 of {DEPTH_7B}, so that its ratios\n"
            "are lower\n"
        )


@dataclass(frozen=True)
class Case:
    """A model in one dtype, frozen or with adapters, written as a recipe.

    Attributes:
        recipe: its file.
        foretold: by stage, what `--dry-run` says of it.
        asking: seconds on the clock it took to say so: those of a process that computes nothing.
    """

    model: str
    dtype: str
    lora: bool
    recipe: Path
    foretold: Mapping[str, Any]
    asking: float

    def seconds(self, row: str) -> float:
        """On the clock, of a row: what is foretold of the stage, for the bare model as much, and two processes."""
        stage, _ = ROWS[row]
        return (1 + BARE) * float(self.foretold[stage]["estimated_seconds"] or 0) + 2 * self.asking


def sizes_of(options: argparse.Namespace) -> Sizes:
    """What is asked for; without a GPU by default as much as a processor does in seconds a step."""
    from glta_cli.training.devices import pick_device

    batch, layers = (16, DEPTH_7B) if pick_device("auto").type == "cuda" else (4, 2)
    return Sizes(
        options.steps, options.warm_up, options.batch or batch, options.layers or layers, options.checkpointing
    )


def backbone_of(model: str, sizes: Sizes) -> dict[str, Any]:
    if model == TINY:
        return {"name": "tiny"}
    if model == SMOLLM2:
        return {"name": "smollm2", "layers": None}
    # The shape is that of the recipe; bytes for a tokenizer, so that nothing is fetched.
    options = yaml.safe_load(LLAMA_7B.read_text())["backbone"]["options"]
    options = {"architecture": options["architecture"], "tokenizer": "bytes"}
    return {"name": "huggingface", "weights": "random", "layers": sizes.layers, "options": options}


def recipe_of(model: str, dtype: str, lora: bool, sizes: Sizes, source: Path) -> dict[str, Any]:
    """One epoch of each stage, of as many steps as are wanted; a small model reads the item texts of all cases."""
    adapters = {"rank": 8} if lora else None
    placed = {"dtype": dtype, "gradient_checkpointing": sizes.checkpointing, "lora": adapters}
    return {
        "dataset": {"name": "table", "source": str(source)},
        "graph": {"training": {"epochs": 1}},
        "text": {"backbone": "tiny"},
        "prompts": {} if model == SMOLLM2 else WORDING_IN_BYTES,
        "backbone": {**backbone_of(model, sizes), **placed},
        "align": {
            "prompts": sizes.all_steps * sizes.batch,
            "validation_prompts": sizes.batch,
            "training": {"epochs": 1, "batch_size": sizes.batch},
        },
        "interests": {"profile": False, "prediction": False},
        "finetune": {
            "warm_start_users": 0,
            "validation_users": 2 * sizes.batch,
            "training": {"epochs": 1, "batch_size": 2 * sizes.batch},
        },
        "fusion": {"terms": ["encoder", "llm"]},
    }


def child(*arguments: str) -> Any:
    """What a process prints as JSON; what it says beside that is told where it fails alone.

    Raises:
        NoFiguresError: it failed.
    """
    finished = subprocess.run([sys.executable, *arguments], capture_output=True, text=True)
    if finished.returncode:
        said = finished.stderr.strip().splitlines()[-MOST_LINES:]
        raise NoFiguresError("\n  ".join([f"a process ended with status {finished.returncode}", *said]))
    return json.loads(finished.stdout)


def cases(options: argparse.Namespace, sizes: Sizes, work: Path) -> list[Case]:
    """Every case, once the stages before those that are measured have run and glta has said what each takes.

    Raises:
        NoFiguresError: that cannot be had.
    """
    source, data = work / "source", work / "data"
    # Each user is an example of stage 3.
    MadeUp(2 * sizes.batch * sizes.all_steps, ITEMS, EACH, WORDS).write(source)
    before = BEFORE if "align" in options.rows else (*BEFORE, "align")
    found: list[Case] = []
    for model in options.models:
        for dtype in options.dtypes:
            for lora in sorted({ROWS[row][1] for row in options.rows}):
                recipe = work / f"{model}-{dtype}-{'lora' if lora else 'frozen'}.yaml"
                recipe.write_text(yaml.safe_dump(recipe_of(model, dtype, lora, sizes, source)))
                if not found:
                    child(SCRIPT, "--prepare", str(recipe), str(data), *BEFORE)
                begun = time.monotonic()
                said = child("-m", "glta_cli", "finetune", *chosen(recipe, data), "--dry-run", "--json")
                asking = time.monotonic() - begun
                missing = [each["stage"] for each in said["stages"] if each["state"] == "to run"]
                if needed := [stage for stage in missing if stage in before]:
                    child(SCRIPT, "--prepare", str(recipe), str(data), *needed)
                found.append(Case(model, dtype, lora, recipe, said["memory"]["stages"], asking))
    return found
