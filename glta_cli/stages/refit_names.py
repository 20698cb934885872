"""The stages a refit runs again, and what they are called then."""

from __future__ import annotations

# Those that read interactions, in the order they run.
REFITTED = ("pretrain-graph", "fit-linear", "align", "describe-users", "finetune")


def refit_name(stage: str) -> str:
    """What a stage is called when it runs on everything known."""
    return f"refit-{stage}"
