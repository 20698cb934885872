"""The model card: what a run is, what it came to, what is in its folder, and how it is used again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from glta_cli.answers.measured import sum_not_served
from glta_cli.core.counts import counted
from glta_cli.serving.index import Index

SHOWN = ("ndcg@10", "ndcg@20", "recall@10", "recall@20", "precision@10")
NAMES = {"ndcg": "NDCG", "recall": "Recall", "precision": "Precision"}


def model_card(config: Mapping[str, Any], index: Index, evaluation: Mapping[str, Any] | None, *, adapter: bool) -> str:
    """The card in Markdown, with the metadata the hub reads.

    Args:
        config: what `config.json` says.
        index: that the run answers from.
        evaluation: what the last evaluation found; None where there was none.
        adapter: whether there is one of peft.
    """
    head = "\n".join(_metadata(config, adapter))
    parts = " `projectors.safetensors`, `head.safetensors` and an adapter alone hold none of it."
    none_of_it = "" if config["backbone"] is None else parts
    made = f": {' + '.join(config['terms'])}" if len(config["terms"]) > 1 else ""
    people = f"{counted(config['users'], 'user')} and {counted(config['items'], 'item')}"
    return f"""---
{head}
---

# {config["run"]}

A recommendation model of `{config["dataset"]}` for {people}, by Graph-Language Token Alignment (Yang et al., WWW 2025
Companion, doi 10.1145/3701716.3715583), exported by glta {config["glta_version"]}. It answers by the row
`{config["row"]}`{made}.

{_made_of(config)}

## Evaluation

{chr(10).join(_evaluation(config, index, evaluation))}

## Use it

```bash
pip install glta
glta import .
glta recommend --run {config["run"]} --user ID
```

{_parts(config, adapter)}

**It holds personal data**: the ids of all users, what each of them met and when, and the texts of the items. Publish
the folder only where these may be read.{none_of_it}
"""


def _metadata(config: Mapping[str, Any], adapter: bool) -> Iterator[str]:
    yield f"library_name: {'peft' if adapter else 'glta'}"
    if config["base_model"]:
        yield f"base_model: {config['base_model']}"
    yield "tags:"
    yield from (f"- {tag}" for tag in ("recommendation", "recommender-system", "glta", str(config["encoder"])))


def _made_of(config: Mapping[str, Any]) -> str:
    if config["backbone"] is None:
        return f"The graph encoder is `{config['encoder']}`; no language model takes part."
    depth = config["backbone"]["layers"]
    layers = "all its layers" if depth is None else f"its first {counted(depth, 'layer')}"
    named = (
        f"`{config['base_model']}`" if config["base_model"] else f"the backbone `{config['backbone']['name']}` of glta"
    )
    tokenizer = f"`{config['tokenizer']}`" if config["tokenizer"] else "its own"
    return (
        f"The graph encoder is `{config['encoder']}` with {config['graph_dimension']} dimensions. The language model "
        f"is {named} with {layers}, states of {config['hidden_size']} dimensions; tokenizer: {tokenizer}."
    )


def _parts(config: Mapping[str, Any], adapter: bool) -> str:
    if config["backbone"] is None:
        return "`config.json` says what it is made of; `run/` holds the run itself, which `glta import` reads."
    peft = "`adapter_model.safetensors` is an adapter of peft, " if adapter else ""
    return (
        f"{peft}`projectors.safetensors` takes graph embeddings to tokens, `head.safetensors` states to item scores, "
        "`config.json` says what they fit; `run/` holds the run itself, with the graph embeddings and all that "
        "answers. `glta import` puts them together again, and refuses what was changed."
    )


# ------------------------------------------------------------------------------------------------- what it came to


def _evaluation(config: Mapping[str, Any], index: Index, evaluation: Mapping[str, Any] | None) -> Iterator[str]:
    if evaluation is not None:
        yield from _test_table(config, evaluation)
    else:
        yield f"Not measured on test items before it was exported: `glta evaluate --run {config['run']}` does."
    found = index.artefact.manifest["details"].get("validation")
    if found:
        yield ""
        yield "NDCG@10 on validation, by which the row that answers was chosen:"
        yield ""
        yield from _table(["row", "NDCG@10"], [[name, f"{figure:.4f}"] for name, figure in found.items()])
        why = sum_not_served(index.artefact)
        if why is not None:
            yield ""
            yield f"It answers by `{config['row']}`; {why}."


def _test_table(config: Mapping[str, Any], evaluation: Mapping[str, Any]) -> Iterator[str]:
    models = evaluation["models"]
    shown = [name for name in SHOWN if name in next(iter(models.values()))]
    seeds = counted(len(evaluation["seeds"]), "seed")
    split = evaluation["split"]["strategy"]
    yield f"Full ranking of the catalogue for {counted(evaluation['users'], 'test user')}, split `{split}`, {seeds}:"
    yield ""
    rows = [[name, *(f"{figures[metric]:.4f}" for metric in shown)] for name, figures in models.items()]
    yield from _table(["row", *map(_title, shown)], rows)
    yield ""
    yield "The model is measured as it was before test items were known; its answers take in everything."


def _title(metric: str) -> str:
    name, cutoff = metric.split("@")
    return f"{NAMES[name]}@{cutoff}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    yield from (f"| {' | '.join(row)} |" for row in rows)
