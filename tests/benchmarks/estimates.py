"""What `--dry-run` says a stage will take at most, and how long, beside what a fresh process that runs the stage took.

    python tests/benchmarks/estimates.py [--only CASE ...] [--work FOLDER] [--out FOLDER]

A row is a stage of a case: predicted, measured, and one over the other. Measured is the most memory the process had, as
the kernel counts it; on a GPU the most torch had allocated there, beside what the estimate says of the GPU. Behind it
stand the seconds of the processor, which other work on the machine does not change; on a GPU those of the clock. Of a
case of several processes they are those of the first one. No formula was fitted to the cases named `unseen-...`.
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
RUN = "measured"
# Stages that a case of several processes needs, each run by one.
BEFORE = ("encode-items", "pretrain-graph")


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
        stages: to measure, in order, each in a process of its own, or in as many as share it.
        processes: that share a stage.
    """

    data: MadeUp | None
    recipe: Mapping[str, Any]
    stages: tuple[str, ...]
    processes: int = 1


SHORT: Mapping[str, Any] = {
    "graph": {"training": {"epochs": 1}},
    "align": {"prompts": 32, "validation_prompts": 16, "training": {"epochs": 1}},
    "interests": {"profile": False, "prediction": False},
    "finetune": {"training": {"epochs": 1}},
    "fusion": {"terms": ["encoder", "llm"]},
}
SMALL = MadeUp(users=96, items=200, each=40, words=40)
LANGUAGE = ("encode-items", "align", "finetune", "index")


def llama(hidden: int, layers: int, *, grouped: int = 1, dtype: str = "auto") -> dict[str, Any]:
    """A Llama of that size with random weights; bytes for a tokenizer, so that nothing is fetched.

    Args:
        grouped: heads of queries that share keys and values.
    """
    shape = {"hidden_size": hidden, "intermediate_size": 4 * hidden, "num_hidden_layers": layers}
    heads = {"num_attention_heads": hidden // 64, "num_key_value_heads": hidden // 64 // grouped, "vocab_size": 258}
    return {
        "name": "huggingface",
        "weights": "random",
        "layers": None,
        "dtype": dtype,
        "options": {"architecture": {"model_type": "llama", **shape, **heads}, "tokenizer": "bytes"},
    }


CASES: Mapping[str, Case] = {
    "tiny": Case(SMALL, {**SHORT, "backbone": {"name": "tiny"}}, ("pretrain-graph", *LANGUAGE)),
    "smollm2-4": Case(SMALL, {**SHORT, "backbone": {"name": "smollm2", "layers": 4}}, LANGUAGE),
    "smollm2-30": Case(SMALL, {**SHORT, "backbone": {"name": "smollm2", "layers": None}}, LANGUAGE),
    "smollm2-bfloat16": Case(
        MadeUp(users=24, items=60, each=20, words=40),
        {
            "graph": SHORT["graph"],
            "interests": SHORT["interests"],
            "fusion": SHORT["fusion"],
            "text": {"backbone": "tiny"},
            "backbone": {"name": "smollm2", "layers": None, "dtype": "bfloat16"},
            "align": {"prompts": 8, "validation_prompts": 4, "training": {"epochs": 1, "batch_size": 4}},
            "finetune": {"training": {"epochs": 1, "batch_size": 4}},
            "evaluate": {"batch_size": 4},
        },
        ("align", "finetune", "index"),
    ),
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
    "unseen-width": Case(
        MadeUp(users=96, items=300, each=25, words=40),
        {
            **SHORT,
            "backbone": llama(768, 6, grouped=4),
            "text": {"batch_size": 12, "tokens": 96},
            "align": {
                **SHORT["align"],
                "description_tokens": 48,
                "most_items": 6,
                "least_items": 4,
                "training": {"epochs": 1, "batch_size": 8},
            },
            "finetune": {"context_items": 10, "training": {"epochs": 1, "batch_size": 48}},
        },
        LANGUAGE,
    ),
    "unseen-bfloat16": Case(
        MadeUp(users=64, items=200, each=30, words=40),
        {
            **SHORT,
            "backbone": llama(512, 8, dtype="bfloat16"),
            "finetune": {"training": {"epochs": 1, "batch_size": 8}},
        },
        ("align", "finetune"),
    ),
    "unseen-encoder": Case(
        MadeUp(users=20_000, items=8_000, each=20, words=0),
        {
            "graph": {"encoder": "sasrec", "training": {"epochs": 1, "batch_size": 256}, "alignment_holdout": 0},
            "finetune": {"enabled": False},
            "fusion": {"terms": ["encoder"]},
        },
        ("pretrain-graph",),
    ),
    "two-processes": Case(SMALL, {**SHORT, "backbone": llama(512, 8)}, ("align", "finetune"), processes=2),
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
    from glta_cli.commands.options import open_pipeline

    artefact = open_pipeline(str(recipe), RUN, None, data, None, "auto").ensure(stage)
    torch = sys.modules.get("torch")
    on_gpu = torch.cuda.max_memory_allocated() if torch is not None and torch.cuda.is_available() else 0
    return took(artefact.manifest, on_gpu)


def took(manifest: Mapping[str, Any], on_gpu: int = 0) -> dict[str, Any]:
    """Of the whole process, from when the stage began: what a model is checked for once a machine is no part of it."""
    seconds = manifest["seconds" if on_gpu else "processor_seconds"]
    return {"host": manifest["peak_memory"], "device": on_gpu, "seconds": seconds}


def measured_by(processes: int, recipe: Path, data: Path, stage: str) -> dict[str, Any]:
    """Have so many processes of a command run a stage, and say what the first one took, as its manifest does."""
    report = child("-m", "glta_cli", stage, *chosen(recipe, data), "--processes", str(processes), "--json")
    return took(json.loads((Path(report["folder"]) / "manifest.json").read_text()))


def chosen(recipe: Path, data: Path) -> tuple[str, ...]:
    return ("--recipe", str(recipe), "--run", RUN, "--data-dir", str(data))


def child(*arguments: str) -> Any:
    """What a command prints as JSON on its last line; what it says beside that is passed on."""
    finished = subprocess.run([sys.executable, *arguments], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(finished.stdout)


@dataclass(frozen=True)
class Compared:
    """A stage of a case, in bytes and seconds."""

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
    """Prepare the data of a case, ask for its estimates, and run each stage by itself."""
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
    # Nothing has run yet: what is told of a stage does not depend on those before it.
    command = "finetune" if case.recipe.get("finetune", {}).get("enabled", True) else "pretrain-graph"
    asked = ("-m", "glta_cli", command, *chosen(recipe, data), "--processes", str(case.processes))
    foretold = child(*asked, "--dry-run", "--json")["memory"]["stages"]
    for stage in case.stages:
        if case.processes > 1:
            for before in BEFORE:
                child(str(Path(__file__)), "--run-stage", before, str(recipe), str(data))
            done = measured_by(case.processes, recipe, data, stage)
        else:
            done = child(str(Path(__file__)), "--run-stage", stage, str(recipe), str(data))
        said = foretold[stage]
        for place, found in said["places"].items():
            if done[place]:
                seconds = said["estimated_processor_seconds"] or said["estimated_seconds"]
                yield Compared(
                    name, stage, place, found["total"], done[place], found["parts"], done["seconds"], seconds
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
    sizes, times = f"{'predicted':>9} {'measured':>9} {'ratio':>6}", f"{'seconds':>17}"
    print(f"{'case':<15} {'stage':<15} {'place':<6} {sizes} {times}  MiB by part")
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

    return {"items": open_pipeline(recipe, RUN, None, Path(data), None, "auto").prepared().item_count}


def shown(row: Compared) -> str:
    """One line of the table."""
    parts = ", ".join(f"{name} {round(size / MEBIBYTE):,}" for name, size in row.parts.items())
    sizes = f"{round(row.predicted / MEBIBYTE):>9,} {round(row.measured / MEBIBYTE):>9,}"
    foretold = "unknown" if row.predicted_seconds is None else f"{row.predicted_seconds:.0f}"
    seconds = f"{foretold:>8} {row.seconds:>8.0f}"
    return f"{row.case:<15} {row.stage:<15} {row.place:<6} {sizes} {row.ratio:>6.2f} {seconds}  {parts}"


if __name__ == "__main__":
    sys.exit(main())
