"""Where the shipped recipes lie and what they are called: without a look inside, and without what reads them."""

from __future__ import annotations

from pathlib import Path


def recipe_folder() -> Path:
    """Where the shipped recipes lie: in the installed package, or the repository of an editable install."""
    package = Path(__file__).parent.parent
    inside = package / "recipes"
    return inside if inside.is_dir() else package.parent / "recipes"


def shipped_recipes() -> dict[str, Path]:
    """Every shipped recipe by name; nested ones as `folder/name`."""
    folder = recipe_folder()
    return {recipe_name(path): path for path in sorted(folder.rglob("*.yaml"))}


def recipe_name(path: Path) -> str:
    """The name of a recipe file: relative to the shipped folder, else its stem."""
    folder = recipe_folder().resolve()
    resolved = path.resolve()
    relative = resolved.relative_to(folder) if resolved.is_relative_to(folder) else Path(path.name)
    return relative.with_suffix("").as_posix()
