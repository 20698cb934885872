"""The forms a run is exported in, and what each needs."""

from __future__ import annotations

from importlib.util import find_spec

from glta_cli.core.errors import InputError, did_you_mean

MODEL = "huggingface"
FORMATS = ("parquet", "safetensors", "faiss", MODEL)


def require_format(name: str) -> None:
    """Raise `InputError` where a format is unknown, or needs a package that is not installed."""
    if name not in FORMATS:
        hint = did_you_mean(name, FORMATS)
        raise InputError(f"'{name}' is not one of {', '.join(FORMATS)}", location="--format", hint=hint)
    if name == "faiss" and find_spec("faiss") is None:
        raise InputError(
            "needs faiss-cpu, which is not installed", location="--format faiss", hint="pip install 'glta[faiss]'"
        )
