"""Storms over a tiny run: killed, on a failing disk, on a full one, and with flipped bits. Minutes: `make storm`.

Each prints counts: `silent` is another result without a word, `internal` an error that is nobody's but the product's.
"""

from __future__ import annotations

import errno
import json
import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.slow

KINDS = ("write", "fsync", "rename", "mkdir")

HERE = Path(__file__).resolve().parent
# Temporary names of glta, and of safetensors beneath it.
TEMPORARY = re.compile(r"^\..+-[0-9a-f.]{8,}$|^\.tmp")
INTERNAL = re.compile(r"internal error|Traceback|error in plugin|of glta \d.*: \w+Error")


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str
    counts: dict[str, int]

    @property
    def killed(self) -> bool:
        return self.code < 0

    @property
    def internal(self) -> bool:
        """Whether it ended in an error that is nobody's but the product's."""
        return INTERNAL.search(self.err) is not None or self.code == 99


class Commands:
    """Commands of glta, each in a fork of one process that has imported all of it."""

    def __init__(self, folder: Path, *, faults: Path | None = None, tmpfs: str | None = None) -> None:
        self.folder = folder
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLTA_CACHE_DIR": str(folder / "cache")}
        environment |= {"LD_PRELOAD": str(faults)} if faults is not None else {}
        words = [sys.executable, str(HERE / "commands.py")]
        if tmpfs is not None:
            mount = f"mkdir -p {folder}/data && mount -t tmpfs -o size={tmpfs} tmpfs {folder}/data"
            words = ["unshare", "-m", "sh", "-c", f'{mount} && exec "$@"', "sh", *words]
        self.process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
            cwd=folder,
        )

    def run(self, *words: str, data: Path | None = None, **how: Any) -> Ended:
        """`glta WORDS --data-dir DATA`; `how` as `commands.py` has it."""
        return self.ask({"words": [*words, "--data-dir", str(data or self.folder / "data")], **how})

    def ask(self, request: dict[str, Any]) -> Ended:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps(request), file=self.process.stdin, flush=True)
        answered = json.loads(self.process.stdout.readline())
        return Ended(answered["code"], answered["out"], answered["err"], answered.get("counts", {}))

    def close(self) -> None:
        self.process.communicate()


@pytest.fixture
def commands(tmp_path: Path) -> Iterator[Callable[..., Commands]]:
    """Start a process for commands, which ends with the test."""
    started: list[Commands] = []

    def start(**how: Any) -> Commands:
        folder = tmp_path / f"commands-{len(started)}"
        folder.mkdir()
        started.append(Commands(folder, **how))
        return started[-1]

    yield start
    for each in started:
        each.close()


@pytest.fixture(scope="session")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that makes calls fail, built from faults.c."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("faults are injected by a library that a C compiler builds, on Linux")
    library = tmp_path_factory.mktemp("faults") / "faults.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, HERE / "faults.c", "-ldl"], check=True)
    return library


@pytest.fixture(scope="session")
def stormy_recipe(tiny_settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy recipe with fewer steps, a state saved after each of them, and generated interests left out."""
    settings = json.loads(json.dumps(tiny_settings))
    settings["graph"]["training"] |= {"epochs": 1, "checkpoint_seconds": 0}
    settings["align"]["training"] |= {"epochs": 1, "checkpoint_seconds": 0}
    settings["finetune"]["training"] |= {"epochs": 1, "checkpoint_seconds": 0}
    path = tmp_path_factory.mktemp("recipes") / "storm.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def answer_words(recipe: Path) -> list[str]:
    """The command that runs all of a recipe and shows what it recommends."""
    return ["recommend", "--user", "u5", "--recipe", str(recipe), "--json"]


def leftovers(root: Path) -> list[Path]:
    """Whatever lies below a data folder under a temporary name."""
    return [path for path in root.rglob("*") if TEMPORARY.match(path.name)]


def outputs_of(root: Path) -> dict[str, Any]:
    """What each stage published, by the hashes of its manifest."""
    manifests = sorted((root / "stages").glob("*/*/manifest.json"))
    return {path.parent.parent.name: json.loads(path.read_text())["outputs"] for path in manifests}


def told(what: str, counts: Counter[str], examples: Sequence[str] = ()) -> str:
    """One line of what came of a storm, with the first errors that were not to be."""
    line = f"{what}: " + ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
    print("\n".join([line, *examples[:5]]))
    return line


def whole_run(commands: Commands, recipe: Path, name: str = "reference") -> tuple[Ended, Path]:
    """The recipe, run without a storm."""
    root = commands.folder / name
    ended = commands.run(*answer_words(recipe), data=root, fault=[str(root), None, 0, 0])
    assert ended.code == 0, ended.err
    return ended, root


def spread(count: int, most: int) -> list[int]:
    """At most so many numbers from 1 to `count`, evenly."""
    return sorted({1 + place * (count - 1) // max(1, most - 1) for place in range(most)}) if count else []


def test_kills(commands: Callable[..., Commands], faults: Path, stormy_recipe: Path) -> None:
    """SIGKILL at chosen calls and at random times: the same command goes on, and ends as if nothing had been."""
    started = commands(faults=faults)
    begun = time.monotonic()
    reference, root = whole_run(started, stormy_recipe)
    seconds, expected = time.monotonic() - begun, outputs_of(root)
    draw, data = random.Random(0), started.folder / "data"
    at_calls = [[{"fault": [str(data), kind, at, 0]}] for kind in KINDS for at in spread(reference.counts[kind], 10)]
    # Several of one run, until it ends in spite of them.
    at_random = [[{"kill_after": draw.uniform(0.02, 0.5) * seconds} for _ in range(3)] for _ in range(7)]
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    for strikes in [*at_calls, *at_random]:
        shutil.rmtree(data, ignore_errors=True)
        for how in strikes:
            ended = started.run(*answer_words(stormy_recipe), data=data, **how)
            counts["killed" if ended.killed else "ended before"] += 1
            counts["left behind by a kill"] += len(leftovers(data))
        ended = started.run(*answer_words(stormy_recipe), data=data)
        counts["could not go on"] += ended.code != 0
        counts["internal"] += ended.internal
        same = ended.out == reference.out and outputs_of(data) == expected
        counts["silent"] += ended.code == 0 and not same
        counts["left behind after the next start"] += len(leftovers(data))
        wrong += [ended.err] if ended.code or not same else []
    told("kills", counts, wrong)
    assert counts["killed"] > 30
    assert counts["left behind by a kill"] > 0
    for none in ("could not go on", "internal", "silent", "left behind after the next start"):
        assert counts[none] == 0, none


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC], ids=["EIO", "ENOSPC"])
def test_calls_that_fail(commands: Callable[..., Commands], faults: Path, stormy_recipe: Path, number: int) -> None:
    """Each call that may fail is refused once: the error names the folder, and the same command goes on."""
    started = commands(faults=faults)
    reference, root = whole_run(started, stormy_recipe)
    expected = outputs_of(root)
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    data = started.folder / "data"
    for kind in KINDS:
        for at in spread(reference.counts[kind], 8):
            shutil.rmtree(data, ignore_errors=True)
            ended = started.run(*answer_words(stormy_recipe), data=data, fault=[str(data), kind, at, number])
            harmless = ended.code == 0 and ended.out == reference.out
            named = ended.code != 0 and str(data) in ended.err and not ended.internal
            counts["harmless" if harmless else "named" if named else "internal"] += 1
            wrong += [] if harmless or named else [f"{kind} {at}: {ended.err[-600:]}"]
            counts["left behind"] += len(leftovers(data))
            again = started.run(*answer_words(stormy_recipe), data=data)
            if again.out != reference.out or outputs_of(data) != expected:
                counts["silent"] += 1
                wrong.append(f"after {kind} {at}: {again.err[-600:]}")
    told(f"{errno.errorcode[number]} at {sum(counts.values())} calls", counts, wrong)
    assert counts["named"] > 10
    for none in ("internal", "silent", "left behind"):
        assert counts[none] == 0, wrong[:3]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can mount a file system")
def test_ten_sizes_of_a_disk(commands: Callable[..., Commands], stormy_recipe: Path) -> None:
    """Full at some moment: the error has figures, and with room the same command goes on."""
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    right = None
    for size in ("8000k", "8k", "24k", "48k", "72k", "96k", "128k", "176k", "256k", "400k"):
        started = commands(tmpfs=size)
        ended = started.run(*answer_words(stormy_recipe))
        right = right or ended.out
        if ended.code == 0:
            counts["enough"] += 1
            continue
        named = str(started.folder / "data") in ended.err and "no space left" in ended.err.lower()
        counts["named" if named and not ended.internal else "internal"] += 1
        wrong += [] if named and not ended.internal else [f"{size}: {ended.err[-600:]}"]
        assert started.ask({"shell": f"mount -o remount,size=8000k {started.folder}/data"}).code == 0
        again = started.run(*answer_words(stormy_recipe))
        counts["silent"] += again.out != right
        left = started.ask({"shell": f"find {started.folder}/data -name '.*-*'"})
        counts["left behind"] += len(left.out.split())
    told("disks of ten sizes", counts, wrong)
    assert counts["named"] >= 5
    for none in ("internal", "silent", "left behind"):
        assert counts[none] == 0, wrong[:3]


READ_BY = {
    "encodings": ["encode-items", "serving-index"],
    "prepare": ["pretrain-graph", "index", "serving-index"],
    "encode-items": ["align", "serving-index"],
    "pretrain-graph": ["finetune", "serving-index"],
    "align": ["finetune", "serving-index"],
    "finetune": ["index", "serving-index"],
}


@pytest.mark.parametrize("kept", [False, True], ids=["with a new time of writing", "under the old time of writing"])
def test_flipped_bits(commands: Callable[..., Commands], stormy_recipe: Path, kept: bool) -> None:
    """A bit of whatever lies in the data folder: noticed, or without effect, and found by `glta runs verify`."""
    started = commands()
    reference = started.run(*answer_words(stormy_recipe))
    assert reference.code == 0, reference.err
    data, spare = started.folder / "data", started.folder / "spare"
    shutil.copytree(data, spare)
    expected = outputs_of(data)
    files = [path for path in sorted(data.rglob("*")) if path.is_file() and path.stat().st_size]
    draw = random.Random(1)
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    for _ in range(200):
        path = draw.choice(files)
        place, bit = draw.randrange(path.stat().st_size), draw.randrange(8)
        status, content = path.stat(), bytearray(path.read_bytes())
        content[place] ^= 1 << bit
        path.write_bytes(content)
        if kept:
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        verified = started.run("runs", "verify", "--all", "--json")
        counts["found by verify" if verified.code == 1 and str(path) in verified.out else "not found by verify"] += 1
        # Who reads it has to read it again.
        for part in path.parts:
            for stage in READ_BY.get(part, ()):
                shutil.rmtree(data / "stages" / stage)
        ended = started.run(*answer_words(stormy_recipe))
        where = f"{path.relative_to(data)}, byte {place}, bit {bit}: {ended.err[-400:]}"
        if ended.internal or verified.internal:
            counts["internal"] += 1
            wrong.append(where)
        elif ended.code != 0:
            counts["named"] += 1
        elif ended.out == reference.out and outputs_of(data) == expected:
            counts["said and made anew" if "warning" in ended.err else "without effect"] += 1
        else:
            counts["silent"] += 1
            wrong.append(where)
        shutil.rmtree(data)
        shutil.copytree(spare, data)
    told("flipped bits", counts, wrong)
    for none in ("internal", "silent", "not found by verify"):
        assert counts[none] == 0, wrong[:3]
