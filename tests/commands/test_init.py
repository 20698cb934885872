"""`glta init`: what it sees in files, and that the recipe it writes runs."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
import yaml

from glta_cli.core.downloads import Downloads
from glta_cli.data import first_recipe
from glta_cli.recipe.files import load_recipe

HEADER = "Kunde;Artikel;Datum;Sterne;Preis\n"


@pytest.fixture
def shop(glta) -> Path:
    """A log of a German shop, and its products."""
    rows = [f"C-{u};A{(u + 2 * i) % 9};{i + 10}.03.2023 12:{u + 10};{i},5;9,99\n" for u in range(8) for i in range(5)]
    (glta.folder / "log.csv").write_text(HEADER + "".join(rows))
    products = "".join(f"A{i},Thing {i},Things,3\n" for i in range(9))
    (glta.folder / "products.csv").write_text("Artikel,name,category,price\n" + products)
    return glta.folder


def test_the_recipe_says_what_every_column_is_with_an_example(glta, shop):
    finished = glta("init", "log.csv", "products.csv", "-o", "mine.yaml")
    assert finished.code == 0, finished.err
    text = (shop / "mine.yaml").read_text()
    assert finished.out.rstrip() == text.rstrip()
    assert text.startswith("# glta recommend --user C-0 --recipe mine.yaml\n")
    assert "next: glta recommend --user C-0 --recipe mine.yaml" in finished.err
    values = yaml.safe_load(text)
    assert values["dataset"] == {
        "name": "table",
        "source": "log.csv",
        "options": {
            "user": "Kunde",
            "item": "Artikel",
            "timestamp": "Datum",
            "rating": "Sterne",
            "decimal": ",",
            "items": "products.csv",
            "items_item": "Artikel",
            "title": "name",
            "description": "category",
        },
        "split": {"strategy": "leave-last-out"},
    }
    for comment in ("such as C-0", "csv, fields between ';', encoding utf-8, decimal ,", "such as 10.03.2023 12:10"):
        assert f"# {comment}" in text
    assert "# ignored in log.csv: Preis (9,99)\n" in text
    assert "# kept for --where in products.csv: price (3)\n" in text
    bare = [line for line in text.splitlines() if ": " in line and "#" not in line]
    assert bare == ["  name: table"]


def test_a_row_that_holds_the_sum_is_told_as_prepare_tells_it(glta, shop):
    with (shop / "log.csv").open("a") as log:
        log.write("Summe;;;100;\n")
    finished = glta("init", "log.csv", "--json")
    assert "dropped: missing item 1, such as line 42: 'Summe;;;100;'" in finished.err
    assert finished.json["dropped"] == {"missing item": 1}


def test_of_a_large_log_the_first_rows_tell_what_its_columns_are(glta):
    rows, first = 300_000, 262_144
    numbers = pl.int_range(rows, eager=True)
    log = pl.DataFrame({"user": numbers % 5_000, "item": numbers % 700, "time": 1_600_000_000 + numbers})
    log.write_parquet(glta.folder / "log.parquet")
    finished = glta("init", "log.parquet", "--json")
    assert finished.code == 0, finished.err
    assert f"looked at the first {first:,} of {rows:,} rows to tell what the columns are" in finished.err
    assert finished.json["told_by"] == first
    assert finished.json["options"] == {"user": "user", "item": "item", "timestamp": "time"}


def test_large_files_are_told_before_they_are_read(tmp_path, monkeypatch, capsys):
    (tmp_path / "log.csv").write_text("user,item\n1,2\n")
    downloads = Downloads(tmp_path / "downloads")
    first_recipe.look_at(str(tmp_path / "log.csv"), None, {}, downloads)
    assert "reading" not in capsys.readouterr().err

    monkeypatch.setattr(first_recipe, "LARGE_BYTES", 10)
    first_recipe.look_at(str(tmp_path / "log.csv"), None, {}, downloads)
    assert "reading 14 bytes: the first rows tell" in capsys.readouterr().err


@pytest.mark.parametrize("files", [("log.csv", "products.csv"), ("log.csv",)])
def test_the_recipe_runs_as_it_stands(glta, shop, files):
    recipe = glta("init", *files, "--json").json["recipe"]
    assert glta("recipes", "validate", recipe).code == 0
    tiny = ("--set", "backbone.name=tiny", "--set", "backbone.layers=null", "--set", "finetune.training.epochs=1")
    finished = glta("recommend", "--user", "C-3", "--recipe", recipe, "--json", *tiny)
    assert finished.code == 0, finished.err
    assert finished.json["recommendations"]


def test_settings_fit_the_texts_there_are(glta, shop):
    glta("init", "log.csv", CUDA_VISIBLE_DEVICES="")
    recipe = load_recipe(str(shop / "shop.yaml")).recipe
    assert (recipe.align.enabled, recipe.text.vectors, recipe.interests.profile) == (False, False, False)
    glta("init", "log.csv", "products.csv", "-o", "texts.yaml", CUDA_VISIBLE_DEVICES="")
    recipe = load_recipe(str(shop / "texts.yaml")).recipe
    assert (recipe.align.enabled, recipe.text.vectors, recipe.interests.profile) == (True, True, False)


def test_without_times_and_parts_the_split_stays_the_default(glta):
    (glta.folder / "log.tsv").write_text("user\titem\nyes\t1\n- a: #b\t2\n")
    assert glta("init", "log.tsv", "--user", "user").code == 0
    assert "split" not in yaml.safe_load((glta.folder / "shop.yaml").read_text())["dataset"]


def test_a_log_divided_already_keeps_its_parts(glta):
    (glta.folder / "log.csv").write_text("user,item,split\na,1,train\na,2,valid\na,3,test\n")
    assert glta("init", "log.csv").code == 0
    assert load_recipe(str(glta.folder / "shop.yaml")).recipe.dataset.split.strategy == "given"


def test_of_two_columns_that_may_be_the_item_one_has_to_be_named(glta):
    (glta.folder / "log.csv").write_text("id,product_code,customer_id\n1,A,u\n2,B,u\n")
    finished = glta("init", "log.csv")
    assert (finished.code, finished.out) == (2, "")
    assert finished.err == (
        "log.csv:1: several columns could be the item: 'id', such as 1 and 'product_code', such as A\n"
        "  hint: name it: --item id or --item product_code\n"
    )
    assert not (glta.folder / "shop.yaml").exists()
    seen = glta("init", "log.csv", "--item", "product_code", "--json").json
    assert seen["files"][0]["columns"] == [
        {"name": "id", "role": None, "example": "1"},
        {"name": "product_code", "role": "item", "example": "A"},
        {"name": "customer_id", "role": "user", "example": "u"},
    ]


def test_what_cannot_be_told_is_asked_with_the_options_of_this_command(glta):
    (glta.folder / "log.csv").write_text("user,item,date\na,1,01/02/2020\nb,2,03/04/2020\n")
    finished = glta("init", "log.csv")
    assert finished.code == 2
    assert "--option timestamp_format=%d/%m/%Y" in finished.err
    seen = glta("init", "log.csv", "--option", "timestamp_format=%d/%m/%Y", "--json").json
    assert seen["options"]["timestamp_format"] == "%d/%m/%Y"
    assert glta("prepare", "--recipe", "shop.yaml").code == 0


def test_no_file_is_written_over(glta, shop):
    for number, name in enumerate(("shop.yaml", "shop-2.yaml")):
        (shop / name).write_text("mine")
        finished = glta("init", "log.csv")
        assert finished.code == 2
        assert finished.err.startswith("shop.yaml: exists already\n")
        assert f"-o shop-{number + 2}.yaml" in finished.err
    assert (shop / "shop.yaml").read_text() == "mine"


def test_texts_of_other_items_are_refused(glta, shop):
    (shop / "other.csv").write_text("sku,title\nB1,One\n")
    finished = glta("init", "log.csv", "other.csv")
    assert finished.code == 2
    assert "describes no item of the log: 'B1' is one here, 'A0' one there" in finished.err
    assert "  hint: name the columns that hold the same ids: --item COLUMN --option items_item=COLUMN" in finished.err


def test_ids_in_another_writing_are_refused_with_what_they_differ_in(glta):
    pl.DataFrame({"user": [1, 2, 3], "item": [7, 12, 7]}).write_parquet(glta.folder / "log.parquet")
    (glta.folder / "items.csv").write_text("item,title\n0000000001,One\n0000000012,Twelve\n0000000007,Seven\n")
    finished = glta("init", "log.parquet", "items.csv")
    assert finished.code == 2
    assert "describes no item of the log: '0000000007' is one here, '7' one there" in finished.err
    assert "  hint: they differ in leading zeros alone: write them alike in the two files" in finished.err


def test_another_encoding_is_guessed_and_says_so(glta):
    (glta.folder / "log.csv").write_bytes("user;item\nMüller;1\nMeier;2\n".encode("cp1252"))
    assert glta("init", "log.csv").code == 0
    text = (glta.folder / "shop.yaml").read_text(encoding="utf-8")
    assert "such as Müller" in text
    assert "encoding: cp1252           # a guess" in text


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"user,item\n", "log.csv: there are no rows below the header"),
        (b"user,item\n,\n", None),
        (bytes(range(256)) * 9, "not UTF-8"),
        (b"", "the file is empty"),
        (b"1,2\n3,4\n", "the first line looks like data"),
        (b"a,item\nx,1\n", "no column is known as user; the columns are a, item"),
    ],
    ids=["header", "nothing", "bytes", "empty", "data", "unknown"],
)
def test_a_file_with_little_in_it_is_told_as_elsewhere(glta, content, told):
    (glta.folder / "log.csv").write_bytes(content)
    finished = glta("init", "log.csv")
    assert finished.code == (0 if told is None else 2)
    assert told is None or told in finished.err


@pytest.mark.parametrize("column", ["a # b", "x: y", "yes", "line\nbreak", "'\"", "*", "- z"])
def test_any_name_of_a_column_comes_back_from_the_recipe(glta, column):
    (glta.folder / "log.jsonl").write_text(json.dumps({column: "u", "item": "1"}) + "\n")
    finished = glta("init", "log.jsonl", f"--user={column}")
    assert finished.code == 0, finished.err
    assert load_recipe(str(glta.folder / "shop.yaml")).recipe.dataset.options["user"] == column


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("absent.csv",), "absent.csv: no such file or folder\n  hint: LOG is a file"),
        (("https://example.org/log.csv",), "is an address"),
        (("log.csv", "absent.csv"), "absent.csv: no such file\n  hint: ITEMS is the file with the items' titles"),
        (("log.csv", "-o", "there/shop.yaml"), "there: no such folder"),
        (("log.csv", "-o", "."), "is a folder"),
        (("log.csv", "--user", "Kundin"), "no column 'Kundin'"),
        (("log.csv", "--option", "colour=red"), "colour"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_written(glta, shop, arguments, told):
    finished = glta("init", *arguments)
    assert (finished.code, finished.out) == (2, "")
    assert told in finished.err
    assert sorted(path.name for path in shop.iterdir()) == ["log.csv", "products.csv"]


def test_a_second_file_that_is_missing_is_named_as_it_was_given(glta):
    (glta.folder / "days").mkdir()
    (glta.folder / "days" / "day.csv").write_text("user,item\nu,1\n")
    assert glta("init", "days", "absent.csv").err.startswith("absent.csv: no such file\n  hint: ITEMS is")


# ------------------------------------------------------------------------------------- events and quantities


def test_events_stand_in_the_recipe_with_their_rows_and_a_weight(glta, shop_folder):
    finished = glta("init", str(shop_folder / "log.csv"), str(shop_folder / "products.csv"), "-o", "events.yaml")
    assert finished.code == 0, finished.err
    text = (glta.folder / "events.yaml").read_text()
    events = [line.split(",")[2] for line in (shop_folder / "log.csv").read_text().splitlines()[1:]]
    options = yaml.safe_load(text)["dataset"]["options"]
    assert options["event"] == "event"
    assert options["events"] == {"view": 1, "cart": 2, "purchase": 3}
    assert not {"seen", "weight"} & options.keys()
    for event in ("view", "cart", "purchase"):
        (line,) = [line for line in text.splitlines() if line.startswith(f"      {event}: ")]
        assert line.endswith(f"# {events.count(event):,} rows")
    assert "    # seen: [purchase] " in text
    assert "    # weight: qty " in text
    assert "qty (1)" in text
    assert "all count the same" not in finished.err

    prepared = glta("prepare", "--recipe", "events.yaml", "--json")
    assert prepared.code == 0, prepared.err
    assert prepared.json["dropped"] == {}
    assert prepared.json["interactions"] + prepared.json["added_up"] == len(events)
    shown = glta("prepare", "--recipe", "events.yaml").out
    assert f"{events.count('purchase'):,} rows, 3 each" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_what_the_comments_offer_runs_once_it_is_taken(glta, shop_folder):
    glta("init", str(shop_folder / "log.csv"), "-o", "events.yaml")
    recipe = glta.folder / "events.yaml"
    recipe.write_text(recipe.read_text().replace("# seen:", "seen:").replace("# weight:", "weight:"))
    prepared = glta("prepare", "--recipe", "events.yaml", "--json")
    assert prepared.code == 0, prepared.err
    assert 0 < prepared.json["seen"] < prepared.json["interactions"]
    assert prepared.json["events"]["view"]["seen"] is False


def test_unknown_events_count_one_and_those_that_take_back_are_left_out(glta):
    rows = [f"u{n % 5},i{n % 7},{('zoom', 'buy', 'remove_from_cart', 'yes')[n % 4]}\n" for n in range(40)]
    (glta.folder / "log.csv").write_text("user,item,event_type\n" + "".join(rows))
    assert glta("init", "log.csv").code == 0
    text = (glta.folder / "shop.yaml").read_text()
    assert yaml.safe_load(text)["dataset"]["options"]["events"] == {"buy": 3, "yes": 1, "zoom": 1}
    assert "# 10 rows; a word unknown here: say what it counts for" in text
    assert "      # remove_from_cart " in text
    assert glta("prepare", "--recipe", "shop.yaml", "--json").json["dropped"] == {"event not in events": 10}


def test_events_of_later_parts_stand_in_the_recipe_too(glta):
    (glta.folder / "days").mkdir()
    (glta.folder / "days" / "day-1.csv").write_text("user,item,event\nu,1,view\nv,2,view\n")
    (glta.folder / "days" / "day-2.csv").write_text("user,item,event\nu,1,purchase\n")
    assert glta("init", "days").code == 0
    options = yaml.safe_load((glta.folder / "shop.yaml").read_text())["dataset"]["options"]
    assert options["event"] == "event"
    assert options["events"] == {"view": 1, "purchase": 3}


def test_what_is_said_of_events_stands_in_the_recipe(glta, shop_folder):
    log = str(shop_folder / "log.csv")
    finished = glta("init", log, "--option", "keep=[purchase, cart]", "--option", "seen=[purchase]", "--json")
    assert finished.code == 0, finished.err
    options = yaml.safe_load((glta.folder / "shop.yaml").read_text())["dataset"]["options"]
    assert (options["keep"], options["seen"]) == (["purchase", "cart"], ["purchase"])
    assert "events" not in options
    assert glta("prepare", "--recipe", "shop.yaml").code == 0


def test_the_next_command_takes_events_as_they_were_given(glta, shop_folder):
    events = 'events={purchase: 3, "add.to cart": 2, view: 1}'
    log = (shop_folder / "log.csv").read_text().replace(",cart,", ",add.to cart,")
    (glta.folder / "log.csv").write_text(log)
    finished = glta("prepare", "table", "--source", "log.csv", "--min-rating", "none", "-o", events)
    assert finished.code == 0, finished.err
    (command,) = [line for line in finished.err.splitlines() if line.startswith("next: ")]
    words = shlex.split(command.removeprefix("next: glta pretrain-graph"))
    assert 'dataset.options.events={"purchase": 3, "add.to cart": 2, "view": 1}' in words
    settings = [word for word in words if word.startswith("dataset.") and not word.startswith("dataset.name")]
    again = glta("prepare", "table", *(part for word in settings for part in ("--set", word)))
    assert "up to date" in again.err


def test_people_are_told_apart_by_their_e_mail_where_nothing_else_does(glta):
    rows = "".join(f"p{u}@example.org,{u},A{i}\n" for u in range(4) for i in range(4))
    (glta.folder / "log.csv").write_text("E-Mail,seat,product\n" + rows)
    assert glta("init", "log.csv", "--json").json["next"] == "glta recommend --user p0@example.org --recipe shop.yaml"
    (glta.folder / "both.csv").write_text("E-Mail,user_id,product\n" + rows)
    assert glta("init", "both.csv", "-o", "b.yaml", "--json").json["next"].startswith("glta recommend --user 0 ")


UNNAMED = {
    "who,product,at,paid\na,1,2025-01-01 00:02,3\na,2,2025-01-02 00:02,4\n": "at",
    "customer,product,at\na,1,1735689600\na,2,1735689700\n": "at",
    "customer,product,on,born\na,1,2.1.2025,3.4.1990\na,2,3.1.2025,3.4.1990\n": "on",
    "customer,product,checkout\na,1,2025-01-01T10:00:00Z\na,2,2025-01-02T10:00:00Z\na,3,\n": "checkout",
}


@pytest.mark.parametrize("log", UNNAMED)
def test_a_column_whose_values_are_times_is_the_time_where_no_name_says_so(glta, log):
    (glta.folder / "log.csv").write_text(log)
    finished = glta("init", "log.csv", "--user", log.partition(",")[0])
    assert finished.code == 0, finished.err
    dataset = yaml.safe_load((glta.folder / "shop.yaml").read_text())["dataset"]
    assert dataset["options"]["timestamp"] == UNNAMED[log]
    assert dataset["split"] == {"strategy": "leave-last-out"}
    told = "'checkout', such as 2025-01-01T10:00:00Z, is taken as the time by its values"
    assert (told in " ".join(finished.err.split())) == (UNNAMED[log] == "checkout")


def test_of_several_columns_of_times_none_is_taken_and_each_is_named(glta):
    row = "a,1,2025-01-01,2025-02-01,20,0\n"
    (glta.folder / "log.csv").write_text("customer,product,packed,shipped,count,on\n" + row)
    finished = glta("init", "log.csv")
    assert finished.code == 0, finished.err
    for name, example in {"packed": "2025-01-01", "shipped": "2025-02-01"}.items():
        assert f"'{name}', such as {example}, looks like times, not used: --timestamp {name}" in finished.err
    assert "timestamp" not in yaml.safe_load(finished.out)["dataset"]["options"]


def test_a_log_that_is_missing_is_told_first_and_at_once(glta, shop):
    (shop / "shop.yaml").write_text("mine")
    finished = glta("init", "nolog.csv")
    assert finished.code == 2
    assert finished.err.startswith("nolog.csv: no such file or folder\n  hint: LOG is a file")
    asked = "import sys; from glta_cli.commands.init import init\ntry: init({!r})\n"
    asked += "except Exception as error: print(error)\n"
    for log, told in (("nolog.csv", "no such file"), ("log.csv", "exists already")):
        code = asked.format(log) + "print(sorted({'polars', 'torch', 'pydantic'} & set(sys.modules)))"
        done = subprocess.run([sys.executable, "-c", code], cwd=shop, capture_output=True, text=True, check=True)
        assert told in done.stdout
        assert done.stdout.endswith("[]\n")


def test_files_in_the_other_order_are_told(glta, shop):
    finished = glta("init", "products.csv", "log.csv")
    assert finished.code == 2
    assert "no column is known as user" in finished.err
    assert "log.csv has the columns of a log: name the log first, as in glta init log.csv products.csv" in " ".join(
        finished.err.split()
    )
    alone = glta("init", "products.csv", "products.csv")
    assert "hint: name it: --user COLUMN" in alone.err
