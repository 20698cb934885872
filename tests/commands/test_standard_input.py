"""A log that is piped in is kept as a file, which `prepare` and the recipe of `init` name."""

from __future__ import annotations

import gzip
import hashlib
import io
from pathlib import Path

import polars as pl
import pytest
import yaml
from typer.testing import CliRunner

from glta_cli.core.errors import InputError
from glta_cli.main import app

LOG = "user,item,timestamp\n" + "".join(f"u{n % 4},i{n % 9},{1_600_000_000 + 86_400 * n}\n" for n in range(30))


def run(content: bytes, *words: str):
    return CliRunner().invoke(app, [*words], input=content, catch_exceptions=False)


def parquet() -> bytes:
    buffer = io.BytesIO()
    pl.read_csv(LOG.encode()).write_parquet(buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "options", "ending"),
    [
        (LOG.encode(), [], ".csv"),
        (LOG.replace(",", "\t").encode(), ["-o", "format=tsv"], ".csv"),
        (pl.read_csv(LOG.encode()).write_ndjson().encode(), [], ".jsonl"),
        (parquet(), [], ".parquet"),
        (gzip.compress(LOG.encode(), mtime=0), ["-o", "format=csv"], ".gz"),
    ],
    ids=["csv", "tsv", "json", "parquet", "gzip"],
)
def test_what_is_piped_in_is_kept_under_the_name_of_its_content(workspace_root, content, options, ending):
    done = run(content, "prepare", "table", "--source", "-", *options)
    kept = workspace_root / "downloads" / f"input-{hashlib.sha256(content).hexdigest()}{ending}"
    assert kept.read_bytes() == content
    assert f"kept as {kept}" in done.stderr
    assert "│ 30 │" in " ".join(done.stdout.split())
    again = run(content, "prepare", "table", "--source", str(kept), *options)
    assert "up to date" in again.stderr
    assert len(list(kept.parent.iterdir())) == 1


def test_the_recipe_of_init_names_the_kept_file(workspace_root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(LOG.encode(), "init", "-", "-o", "shop.yaml")
    source = yaml.safe_load(Path("shop.yaml").read_text())["dataset"]["source"]
    assert Path(source).read_bytes() == LOG.encode()
    assert Path(source).parent == workspace_root / "downloads"


def test_nothing_piped_in_is_no_log(workspace_root):
    with pytest.raises(InputError, match="is empty"):
        run(b"", "prepare", "table", "--source", "-")
    assert not list((workspace_root / "downloads").iterdir())


def test_what_is_piped_in_has_a_limit(workspace_root, monkeypatch):
    monkeypatch.setenv("GLTA_DOWNLOAD_LIMIT", "100")
    with pytest.raises(InputError, match="has more than 100"):
        run(LOG.encode(), "prepare", "table", "--source", "-")
    assert not list((workspace_root / "downloads").iterdir())
