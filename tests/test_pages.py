"""What the pages show works as it stands there."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import typer

from glta_cli import testing
from glta_cli.main import app
from glta_cli.plugin import HOOK_OF_KIND

REPOSITORY = Path(__file__).resolve().parent.parent
MOST_BYTES_OF_THE_README = 10 * 1024
EXPECTED = {
    "README.md",
    ".github/CONTRIBUTING.md",
    ".github/SECURITY.md",
    "glta_cli/README.md",
    "plugins/README.md",
    "recipes/README.md",
    "recipes/paper/README.md",
    "recipes/SCALE.md",
    "recipes/results/README.md",
    "recipes/results/DATASETS.md",
    "recipes/results/PARTS.md",
    "tests/benchmarks/README.md",
}
STAGES = {"prepare", "pretrain-graph", "align", "finetune", "evaluate", "recommend"}
FENCED = re.compile(r"^```.*?^```$", flags=re.DOTALL | re.MULTILINE)


def names_of_pages() -> list[str]:
    """Every page, but for the changelog and those of single plugin packages, which speak from their own folders."""
    folders = [REPOSITORY / name for name in (".github", "glta_cli", "plugins", "recipes", "tests")]
    found = [*REPOSITORY.glob("*.md"), *(file for folder in folders for file in folder.rglob("*.md"))]
    parts = [file.relative_to(REPOSITORY).parts for file in found]
    return sorted(
        "/".join(each)
        for each in parts
        if each != ("CHANGELOG.md",)
        and not (each[0] == "plugins" and len(each) > 2)
        and not any(part.startswith(".") for part in each[1:])
    )


def text_of(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


@pytest.fixture(params=names_of_pages())
def page(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


# ------------------------------------------------------------------------------------------- reading a page


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def spans(text: str, start: str) -> list[str]:
    """Code between backticks outside of blocks that begins with `start`, each on one line."""
    found = re.findall(r"`([^`]+)`", FENCED.sub("", text))
    return [" ".join(span.split()) for span in found if span.startswith(start)]


def commands(text: str) -> list[list[str]]:
    found = [
        shlex.split(line.removeprefix("$ "), comments=True)
        for block in blocks(text, "console")
        for line in block.replace("\\\n", " ").splitlines()
        # Where commands have a prompt, what has none is output.
        if line.startswith("$ glta ") or (line.startswith("glta ") and "$ " not in block)
    ]
    return [words[1:] for words in found]


def mentions(text: str) -> list[list[str]]:
    """Commands in running text and in tables; brackets, as in `glta recipes [show|copy]`, are no arguments."""
    return [shlex.split(span.partition("[")[0])[1:] for span in spans(text, "glta ")]


def examples(text: str) -> list[list[str]]:
    """Commands that are whole cells at the end of a table's row."""
    return [shlex.split(cell)[1:] for cell in re.findall(r"\| `(glta [^`]+)` \|$", text, flags=re.MULTILINE)]


def headings(text: str, level: str = "#+") -> list[str]:
    return re.findall(rf"^{level} (.+)$", FENCED.sub("", text), flags=re.MULTILINE)


def anchors(text: str) -> Iterator[str]:
    """What a link to a heading has after its #, as hosts of repositories make it from the heading's words."""
    seen: Counter[str] = Counter()
    for heading in headings(text):
        shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        anchor = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        yield anchor if not seen[anchor] else f"{anchor}-{seen[anchor]}"
        seen[anchor] += 1


# ------------------------------------------------------------------------------------------------- commands


def parse(command: Any, name: str, words: Sequence[str]) -> None:
    """Raise a usage error unless the command, and those below it, take these words."""
    with command.make_context(name, list(words)) as context:
        if hasattr(command, "resolve_command") and words and not words[0].startswith("-"):
            name, below, rest = command.resolve_command(context, list(words))
            assert name == words[0]
            parse(below, name, rest)


def test_the_pages_are_all_there() -> None:
    assert set(names_of_pages()) >= EXPECTED


def test_every_command_parses(page: str) -> None:
    root = typer.main.get_command(app)
    text = text_of(page)
    complete = [words for words in mentions(text) if any(word.startswith("-") for word in words[1:])]
    for words in [*commands(text), *examples(text), *complete]:
        parse(root, "glta", words)


def test_every_command_mentioned_exists(page: str) -> None:
    root: Any = typer.main.get_command(app)
    options = {"--help", *(name for parameter in root.params for name in parameter.opts)}
    for words in mentions(text_of(page)):
        assert words[0] in (options if words[0].startswith("-") else root.commands), words
        below = getattr(root.commands.get(words[0]), "commands", None)
        if below is not None and words[1:] and not words[1].startswith("-"):
            assert words[1] in below, words


def test_the_readme_shows_every_stage_and_every_command() -> None:
    readme = text_of("README.md")
    root: Any = typer.main.get_command(app)
    assert {words[0] for words in commands(readme)} >= STAGES
    rows = re.findall(r"^\| `([\w-]+)` \| [^|`]+ \| `glta ([\w-]+)[^`]*` \|$", readme, flags=re.MULTILINE)
    assert rows == [(name, name) for name in root.commands]


def test_recipes_named_are_shipped(page: str) -> None:
    text = text_of(page)
    for path in re.findall(r"recipes/[\w/-]+\.yaml", text):
        assert (REPOSITORY / path).is_file(), path
    for words in [*commands(text), *examples(text), *mentions(text)]:
        for option, value in pairwise(words):
            # A file in no folder, such as shop.yaml, is the reader's own.
            if option == "--recipe" and not re.fullmatch(r"[\w-]+\.yaml", value):
                shipped = REPOSITORY / "recipes" / f"{value}.yaml"
                assert shipped.is_file() or (REPOSITORY / value).is_file(), value


def test_the_readme_names_recipes_by_their_files() -> None:
    assert re.findall(r"recipes/[\w/-]+\.yaml", text_of("README.md"))


def test_targets_of_make_exist(page: str) -> None:
    text = text_of(page)
    lines = [line.removeprefix("$ ") for block in blocks(text, "console") for line in block.splitlines()]
    shown = [*(line for line in lines if line.startswith("make ")), *spans(text, "make ")]
    targets = set(re.findall(r"^([\w-]+):", text_of("Makefile"), flags=re.MULTILINE))
    named = {word for line in shown for word in shlex.split(line, comments=True)[1:] if "=" not in word}
    assert named <= targets
    if page == "README.md":
        assert {"quickstart", "test"} <= named


def test_make_quickstart_runs_the_quickstart_whatever_ran_last() -> None:
    [recommend] = re.findall(r"/glta (recommend .*)", text_of("Makefile"))
    assert shlex.split(recommend) == ["recommend", "--user", "42", "--recipe", "quickstart"]


# ------------------------------------------------------------------------------------------- links and shape


def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", FENCED.sub("", text_of(page))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (REPOSITORY / page).parent / path if path else REPOSITORY / page
        assert file.exists(), target
        assert file.resolve().is_relative_to(REPOSITORY), target
        assert not anchor or anchor in anchors(file.read_text(encoding="utf-8")), target


def test_the_readme_links_to_every_other_page() -> None:
    targets = {target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text_of("README.md"))}
    assert targets >= EXPECTED - {"README.md"}


def test_the_readme_is_a_front_door() -> None:
    readme = text_of("README.md")
    assert len(readme.encode()) <= MOST_BYTES_OF_THE_README
    assert headings(readme) == [
        "glta",
        "What it looks like",
        "Install",
        "Your own data",
        "Recommendations anywhere",
        "Commands",
        "Results",
        "When to use something else",
        "The method",
        "Where everything is",
        "Citation",
        "Licence",
    ]


def test_a_page_opens_with_its_name_and_what_it_is_for(page: str) -> None:
    text = text_of(page)
    assert headings(text, "#")[1:] == []
    assert re.match(r"# [^\n]+\n\n[^#`|\n-]", text)


# ------------------------------------------------------------------------------------------ recipes, results


def section(text: str, heading: str) -> str:
    """What stands below a heading, up to the next one of any level."""
    _, _, after = text.partition(f" {heading}\n")
    assert after, heading
    return re.split(r"^#+ ", FENCED.sub(lambda block: block[0].replace("\n#", "\n "), after), flags=re.MULTILINE)[0]


def test_the_page_of_recipes_lists_every_recipe() -> None:
    folder = REPOSITORY / "recipes"
    shipped = {file.relative_to(folder).with_suffix("").as_posix() for file in folder.rglob("*.yaml")}
    listed = re.findall(
        r"^\| `([\w./-]+)` \|", section(text_of("recipes/README.md"), "The recipes"), flags=re.MULTILINE
    )
    assert sorted(listed) == sorted(shipped)


def test_the_figures_of_the_readme_are_those_of_the_results() -> None:
    sections = {
        "MovieLens-100K": "MovieLens-100K, step by step",
        "Amazon Scientific": "What is served by default: Amazon Scientific",
        "Amazon Sports": "What is served by default: Amazon Sports",
        "MovieLens-1M": "What is served by default: MovieLens-1M",
    }
    readme = section(text_of("README.md"), "Results")
    [head] = re.findall(r"^\| row \| (.+) \|$", readme, flags=re.MULTILINE)
    assert head.split(" | ") == list(sections)
    rows = re.findall(r"^\| `([\w-]+)`[^|]* \| ([\d. |]+) \|$", readme, flags=re.MULTILINE)
    assert {name for name, _ in rows} == {"popularity", "ease", "ease-text", "lightgcn", "glta"}
    for name, shown in rows:
        for heading, figure in zip(sections.values(), shown.split(" | "), strict=True):
            results = section(text_of("recipes/results/README.md"), heading)
            # NDCG@10 is the first metric of the first table.
            found = re.search(rf"^ {name} +(\d\.\d{{4}}) ", results, flags=re.MULTILINE)
            assert found, (name, heading)
            assert found[1] == figure, (name, heading)


def glta(folder: Path, *arguments: str) -> str:
    environment = os.environ | {"GLTA_DATA_DIR": str(folder / "workspace")}
    return subprocess.run(
        [sys.executable, "-m", "glta_cli", *arguments],
        cwd=folder,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    ).stdout


SMALL = [
    "--set", "backbone.name=tiny",
    "--set", "interests={profile: false, prediction: false}",
    "--set", "graph.training.epochs=2",
    "--set", "align={prompts: 8, validation_prompts: 4, training: {epochs: 1}}",
    "--set", "finetune.training.epochs=1",
]  # fmt: skip


def own_data(name: str) -> list[list[str]]:
    """The commands for one's own data as a page shows them."""
    return [words for words in commands(text_of(name)) if "shop.yaml" in words]


def in_words_of_the_shop(table: str) -> str:
    """A table of the toy data with the ids that the pages name."""
    return re.sub(r"(^|,)i3(?=,)", r"\1A-653", re.sub(r"(^|,)i5(?=,)", r"\1A-12", table, flags=re.M), flags=re.M)


def test_own_data_in_two_commands(toy_table: Path, tmp_path: Path) -> None:
    init, recommend = own_data("README.md")
    log = (toy_table / "interactions.csv").read_text().replace("user,item", "customer,sku", 1)
    (tmp_path / "log.csv").write_text(in_words_of_the_shop(log.replace("u7,", "C-1007,")))
    head, *lines = in_words_of_the_shop((toy_table / "items.csv").read_text()).splitlines()
    shelves = [f"{line},{'shoes' if number % 2 else 'coats'}" for number, line in enumerate(lines)]
    (tmp_path / "products.csv").write_text("\n".join([f"{head},category", *shelves]) + "\n")

    glta(tmp_path, *init)
    answer = json.loads(glta(tmp_path, *recommend, *SMALL, "--set", "backbone.layers=null", "--json"))

    assert answer["user"] == "C-1007"
    assert len(answer["recommendations"]) == 10
    shown = section(text_of("README.md"), "Recommendations anywhere")
    for words in commands(shown):
        if words[0] == "recommend":
            glta(tmp_path, *words)
    assert (tmp_path / "lists.parquet").is_file()
    [example] = blocks(shown, "python")
    *_, similar = example.splitlines()
    told = example.replace(similar, f"print({similar}['item'].to_list())")
    environment = os.environ | {"GLTA_DATA_DIR": str(tmp_path / "workspace")}
    done = subprocess.run([sys.executable, "-c", told], env=environment, check=True, capture_output=True, text=True)
    assert "A-12" in done.stdout


def test_own_data_is_the_same_in_the_page_of_recipes() -> None:
    assert own_data("recipes/README.md") == own_data("README.md")


def test_the_recipe_shown_for_own_data_is_the_one_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    header = "customer;sku;bought_at;stars;price\n"
    (tmp_path / "log.csv").write_text(f"{header}C-1007;A-17;13.09.2020 12:32;4,5;9,99\n")
    (tmp_path / "products.csv").write_text('sku,name\nA-17,"Kettle, steel"\n')
    init, _ = own_data("recipes/README.md")
    [shown] = [block for block in blocks(text_of("recipes/README.md"), "yaml") if "shop.yaml" in block]
    # How long it takes is that of the machine, and of what else runs on it.
    timed = re.compile(r"^# (less than a minute|about .+) on this machine.*$", flags=re.MULTILINE)
    assert timed.search(shown)
    assert timed.sub("# so long", glta(tmp_path, *init)) == timed.sub("# so long", shown)


# -------------------------------------------------------------------------------------------------- plugins


def test_the_plugin_of_the_tutorial_is_the_example() -> None:
    tutorial = text_of("plugins/README.md")
    shown = dict(re.findall(r"^`(plugins/[^`]+)`:\n\n```\w+\n(.*?)```", tutorial, flags=re.DOTALL | re.MULTILINE))
    package = REPOSITORY / "plugins" / "glta-example"
    files = [package / "pyproject.toml", *sorted((package / "glta_example").glob("*.py"))]
    assert shown == {file.relative_to(REPOSITORY).as_posix(): file.read_text(encoding="utf-8") for file in files}


def test_the_test_of_the_tutorials_plugin_is_the_examples() -> None:
    tutorial = text_of("plugins/README.md")
    [block] = [block for block in blocks(tutorial, "python") if block.startswith("from glta_cli.testing")]
    import_line, test = block.split("\n\n\n")
    written = text_of("plugins/glta-example/tests/test_simgcl.py")
    assert import_line in written
    assert test in written


def test_the_tutorial_lists_every_kind_of_plugin_with_its_hook_and_check() -> None:
    rows = re.findall(
        r"^\| (\w+) \| `(glta_\w+)` \|.*\| `(check_\w+)` \|$", text_of("plugins/README.md"), flags=re.MULTILINE
    )
    assert rows == [(kind, hook, f"check_{kind}") for kind, hook in HOOK_OF_KIND.items()]
    assert set(testing.__all__) == {check for _, _, check in rows} | {"ContractError"}
