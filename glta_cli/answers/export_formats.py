"""The forms a run is exported in, and what each needs."""

from __future__ import annotations

from importlib.util import find_spec

from glta_cli.core.errors import InputError, did_you_mean

MODEL = "huggingface"
FORMATS = ("parquet", "safetensors", "faiss", MODEL)
APPROXIMATE = ("ivf", "hnsw")
"""How an index of faiss may look at a part of the catalogue."""


def require_format(name: str) -> None:
    """Raise `InputError` where a format is unknown, or needs a package that is not installed."""
    if name not in FORMATS:
        hint = did_you_mean(name, FORMATS)
        raise InputError(f"'{name}' is not one of {', '.join(FORMATS)}", location="--format", hint=hint)
    if name == "faiss" and find_spec("faiss") is None:
        raise InputError(
            "needs faiss-cpu, which is not installed", location="--format faiss", hint="pip install 'glta[faiss]'"
        )


def require_method(name: str, form: str) -> None:
    """Raise `InputError` where a way to search is unknown, or the format of the export is none that searches."""
    if name not in APPROXIMATE:
        hint = did_you_mean(name, APPROXIMATE) or "ivf looks into some cells of the catalogue, hnsw walks along a graph"
        raise InputError(f"'{name}' is not one of {', '.join(APPROXIMATE)}", location="--approximate", hint=hint)
    if form != "faiss":
        raise InputError(
            f"means nothing with --format {form}, which holds no index",
            location="--approximate",
            hint="--format faiss --approximate " + name,
        )
