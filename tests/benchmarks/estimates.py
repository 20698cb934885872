"""What `--dry-run` says a stage will take at most, beside what a fresh process that runs the stage took.

    python tests/benchmarks/estimates.py [--only CASE ...] [--work FOLDER] [--out FOLDER]

A row is a stage of a case: predicted, measured, and one over the other. Measured is the most memory the process had, as
the kernel counts it; on a GPU the most torch had allocated there, beside what the estimate says of the GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

# The promise: a prediction is that near to what is measured.
NEAR = 0.15
MEBIBYTE = 1 << 20
WORDS = 400


@dataclass(frozen=True)
class MadeUp:
    """A log that is drawn: each user meets `each` items, popular ones more often, and each item has a text.

    Attributes:
        words: of an item's text; 0 for a log without texts.
    """

    users: int
    items: int
    each: int
    words: int

    def write(self, folder: Path) -> None:
        """`interactions.parquet` and, with texts, `items.csv`, as the loader `table` reads them."""
        import polars as pl

        generator = np.random.default_rng(0)
        users = np.repeat(np.arange(self.users), self.each)
        # The square of a uniform number: the first hundredth of the items has a tenth of the interactions.
        items = (self.items * generator.random(len(users)) ** 2).astype(np.int64)
        times = generator.permutation(len(users))
        folder.mkdir(parents=True, exist_ok=True)
        log = pl.DataFrame({"user": users, "item": items, "timestamp": times}).unique(["user", "item"])
        log.sort("timestamp").write_parquet(folder / "interactions.parquet")
        if self.words:
            drawn = generator.integers(0, WORDS, (self.items, self.words))
            texts = [" ".join(f"word{number}" for number in row) for row in drawn]
            pl.DataFrame({"item": np.arange(self.items), "title": texts}).write_csv(folder / "items.csv")


@dataclass(frozen=True)
class Case:
    """Settings to estimate and to run.

    Attributes:
        data: what is drawn; None for a data set that lies in the folder of real ones.
        recipe: as YAML has it; `dataset.source` is filled in for what is drawn.
        stages: to measure, in order, each in a process of its own.
    """

    data: MadeUp | None
    recipe: Mapping[str, Any]
    stages: tuple[str, ...]


SHORT: Mapping[str, Any] = {
    "graph": {"training": {"epochs": 1}},
    "align": {"prompts": 32, "validation_prompts": 16, "training": {"epochs": 1}},
    "interests": {"profile": False, "prediction": False},
    "finetune": {"training": {"epochs": 1}},
    "fusion": {"terms": ["encoder", "llm"]},
}
SMALL = MadeUp(users=96, items=200, each=40, words=40)
LANGUAGE = ("encode-items", "align", "finetune", "index")


def llama(hidden: int, layers: int) -> dict[str, Any]:
    """A Llama of that size with random weights; bytes for a tokenizer, so that nothing is fetched."""
    shape = {"hidden_size": hidden, "intermediate_size": 4 * hidden, "num_hidden_layers": layers}
    heads = {"num_attention_heads": hidden // 64, "num_key_value_heads": hidden // 64, "vocab_size": 258}
    return {
        "name": "huggingface",
        "weights": "random",
        "layers": None,
        "options": {"architecture": {"model_type": "llama", **shape, **heads}, "tokenizer": "bytes"},
    }


CASES: Mapping[str, Case] = {
    "tiny": Case(SMALL, {**SHORT, "backbone": {"name": "tiny"}}, ("pretrain-graph", *LANGUAGE)),
    "smollm2-4": Case(SMALL, {**SHORT, "backbone": {"name": "smollm2", "layers": 4}}, LANGUAGE),
    "smollm2-30": Case(SMALL, {**SHORT, "backbone": {"name": "smollm2", "layers": None}}, LANGUAGE),
    "llama-1024": Case(SMALL, {**SHORT, "backbone": llama(1024, 8)}, LANGUAGE),
    "words": Case(
        MadeUp(users=32, items=200, each=12, words=40),
        {
            **SHORT,
            "backbone": {"name": "smollm2", "layers": 4},
            "interests": {"profile": True, "prediction": True, "new_tokens": 4},
        },
        ("describe-users",),
    ),
    "adapters": Case(
        SMALL, {**SHORT, "backbone": {"name": "smollm2", "layers": 4, "lora": {"rank": 8}}}, ("finetune",)
    ),
    "catalogue": Case(
        MadeUp(users=2_000, items=60_000, each=30, words=8),
        {**SHORT, "backbone": {"name": "tiny"}, "fusion": {"terms": ["encoder", "llm"]}},
        ("pretrain-graph", *LANGUAGE),
    ),
    "scientific": Case(
        None,
        {
            **SHORT,
            "dataset": {"name": "amazon-scientific", "source": "amazon-scientific-2018"},
            "backbone": {"name": "tiny"},
            "fusion": {"terms": ["ease", "encoder"]},
        },
        ("pretrain-graph", "fit-linear", *LANGUAGE),
    ),
    "sports": Case(
        None,
        {
            "dataset": {"name": "amazon-sports", "source": "amazon-sports-2014"},
            "graph": {"training": {"epochs": 1}, "alignment_holdout": 0},
            "finetune": {"enabled": False},
            "fusion": {"terms": ["encoder"]},
        },
        ("pretrain-graph",),
    ),
    "large-graph": Case(
        MadeUp(users=200_000, items=50_000, each=15, words=0),
        {
            "graph": {"training": {"epochs": 1, "batch_size": 65_536}, "softmax_items": 512, "alignment_holdout": 0},
            "finetune": {"enabled": False},
            "fusion": {"terms": ["encoder"]},
        },
        ("pretrain-graph",),
    ),
}


# ------------------------------------------------------------------------------------------- one stage, measured


def measured(recipe: Path, data: Path, stage: str) -> dict[str, Any]:
    """Run a stage in this process, which is to have done nothing else, and say what it took."""
    import resource

    from glta_cli.commands.options import open_pipeline

    pipeline = open_pipeline(str(recipe), "measured", None, data, None, "auto")
    artefact = pipeline.ensure(stage)
    torch = sys.modules.get("torch")
    on_gpu = torch.cuda.max_memory_allocated() if torch is not None and torch.cuda.is_available() else 0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {"stage": stage, "host": most, "device": on_gpu, "seconds": artefact.manifest["seconds"]}


def child(*arguments: str) -> Any:
    """What a command prints as JSON on its last line; what it says beside that is passed on."""
    finished = subprocess.run([sys.executable, *arguments], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(finished.stdout)


@dataclass(frozen=True)
class Compared:
    """A stage of a case, in bytes."""

    case: str
    stage: str
    place: str
    predicted: int
    measured: int
    parts: Mapping[str, int]
    seconds: float
    predicted_seconds: float | None

    @property
    def ratio(self) -> float:
        return self.predicted / max(1, self.measured)


def compared(name: str, case: Case, work: Path, shared: Path) -> Iterator[Compared]:
    """Prepare the data of a case, ask for the estimates, and run each stage by itself."""
    folder = work / name
    source = shared / case.recipe["dataset"]["source"] if case.data is None else folder / "source"
    if case.data is not None and not source.exists():
        case.data.write(source)
    dataset = {"name": "table", **case.recipe.get("dataset", {}), "source": str(source)}
    recipe = folder / "recipe.yaml"
    folder.mkdir(parents=True, exist_ok=True)
    recipe.write_text(yaml.safe_dump({**case.recipe, "dataset": dataset}))
    data = folder / "data"
    child(str(Path(__file__)), "--run-stage", "prepare", str(recipe), str(data))
    for stage in case.stages:
        # Those before it have run: a dry run that measures nothing else of them.
        command = "finetune" if case.recipe.get("finetune", {}).get("enabled", True) else "pretrain-graph"
        asked = ("-m", "glta_cli", command, "--recipe", str(recipe), "--run", "measured", "--data-dir", str(data))
        foretold = child(*asked, "--dry-run", "--json")["memory"]["stages"]
        done = child(str(Path(__file__)), "--run-stage", stage, str(recipe), str(data))
        for place in ("host", "device"):
            said = foretold.get(stage, {}).get("places", {}).get(place)
            if said and done[place]:
                yield Compared(
                    name,
                    stage,
                    place,
                    said["total"],
                    done[place],
                    said["parts"],
                    done["seconds"],
                    foretold[stage]["estimated_seconds"],
                )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(CASES), help="cases; all by default")
    parser.add_argument("--work", type=Path, help="where data and runs are kept; a temporary folder by default")
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks"), help="folder of estimates.json")
    parser.add_argument("--run-stage", nargs=3, metavar=("STAGE", "RECIPE", "DATA"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run_stage:
        stage, recipe, data = options.run_stage
        print(json.dumps(measured(Path(recipe), Path(data), stage) if stage != "prepare" else prepared(recipe, data)))
        return 0
    default = Path(__file__).resolve().parents[3] / "shared" / "data"
    shared = Path(os.environ.get("GLTA_SHARED_DATA", default))
    rows: list[Compared] = []
    print(f"{'case':<12} {'stage':<15} {'place':<6} {'predicted':>9} {'measured':>9} {'ratio':>6}  MiB by part")
    with tempfile.TemporaryDirectory() as temporary:
        for name in options.only or CASES:
            for row in compared(name, CASES[name], options.work or Path(temporary), shared):
                rows.append(row)
                print(shown(row), flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    written = options.out / "estimates.json"
    written.write_text(json.dumps([{**asdict(row), "ratio": row.ratio} for row in rows], indent=1))
    far = [row for row in rows if abs(row.ratio - 1) > NEAR]
    print(f"{len(rows) - len(far)} of {len(rows)} within {NEAR:.0%}; written: {written}")
    return 1 if far else 0


def prepared(recipe: str, data: str) -> dict[str, Any]:
    from glta_cli.commands.options import open_pipeline

    return {"items": open_pipeline(recipe, "measured", None, Path(data), None, "auto").prepared().item_count}


def shown(row: Compared) -> str:
    """One line of the table."""
    parts = ", ".join(f"{name} {round(size / MEBIBYTE):,}" for name, size in row.parts.items())
    sizes = f"{round(row.predicted / MEBIBYTE):>9,} {round(row.measured / MEBIBYTE):>9,}"
    return f"{row.case:<12} {row.stage:<15} {row.place:<6} {sizes} {row.ratio:>6.2f}  {parts}"


if __name__ == "__main__":
    sys.exit(main())
