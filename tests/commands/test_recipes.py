"""`glta recipes`: list, show, validate, copy."""

from __future__ import annotations

import os

import pytest

from glta_cli.recipe.files import load_recipe, shipped_recipes


def test_the_list_names_what_each_recipe_is_about(glta):
    rows = glta("recipes", "--json").json
    assert [row["name"] for row in rows] == list(shipped_recipes())
    [llama] = [row for row in rows if row["name"] == "llama7b-lora"]
    assert llama == {
        "name": "llama7b-lora",
        "dataset": "amazon-sports",
        "encoder": "lightgcn",
        "backbone": "huggingface",
        "about": "Llama-2-7B with low-rank adapters, for one GPU; `--dry-run` shows on any machine what it takes.",
        "command": "glta finetune --recipe recipes/llama7b-lora.yaml",
    }
    [gowalla] = [row for row in rows if row["name"] == "lightgcn-gowalla"]
    assert gowalla["backbone"] is None
    assert all(row["about"] for row in rows)
    table = glta("recipes").out
    assert all(name in table for name in shipped_recipes())
    # No name is broken, and the first to try is the first.
    assert all(f"{row['dataset']}: " in table for row in rows)
    assert table.split()[5].startswith("─")
    assert table.split()[6] == "quickstart"
    assert max(map(len, table.splitlines())) <= 80


def test_an_option_of_the_list_is_refused_before_a_subcommand(glta):
    finished = glta("recipes", "--json", "show", "quickstart")
    assert (finished.code, finished.out) == (2, "")
    assert finished.err == (
        "--json: is an option of the list, not of `show`\n"
        "  hint: `glta recipes show --help` shows what may stand after it\n"
    )


def test_show_prints_the_file_as_it_is(glta):
    assert glta("recipes", "show", "quickstart").out == shipped_recipes()["quickstart"].read_text()


@pytest.mark.parametrize("name", ["quickstart", "llama7b-lora", "paper/amazon-groceries"])
def test_a_resolved_recipe_is_a_recipe_again(glta, name):
    resolved = glta.folder / "resolved.yaml"
    resolved.write_text(glta("recipes", "show", name, "--resolved").out)
    assert load_recipe(str(resolved)).recipe == load_recipe(name).recipe


def test_validate_names_the_good_and_every_error_of_the_bad(glta):
    (glta.folder / "bad.yaml").write_text("seed: one\ngraph:\n  los: bpr\n")
    finished = glta("recipes", "validate", "bad.yaml", "quickstart", "paper/movielens-1m", "absent.yaml")
    assert finished.code == 2
    assert finished.out == "quickstart: ok\npaper/movielens-1m: ok\n"
    assert finished.err.splitlines()[:3] == [
        "bad.yaml:1:1: seed: has to be a valid integer, not 'one'",
        "bad.yaml:3:3: graph.los: unknown key",
        "  hint: did you mean 'loss'?",
    ]
    assert "absent.yaml: no such recipe" in finished.err


def test_a_copy_starts_with_the_command_that_runs_it(glta):
    finished = glta("recipes", "copy", "paper/movielens-1m", "mine.yaml")
    assert finished.out == "mine.yaml\n"
    copied = (glta.folder / "mine.yaml").read_text()
    original = shipped_recipes()["paper/movielens-1m"].read_text()
    assert copied.splitlines()[0] == "# glta finetune --recipe mine.yaml"
    assert copied.splitlines()[1:] == original.splitlines()[1:]


def test_a_copy_goes_into_a_folder_under_its_own_name(glta):
    (glta.folder / "inner").mkdir()
    assert glta("recipes", "copy", "quickstart", "inner").out == "inner/quickstart.yaml\n"
    assert glta("recipes", "copy", "quickstart").out == "quickstart.yaml\n"


def test_a_copy_overwrites_nothing_unless_told(glta):
    mine = glta.folder / "mine.yaml"
    mine.write_text("seed: 7\n")
    refused = glta("recipes", "copy", "quickstart", "mine.yaml")
    assert refused.code == 2
    assert refused.err == (
        "mine.yaml: exists already\n  hint: choose another name, such as my-mine.yaml, or --force overwrites it\n"
    )
    assert mine.read_text() == "seed: 7\n"
    assert glta("recipes", "copy", "quickstart", "mine.yaml", "--force").code == 0
    assert "movielens-100k" in mine.read_text()


def test_a_copy_into_a_missing_folder_is_the_users_error(glta):
    finished = glta("recipes", "copy", "quickstart", "absent/mine.yaml")
    assert (finished.code, finished.err) == (2, "absent: no such folder\n  hint: mkdir -p absent\n")


@pytest.mark.parametrize("target", ["n" * 300 + ".yaml", "/proc/mine.yaml", "/dev/null"])
def test_a_copy_that_cannot_be_written_is_the_users_error(glta, target):
    finished = glta("recipes", "copy", "quickstart", target, "--force")
    assert (finished.code, finished.out) == (2, "")
    assert finished.err.startswith(f"{target}: ")
    assert "hint: name " in finished.err


@pytest.mark.parametrize("command", ["show", "copy", "validate"])
@pytest.mark.parametrize("what", ["large", "folder", "pipe", "bytes"])
def test_what_is_no_text_of_a_recipe_is_refused_by_every_command(glta, command, what):
    path = glta.folder / "odd.yaml"
    match what:
        case "large":
            path.write_text("# nothing\n" * 5_000_000)
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "bytes":
            path.write_bytes(b"seed: 1\n# \xff\n")
    arguments = ["odd.yaml", "copied.yaml"] if command == "copy" else ["odd.yaml"]
    finished = glta("recipes", command, *arguments)
    assert (finished.code, finished.out) == (2, "")
    expected = {
        "large": "odd.yaml: 50,000,000 bytes are no recipe: a recipe has at most 262,144 bytes\n",
        "folder": "odd.yaml: is a folder, and a recipe is a file\n",
        "pipe": "odd.yaml: is a pipe or a device, and a recipe is a file\n",
        "bytes": "odd.yaml:2:3: byte 0xff is not UTF-8\n",
    }
    assert finished.err.startswith(expected[what])


def test_a_text_at_the_end_of_a_resolved_recipe_keeps_its_line_break(glta):
    source = glta.folder / "mine.yaml"
    source.write_text('loggers: {jsonl: {file: "a\\n b\\n"}}\n')
    resolved = glta.folder / "resolved.yaml"
    resolved.write_text(glta("recipes", "show", str(source), "--resolved").out)
    # What is left open in the source, such as the depth, is said in the other.
    assert load_recipe(str(resolved)).recipe.loggers == load_recipe(str(source)).recipe.loggers
