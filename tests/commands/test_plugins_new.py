"""`glta plugins new`: what it writes is a plugin that passes its test and works in a run, before anyone changes it."""

from __future__ import annotations

import csv
import importlib
import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from glta_cli import __version__
from glta_cli.commands.plugins_new import TEMPLATES, new_package, write_package
from glta_cli.plugin import KINDS, BackboneSettings, BaselineData, InputError, Kind
from glta_cli.plugin.interaction_graph import InteractionGraph

KIND_OF_NAME = {
    "mine": "encoder",
    "small-qwen": "backbone",
    "library_loans": "dataset",
    "Neighbours": "baseline",
    "diary": "logger",
}
CODE_OF_KIND = {
    "encoder": {"encoder.py"},
    "backbone": {"backbone.py"},
    "dataset": {"dataset.py"},
    "baseline": {"baseline.py"},
    "logger": {"logger.py"},
}

Run = Callable[..., subprocess.CompletedProcess[str]]


def process(*command: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "COLUMNS": "80", **environment},
    )


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A new package of every kind, by name."""
    place = tmp_path_factory.mktemp("new")
    for name, kind in KIND_OF_NAME.items():
        finished = process("-m", "glta_cli", "plugins", "new", kind, name, folder=place)
        assert finished.returncode == 0, finished.stderr
        listed = finished.stdout.splitlines()
        assert sorted(listed) == sorted(
            path.relative_to(place).as_posix() for path in (place / f"glta-{name}").rglob("*") if path.is_file()
        )
    return {name: place / f"glta-{name}" for name in KIND_OF_NAME}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("workspace")


@pytest.fixture(scope="module")
def glta(written: dict[str, Path], workspace: Path) -> Run:
    """Run `glta ...`, or another module, where the new packages are installed."""
    for folder in written.values():
        project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
        [(entry, module)] = project["entry-points"]["glta"].items()
        info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
        )
        (info / "entry_points.txt").write_text(f"[glta]\n{entry} = {module}\n")
    site = os.pathsep.join(map(str, written.values()))

    def run(*arguments: str, module: str = "glta_cli", folder: Path = workspace) -> subprocess.CompletedProcess[str]:
        return process("-m", module, *arguments, folder=folder, PYTHONPATH=site, GLTA_DATA_DIR=str(workspace))

    return run


# ------------------------------------------------------------------------------------------------ what is written


def test_there_are_templates_for_every_kind() -> None:
    assert {path.name for path in TEMPLATES.iterdir()} == {*KINDS, "any"}
    assert set(KIND_OF_NAME.values()) == set(KINDS)


@pytest.mark.parametrize("name", KIND_OF_NAME)
def test_a_package_is_complete(written: dict[str, Path], name: str) -> None:
    folder = written[name]
    package = "glta_" + name.replace("-", "_").lower()
    assert {path.name for path in folder.iterdir() if not path.name.endswith(".dist-info")} == {
        ".gitignore", "README.md", "pyproject.toml", package, "tests",
    }  # fmt: skip
    assert {path.name for path in (folder / package).glob("*.py")} == {
        "__init__.py", "settings.py", *CODE_OF_KIND[KIND_OF_NAME[name]],
    }  # fmt: skip
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["name"] == f"glta-{name}"
    assert project["entry-points"]["glta"] == {name: package}
    assert project["dependencies"] == [f"glta>={__version__}"]
    assert "GLTA_API_VERSION = 1\n" in (folder / package / "__init__.py").read_text()
    assert (folder / "tests" / f"test_{package.removeprefix('glta_')}.py").is_file()
    for path in folder.rglob("*"):
        if path.is_file():
            assert not re.search(r"\$[\w{]", path.read_text()), path
        assert not re.search("PACKAGE|NAME", str(path.relative_to(folder)))


def test_the_code_is_clean(written: dict[str, Path], repository: Path) -> None:
    configuration = str(repository / "pyproject.toml")
    for folder in written.values():
        for command in (["check"], ["format", "--check", "--diff"]):
            finished = process("-m", "ruff", *command, "--no-cache", "--config", configuration, ".", folder=folder)
            assert finished.returncode == 0, finished.stdout + finished.stderr


def test_what_the_readme_says_about_a_recipe_is_a_recipe(written: dict[str, Path], glta: Run, tmp_path: Path) -> None:
    recipes = []
    for name, folder in written.items():
        [recipe] = re.findall(r"```yaml\n(.*?)```", (folder / "README.md").read_text(), flags=re.DOTALL)
        recipes.append(str(tmp_path / f"{name}.yaml"))
        Path(recipes[-1]).write_text(recipe)
    finished = glta("recipes", "validate", *recipes)
    assert finished.returncode == 0, finished.stderr


# ------------------------------------------------------------------------------------------------- what it can do


def test_the_new_plugins_are_listed_and_shown(glta: Run) -> None:
    rows = json.loads(glta("plugins", "--json").stdout)
    # Others may be installed where the tests run.
    new = {row["name"]: row for row in rows if row["distribution"] in {f"glta-{name}" for name in KIND_OF_NAME}}
    assert {name: row["kind"] for name, row in new.items()} == KIND_OF_NAME
    assert {(row["distribution"], row["version"], row["status"]) for row in new.values()} == {
        (f"glta-{name}", "0.1.0", "ok") for name in KIND_OF_NAME
    }
    shown = glta("plugins", "show", "backbone", "small-qwen").stdout
    assert re.search(r"hidden_size +integer >= 8 and a( multiple)? +32 ", shown)


@pytest.mark.parametrize("name", KIND_OF_NAME)
def test_a_new_package_passes_its_own_test(written: dict[str, Path], glta: Run, name: str) -> None:
    finished = glta("-q", "-p", "no:cacheprovider", module="pytest", folder=written[name])
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "1 passed" in finished.stdout


@pytest.fixture(scope="module")
def recipe(toy_table: Path, tiny_settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy recipe on the new components alone, and its data in the form of the new dataset."""
    folder = tmp_path_factory.mktemp("library")
    titles = dict(list(csv.reader((toy_table / "items.csv").open()))[1:])
    with (folder / "loans.txt").open("w") as file:
        file.write("reader;book;title;day\n")
        for user, item, time in list(csv.reader((toy_table / "interactions.csv").open()))[1:]:
            file.write(f"{user};{item};{titles[item]};{date(2024, 1, 1) + timedelta(int(time) - 1_600_000_000)}\n")
        file.write("u1;i1;Space film 1;yesterday\n")
    values = tiny_settings | {
        "dataset": {"name": "library_loans", "source": str(folder)},
        "graph": tiny_settings["graph"] | {"encoder": "mine", "options": {"dimension": 16, "layers": 2}},
        "backbone": {"name": "small-qwen", "options": {"hidden_size": 16, "depth": 1}},
        "evaluate": {"bootstrap": 20, "baselines": {"popularity": {}, "Neighbours": {"shrink": 1.0}}},
        "loggers": ["diary"],
    }
    path = folder / "library.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def test_all_of_them_work_in_one_run(glta: Run, recipe: Path, workspace: Path) -> None:
    finished = glta("evaluate", "--recipe", str(recipe), "--json", "--device", "cpu")
    assert finished.returncode == 0, finished.stderr

    models = json.loads(finished.stdout)["models"]
    assert set(models) == {"popularity", "Neighbours", "mine", "glta-llm", "glta"}
    # There are two tastes: what learns them beats what is popular with both.
    assert models["Neighbours"]["ndcg@10"] > models["popularity"]["ndcg@10"]
    assert models["mine"]["ndcg@10"] > models["popularity"]["ndcg@10"]

    [diary] = (workspace / "logs").rglob("diary.txt")
    lines = diary.read_text().splitlines()
    assert [line.split()[2] for line in lines] == [
        "prepare", "encode-items", "pretrain-graph", "align", "finetune", "index", "evaluate",
    ]  # fmt: skip
    assert f"models.mine.ndcg@10 {models['mine']['ndcg@10']:.4f}" in lines[-1]


def test_the_new_dataset_counts_what_it_cannot_read_and_says_what_is_missing(glta: Run, recipe: Path) -> None:
    folder = recipe.parent
    summary = json.loads(glta("prepare", "library_loans", "--source", str(folder), "--json").stdout)
    assert (summary["users"], summary["items"]) == (60, 40)
    assert summary["dropped"]["day unreadable"] == 1

    loans = folder / "loans.txt"
    (folder / "other.txt").write_text(loans.read_text().replace("reader;book", "who;book", 1))
    for arguments, message in [
        ([], "dataset library_loans: has no download\n  hint: name your file: glta prepare library_loans --source"),
        (["--source", str(folder / "none.txt")], f"{folder / 'none.txt'}: "),
        (["--source", str(folder), "-o", "file=none.txt"], f"{folder / 'none.txt'}: no such file\n  hint: -o file="),
        (
            ["--source", str(folder / "other.txt")],
            f"{folder / 'other.txt'}:1: has no column reader\n  hint: the header",
        ),
        (["--source", str(loans), "-o", "separator=','"], f"{loans}:1: has no column reader, book, title, day\n"),
    ]:
        finished = glta("prepare", "library_loans", *arguments)
        assert finished.returncode == 2
        assert finished.stderr.startswith(message), finished.stderr


def test_the_sample_of_the_new_dataset_can_be_trained_on(written: dict[str, Path], glta: Run) -> None:
    sample = str(written["library_loans"] / "tests" / "loans.txt")
    prepared = json.loads(glta("prepare", "library_loans", "--source", sample, "--json").stdout)
    assert prepared["users"] == 16
    assert prepared["dropped"] == {}
    assert min(prepared["split"].values()) > 0


def in_package(written: dict[str, Path], name: str, module: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(written[name]))
    package = "glta_" + name.replace("-", "_").lower()
    return importlib.import_module(f"{package}.{module}")


def test_the_new_encoder_learns_the_weights_of_its_layers(written, monkeypatch, random_interactions) -> None:
    encoder_module, settings = (in_package(written, "mine", name, monkeypatch) for name in ("encoder", "settings"))
    graph = InteractionGraph(random_interactions(12, 9))
    torch.manual_seed(0)
    encoder = encoder_module.Mine(graph, settings.MineSettings(dimension=4, layers=2))
    # Equal weights are LightGCN's mean.
    torch.testing.assert_close(torch.cat(encoder()), graph.layer_mean(encoder.embeddings, 2))

    users, items = encoder()
    (-(users[:3] * items[:3]).sum()).backward()
    assert encoder.layer_weights.grad.abs().min() > 0
    assert encoder.embeddings.grad.abs().sum() > 0


def test_the_new_baseline_is_shrunk_cosine(written, monkeypatch, random_interactions) -> None:
    baseline_module, settings = (
        in_package(written, "Neighbours", name, monkeypatch) for name in ("baseline", "settings")
    )
    train = random_interactions(15, 8)
    data = BaselineData(train, train, None, 0, torch.device("cpu"))
    baseline = baseline_module.Neighbours(settings.NeighboursSettings(shrink=3.0))
    histories = np.zeros((15, 8))
    histories[train.users, train.items] = 1
    together = histories.T @ histories
    similar = together / (np.sqrt(np.outer(together.diagonal(), together.diagonal())) + 3.0)
    np.fill_diagonal(similar, 0)

    scores = baseline.scorer(baseline.fit(data), train)(np.array([4, 0, 11]))
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, (histories @ similar)[[4, 0, 11]], rtol=1e-5)


def test_the_new_backbone_reads_a_folder_of_weights(written, monkeypatch, tmp_path) -> None:
    backbone_module, settings = (
        in_package(written, "small-qwen", name, monkeypatch) for name in ("backbone", "settings")
    )
    make = partial(backbone_module.SmallQwen, "small-qwen")
    drawn = make(BackboneSettings(), settings.SmallQwenSettings(hidden_size=16, depth=1))
    model = drawn.load(torch.device("cpu"))
    weights = tmp_path / "weights"
    with torch.no_grad():
        model.module.get_input_embeddings().weight += 1
    model.module.save_pretrained(weights)
    model.tokenizer.save_pretrained(weights)

    named = settings.SmallQwenSettings(folder=str(weights))
    read = make(BackboneSettings(), named)
    assert read.identity() != drawn.identity()
    ids = torch.arange(5)[None]
    mask = torch.ones_like(ids)
    loaded = read.load(torch.device("cpu"))
    torch.testing.assert_close(loaded.hidden(loaded.embed(ids), mask), model.hidden(model.embed(ids), mask))
    assert loaded.tokenizer.decode(loaded.tokenizer.encode("a book")) == "a book"

    control = make(BackboneSettings(weights="random"), named)
    assert control.identity() != read.identity()
    untrained = control.load(torch.device("cpu"))
    assert not torch.allclose(untrained.embed(ids), loaded.embed(ids))
    with pytest.raises(InputError, match=r"holds no config\.json"):
        make(BackboneSettings(), settings.SmallQwenSettings(folder=str(tmp_path))).architecture()


# -------------------------------------------------------------------------------------------- names and refusals


@pytest.mark.parametrize(
    ("name", "class_name"),
    [
        ("two-words_here", "TwoWordsHere"),
        ("3hop", "Encoder3hop"),
        ("tensor", "TensorEncoder"),
        ("none", "NoneEncoder"),
        ("exception", "ExceptionEncoder"),
        ("graph-encoder", "GraphEncoder"),
    ],
)
def test_any_name_gives_python_that_compiles(name: str, class_name: str) -> None:
    files = {str(path): text for path, text in new_package("encoder", name).files.items()}
    package = "glta_" + name.replace("-", "_")
    assert f"class {class_name}(nn.Module):" in files[f"{package}/encoder.py"]
    assert f"class {class_name}Settings(Settings):" in files[f"{package}/settings.py"]
    assert f'target="{package}.encoder:{class_name}"' in files[f"{package}/__init__.py"]
    for path, text in files.items():
        if path.endswith(".py"):
            compile(text, path, "exec")


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("encoder", "lightgcn", f"NAME: encoder 'lightgcn' exists already, in glta {__version__}"),
        ("logger", "jsonl", f"NAME: logger 'jsonl' exists already, in glta {__version__}"),
        ("logger", "encoders", "NAME: a package called glta_encoders is installed already"),
        ("encoder", "a.b", "NAME: 'a.b' is no name for a component"),
        ("encoder", "../up", "NAME: '../up' is no name for a component"),
        ("encoder", "ü", "NAME: 'ü' is no name for a component"),
        ("encoder", "x-", "NAME: 'x-' is no name for a component"),
        ("encoder", "", "NAME: '' is no name for a component"),
        ("encoder", "null", "NAME: 'null' is not text in a recipe"),
        ("encoder", "12", "NAME: '12' is not text in a recipe"),
        ("encoder", "1e5", "NAME: '1e5' is not text in a recipe"),
    ],
)
def test_a_name_that_cannot_be_is_refused(kind: Kind, name: str, message: str) -> None:
    with pytest.raises(InputError) as raised:
        new_package(kind, name)
    assert str(raised.value).startswith(message + "\n  hint: ")


def test_a_name_is_free_where_another_kind_has_it() -> None:
    assert new_package("baseline", "lightgcn").distribution == "glta-lightgcn"


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    first = process("-m", "glta_cli", "plugins", "new", "logger", "diary", str(tmp_path), folder=tmp_path)
    assert first.returncode == 0
    assert first.stderr.splitlines() == [
        f"next, in {tmp_path / 'glta-diary'}:",
        "  pip install -e '.[test]'",
        "  pytest",
        "  glta plugins --kind logger",
        "  glta pretrain-graph --set 'loggers=[diary]'",
    ]
    changed = tmp_path / "glta-diary" / "README.md"
    changed.write_text("mine")
    second = process("-m", "glta_cli", "plugins", "new", "logger", "diary", str(tmp_path), folder=tmp_path)
    assert second.returncode == 2
    assert second.stdout == ""
    assert second.stderr == f"{tmp_path / 'glta-diary'}: exists already\n  hint: choose another name or folder\n"
    assert changed.read_text() == "mine"


def test_the_destination_has_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        write_package(new_package("logger", "diary"), tmp_path / "absent")
    assert not (tmp_path / "absent").exists()


def test_a_package_that_cannot_be_written_whole_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []

    def full_disk(path: Path, content: bytes) -> None:
        if len(written) == 3:
            raise OSError(28, "No space left on device")
        path.write_bytes(content)
        written.append(path)

    monkeypatch.setattr("glta_cli.core.files.write_bytes", full_disk)
    with pytest.raises(InputError, match="cannot be written: No space left on device"):
        write_package(new_package("logger", "diary"), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_writing_loads_neither_torch_nor_pydantic(tmp_path: Path) -> None:
    code = (
        "import sys, atexit; atexit.register(lambda: print(*sys.modules, file=sys.stderr));"
        "sys.argv = ['glta', 'plugins', 'new', 'encoder', 'mine']; from glta_cli.main import main; main()"
    )
    finished = process("-c", code, folder=tmp_path)
    assert (tmp_path / "glta-mine").is_dir(), finished.stderr
    assert not {"torch", "transformers", "pydantic", "polars", "numpy"} & set(finished.stderr.split())


def test_the_wheel_holds_the_templates(repository: Path, tmp_path: Path) -> None:
    finished = process("-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path), folder=repository)
    assert finished.returncode == 0, finished.stderr
    [wheel] = tmp_path.glob("*.whl")
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("glta_cli/templates/")}
    expected = {path.relative_to(TEMPLATES).as_posix() for path in TEMPLATES.rglob("*") if path.is_file()}
    assert packed == {f"glta_cli/templates/{path}" for path in expected}
