"""The house has floors: what may import what, how long a file may be, and what nothing is called."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

# Each may import only what stands above it; `glta_cli/README.md` explains the list.
FLOORS = (
    "core",
    "plugin",
    "recipe",
    "workspace",
    "data",
    "ranking",
    "training",
    "graph",
    "serving",
    "language",
    "stages",
    "evaluation",
    "answers",
    "web",
    "commands",
    "testing",
    "main",
    "__main__",
)
MOST_LINES = 400
VAGUE = {"utils", "util", "helpers", "helper", "misc", "common"}
FIRST_PARTY = {"glta_datasets", "glta_encoders", "glta_backbones", "glta_baselines", "glta_loggers", "glta_example"}


@dataclass(frozen=True)
class Arrow:
    """One module imports another, wherever in its file, or names it in a string that is imported later."""

    source: str
    target: str
    names: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.source} -> {self.target}: {', '.join(self.names)}"


def modules_of(package: Path) -> dict[str, Path]:
    """Every module of a package by its dotted name."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def arrows_of(modules: Mapping[str, Path]) -> list[Arrow]:
    """Top-level, lazy and type-only imports of each other, and names of each other in strings."""
    taken: dict[tuple[str, str], list[str]] = defaultdict(list)
    for source, path in modules.items():
        for target, name in [*imports_of(source, path), *strings_of(path)]:
            # `from package import module` takes the module, not the package that holds it.
            whole = f"{target}.{name}" if f"{target}.{name}" in modules else target
            if whole in modules and whole != source:
                taken[source, whole].append(name)
    return [Arrow(source, target, tuple(names)) for (source, target), names in taken.items()]


def imports_of(source: str, path: Path) -> Iterator[tuple[str, str]]:
    """The modules that stand in import statements, wherever in the file, with each name taken."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = source if path.name == "__init__.py" else source.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            target = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((target, alias.name) for alias in node.names)


def strings_of(path: Path) -> Iterator[tuple[str, str]]:
    """What may be the name of a module in a string, such as the argument of importlib.import_module."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value, repr(node.value)


def floor_of(module: str) -> int | None:
    """Where a module stands in the list; None for the package's own face, which has the version alone."""
    parts = module.split(".")
    return FLOORS.index(parts[1]) if len(parts) > 1 else None


def arrows_up(arrows: list[Arrow]) -> list[Arrow]:
    """Those from a package to one that stands below it in the list."""
    found = []
    for arrow in arrows:
        source, target = floor_of(arrow.source), floor_of(arrow.target)
        if source is not None and target is not None and target > source:
            found.append(arrow)
    return found


def circle_in(arrows: list[Arrow]) -> list[Arrow]:
    """The arrows of one circle of modules; none where there is no circle."""
    below: dict[str, list[Arrow]] = defaultdict(list)
    for arrow in arrows:
        below[arrow.source].append(arrow)
    finished: set[str] = set()

    def walk(module: str, path: list[Arrow]) -> list[Arrow]:
        on_path = [arrow.source for arrow in path]
        if module in on_path:
            return path[on_path.index(module) :]
        if module in finished:
            return []
        for arrow in below[module]:
            if circle := walk(arrow.target, [*path, arrow]):
                return circle
        finished.add(module)
        return []

    return next((circle for module in list(below) if (circle := walk(module, []))), [])


@pytest.fixture(scope="module")
def modules(repository: Path) -> dict[str, Path]:
    return modules_of(repository / "glta_cli")


@pytest.fixture(scope="module")
def arrows(modules: dict[str, Path]) -> list[Arrow]:
    return arrows_of(modules)


def test_every_package_imports_only_from_those_above_it(modules: dict[str, Path], arrows: list[Arrow]) -> None:
    packages = {module.split(".")[1] for module in modules if "." in module}
    print(f"{len(modules)} modules, {len(packages)} packages, {len(arrows)} arrows")
    assert packages == set(FLOORS)
    assert [str(arrow) for arrow in arrows_up(arrows)] == []


def test_no_modules_import_each_other_in_a_circle(arrows: list[Arrow]) -> None:
    assert [str(arrow) for arrow in circle_in(arrows)] == []


@pytest.mark.parametrize(
    "line",
    [
        "from glta_cli.commands.runs import runs",
        "from glta_cli.commands import runs",
        "from ..commands.runs import runs",
        "import glta_cli.commands.runs",
        "def later():\n    from glta_cli.commands.runs import runs",
        "if TYPE_CHECKING:\n    from glta_cli.commands.runs import runs",
        "import_module('glta_cli.commands.runs')",
    ],
)
def test_an_import_turned_round_is_found_in_whatever_form(line: str, modules: dict[str, Path], tmp_path: Path) -> None:
    turned = tmp_path / "artefact.py"
    turned.write_text(f"{modules['glta_cli.workspace.artefact'].read_text(encoding='utf-8')}\n{line}\n")
    arrows = arrows_of({**modules, "glta_cli.workspace.artefact": turned})
    [up] = arrows_up(arrows)
    assert (up.source, up.target) == ("glta_cli.workspace.artefact", "glta_cli.commands.runs")
    # `glta runs` reads artefacts, so the arrow closes a circle too.
    assert {"glta_cli.workspace.artefact", "glta_cli.commands.runs"} <= {arrow.source for arrow in circle_in(arrows)}


def test_plugins_import_the_public_api_and_nothing_else(repository: Path) -> None:
    folders = [folder for folder in (repository / "plugins").rglob("glta_*") if folder.is_dir()]
    assert {folder.name for folder in folders} == FIRST_PARTY
    wrong = [
        f"{path.relative_to(repository)}: {target} ({name})"
        for folder in folders
        for module, path in modules_of(folder).items()
        for target, name in [*imports_of(module, path), *strings_of(path)]
        if re.fullmatch(r"glta_cli(\.\w+)*", target) and target != "glta_cli.plugin"
    ]
    assert wrong == []


def test_the_core_imports_no_plugin(modules: dict[str, Path]) -> None:
    wrong = [
        f"{module}: {target}"
        for module, path in modules.items()
        for target, _ in imports_of(module, path)
        if target.split(".")[0] in FIRST_PARTY
    ]
    assert wrong == []


def product_files(repository: Path) -> list[Path]:
    return [path for folder in ("glta_cli", "plugins") for path in sorted((repository / folder).rglob("*.py"))]


def test_no_file_is_longer_than_a_person_reads_at_once(repository: Path) -> None:
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in product_files(repository)}
    longest = sorted(lines, key=lambda path: -lines[path])[:10]
    print("\n".join(f"{lines[path]} {path.relative_to(repository)}" for path in longest))
    assert [path for path in longest if lines[path] > MOST_LINES] == []


def test_no_file_is_named_for_nothing(repository: Path) -> None:
    named = [part for path in product_files(repository) for part in path.relative_to(repository).with_suffix("").parts]
    assert VAGUE.isdisjoint(named)


def test_the_map_of_the_house_has_the_same_floors(repository: Path) -> None:
    text = (repository / "glta_cli" / "README.md").read_text(encoding="utf-8")
    drawn = re.findall(r"^(\w+)(?:/|\.py)\s", text, flags=re.MULTILINE)
    assert drawn == [floor for floor in FLOORS if not floor.startswith("__")]
