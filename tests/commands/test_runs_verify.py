"""`glta runs verify`: what was changed since it was written is named, whatever its time of writing says."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from glta_cli.core.errors import InputError
from glta_cli.core.files import digest_records, remembered_sha256
from glta_cli.evaluation.baselines import fitted_baseline, made_baseline
from glta_cli.language.answers import append_answers
from glta_cli.stages.pipeline import Pipeline
from glta_cli.stages.verification import verify_workspace
from glta_cli.workspace.workspace import Workspace


@pytest.fixture
def finished(
    run_toy: Callable[..., Pipeline], workspace_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Workspace:
    """A workspace of its own with the toy run, its files as old as they were."""
    monkeypatch.setenv("GLTA_CACHE_DIR", str(tmp_path / "cache"))
    pipeline = run_toy()
    for folder in ("stages", "encodings", "datasets"):
        shutil.copytree(pipeline.workspace.root / folder, workspace_root / folder)
    workspace = Workspace(workspace_root)
    run = pipeline.workspace.run("toy")
    assert run is not None
    workspace.save_run(run)
    append_answers(workspace.folder("generations") / "model.jsonl", {"key": "words, more words"})
    return workspace


def flip(path: Path, place: int = -1) -> None:
    """One bit of a file, under its old time of writing, as a failing disk does it."""
    status = path.stat()
    content = bytearray(path.read_bytes())
    content[place] ^= 2
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_what_was_not_changed_passes(finished: Workspace, glta: Any) -> None:
    report = glta("runs", "verify", "--json")
    assert (report.code, report.json["changed"]) == (0, [])
    assert report.json["files"] > 15
    assert report.json["bytes"] > 50_000
    words = glta("runs", "verify", "--all")
    assert (words.code, words.out) == (0, "")
    assert "are what was written" in words.err


def test_each_file_of_a_run_is_named_when_a_bit_of_it_is_flipped(finished: Workspace) -> None:
    run = finished.run("toy")
    assert run is not None
    paths = [finished.root / "runs" / "toy.json", finished.root / "runs" / "latest"]
    for stage, name in run.stages.items():
        paths += sorted((finished.root / "stages" / stage / name).iterdir())
    paths += [*(finished.root / "encodings").glob("*"), finished.root / "generations" / "model.jsonl"]
    paths += (finished.root / "datasets").glob("*")
    assert len(paths) > 17
    for path in paths:
        whole = path.read_bytes()
        flip(path, len(whole) // 2)
        assert [problem.path for problem in verify_workspace(finished, "toy").problems] == [path], path
        flip(path, len(whole) // 2)
        assert path.read_bytes() == whole
    assert verify_workspace(finished, "toy").problems == []


def test_of_an_index_the_tensor_or_the_header_is_named(finished: Workspace, glta: Any) -> None:
    run = finished.run("toy")
    assert run is not None
    path = finished.root / "stages" / "index" / run.stages["index"] / "vectors.safetensors"
    flip(path)
    report = glta("runs", "verify", "toy", "--json")
    assert report.code == 1
    [changed] = report.json["changed"]
    assert changed["file"] == str(path)
    header = json.loads(path.read_bytes()[8 : 8 + int.from_bytes(path.read_bytes()[:8], "little")])
    last = max(header, key=lambda name: header[name]["data_offsets"][1])
    assert changed["problem"].endswith(f"the disk may fail: {last} differ")
    assert changed["hint"] == f"remove the folder {path.parent}; the stage runs again"
    flip(path)
    flip(path, 12)
    words = glta("runs", "verify")
    assert words.code == 1
    assert "its header differs" in words.out
    assert "internal error" not in words.err


def test_what_is_missing_and_what_is_too_much_are_named(finished: Workspace) -> None:
    run = finished.run("toy")
    assert run is not None
    align, finetune, index = (
        finished.root / "stages" / name / run.stages[name] for name in ("align", "finetune", "index")
    )
    (align / "model.safetensors").unlink()
    (finetune / "notes.txt").write_text("mine")
    shutil.rmtree(index)
    problems = {problem.path: problem.what for problem in verify_workspace(finished, None).problems}
    assert problems == {
        align / "model.safetensors": "cannot be read: No such file or directory",
        finetune / "notes.txt": "was not published with the rest",
        index: "is not there",
    }


def test_weights_that_rotted_under_their_old_time_are_named(finished: Workspace, tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    weights.write_bytes(b"weights")
    remembered_sha256(weights)
    assert verify_workspace(finished, "toy").problems == []
    flip(weights)
    [problem] = verify_workspace(finished, "toy").problems
    assert problem.path == weights
    assert str(next(digest_records().iterdir())) in problem.hint


def test_what_was_published_before_there_were_checksums_is_verified_by_its_hashes(finished: Workspace) -> None:
    run = finished.run("toy")
    assert run is not None
    folder = finished.root / "stages" / "index" / run.stages["index"]
    manifest = json.loads((folder / "manifest.json").read_text())
    for key in ("checksum", "crc32", "headers", "blocks", "work", "processor_seconds"):
        del manifest[key]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert verify_workspace(finished, "toy").problems == []
    flip(folder / "vectors.safetensors", 12)
    [problem] = verify_workspace(finished, "toy").problems
    assert problem.path == folder / "vectors.safetensors"


def test_a_run_that_is_not_there_names_those_there_are(finished: Workspace, glta: Any) -> None:
    with pytest.raises(InputError, match="did you mean 'toy'"):
        verify_workspace(finished, "toi")
    assert glta("runs", "verify", "toy", "--all").code == 2
    assert glta("runs", "--json", "verify").code == 2


def test_a_damaged_run_is_said_and_hides_no_other(finished: Workspace, glta: Any) -> None:
    run = finished.run("toy")
    assert run is not None
    flip(finished.root / "runs" / "toy.json", 40)
    (finished.root / "runs" / "other.json").write_text(
        json.dumps({"name": "other", "recipe": run.recipe, "stages": {}})
    )
    listed = glta("runs", "--json")
    assert [each["run"] for each in listed.json] == ["other"]
    assert f"{finished.root / 'runs' / 'toy.json'}: is damaged" in listed.err.replace("\n", "")


# ------------------------------------------------------------------------------------------ what only reads


def tree(root: Path) -> dict[str, int]:
    """Every file and folder with its time of writing."""
    return {str(path.relative_to(root)): path.stat().st_mtime_ns for path in sorted(root.rglob("*"))}


def test_a_finished_run_is_read_without_a_lock_and_without_a_write(
    finished: Workspace, glta: Any, tiny_recipe_file: Path
) -> None:
    recipe = ("--recipe", str(tiny_recipe_file))
    # What an evaluation learns of its baselines is kept for the next one, and what is served for the next answer.
    assert glta("evaluate", *recipe).code == 0
    assert glta("recommend", "--user", "u5", *recipe).code == 0
    before = tree(finished.root)
    for command in (
        ("recommend", "--user", "u5"),
        ("recommend", "--user", "u5", *recipe),
        ("evaluate", *recipe),
        ("prepare", *recipe),
        ("runs", "verify"),
    ):
        report = glta(*command)
        assert report.code == 0, report.err
        assert tree(finished.root) == before, command


def test_a_baseline_nobody_could_publish_is_fitted_for_the_evaluation_alone(
    finished: Workspace, glta: Any, tiny_recipe_file: Path
) -> None:
    command = ("evaluate", "--recipe", str(tiny_recipe_file), "--baselines", "item-knn", "--json")
    (finished.root / "locks").write_text("no folder: nothing can be locked")
    refused = glta(*command)
    assert refused.code == 2
    assert str(finished.root / "locks") in refused.err
    (finished.root / "locks").unlink()
    folder = finished.root / "stages" / "baseline"
    before = set(folder.glob("*"))
    whole = glta(*command).json
    [learnt] = set(folder.glob("*")) - before
    shutil.rmtree(learnt)
    with finished.locked(f"baseline-{learnt.name}"):
        beside = glta(*command)
    assert beside.code == 0
    assert "is fitted for this evaluation alone" in beside.err
    assert not learnt.exists()
    assert beside.json["models"] == whole["models"]


def test_whatever_is_published_has_the_mode_the_user_asks_for(
    tiny_recipe: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for umask in (0o022, 0o077):
        monkeypatch.setenv("GLTA_CACHE_DIR", str(tmp_path / f"cache-{umask:o}"))
        before = os.umask(umask)
        try:
            pipeline = Pipeline("toy", tiny_recipe(), Workspace(tmp_path / f"{umask:o}"), device="cpu")
            pipeline.ensure("index")
            fitted_baseline(made_baseline("popularity", {}), pipeline)
        finally:
            os.umask(before)
        paths = list(pipeline.workspace.root.rglob("*"))
        assert {path.stat().st_mode & 0o777 for path in paths if path.is_file()} == {0o666 & ~umask}
        assert {path.stat().st_mode & 0o777 for path in paths if path.is_dir()} == {0o777 & ~umask}


AS_ANOTHER = """
import io, os, sys
from contextlib import redirect_stdout
from glta_cli.main import app
words = ["recommend", "--user", "u5", "--json"]
mine = io.StringIO()
with redirect_stdout(mine):
    app(words, standalone_mode=False)
# All is imported by now: another account may not read this one's Python.
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
theirs = io.StringIO()
with redirect_stdout(theirs):
    app(words, standalone_mode=False)
assert mine.getvalue() == theirs.getvalue()
print(theirs.getvalue())
"""


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can become another account")
def test_another_account_is_served(finished: Workspace) -> None:
    # pytest's own folders are private.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        shutil.copytree(finished.root, Path(folder) / "data")
        asked = subprocess.run(
            [sys.executable, "-c", AS_ANOTHER],
            env={**os.environ, "GLTA_DATA_DIR": f"{folder}/data"},
            capture_output=True,
            text=True,
        )
    assert asked.returncode == 0, asked.stderr
    assert len(json.loads(asked.stdout)["recommendations"]) == 10
