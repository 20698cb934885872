"""Published tables, to stand beside what a run measures.

Source: Yang, Liu, Yang, Liu, Wang, Peng, Yu, Training Large Recommendation Models via Graph-Language Token Alignment,
WWW 2025 Companion, doi 10.1145/3701716.3715583: the comparison of models, and the ablation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

METRICS = ("precision@5", "precision@10", "ndcg@5", "ndcg@10")
ABLATION_METRICS = ("precision@5", "ndcg@5")
LANGUAGE_MODEL = "Llama-2-7B, quantised by GPTQ"


@dataclass(frozen=True)
class PublishedRow:
    """One line of a published table.

    Attributes:
        label: as the table calls it.
        row: what an evaluation calls it here.
        values: by metric; an ablation has fewer.
    """

    label: str
    row: str
    values: Mapping[str, float]


@dataclass(frozen=True)
class PublishedTable:
    """One dataset's columns.

    Attributes:
        recipe: the shipped recipe with the settings the paper states.
        dataset: as a recipe names it.
        without_gpu: a shipped recipe for the same data that needs no GPU, where there is one.
        users, items, interactions: as the paper counts them.
    """

    recipe: str
    dataset: str
    users: int
    items: int
    interactions: int
    rows: tuple[PublishedRow, ...]
    without_gpu: str | None = None


# The paper's name of a model, and its row here: the first is the encoder of the recipe itself.
MODELS = {
    "LightGCN": "lightgcn",
    "HCCF": "hccf",
    "LightGCN+": "lightgcn-plus",
    "HCCF+": "hccf-plus",
    "RLMRec-Con": "rlmrec-con",
    "RLMRec-Gen": "rlmrec-gen",
    "GLTA": "glta",
}
ABLATIONS = {"w/o both": "wo-pf-pd", "w/o PF": "wo-pf", "w/o PD": "wo-pd"}


def _table(
    recipe: str,
    dataset: str,
    counts: tuple[int, int, int],
    models: Mapping[str, tuple[float, ...]],
    ablations: Mapping[str, tuple[float, ...]],
    *,
    without_gpu: str | None = None,
) -> PublishedTable:
    rows = [
        PublishedRow(label, MODELS[label], dict(zip(METRICS, values, strict=True))) for label, values in models.items()
    ]
    rows += [
        PublishedRow(label, ABLATIONS[label], dict(zip(ABLATION_METRICS, values, strict=True)))
        for label, values in ablations.items()
    ]
    return PublishedTable(recipe, dataset, *counts, tuple(rows), without_gpu)


PAPER: Mapping[str, PublishedTable] = {
    "movielens-1m": _table(
        "paper/movielens-1m",
        "movielens-1m",
        (6_040, 3_706, 1_000_209),
        {
            "LightGCN": (0.0470, 0.0426, 0.0463, 0.0466),
            "HCCF": (0.0467, 0.0419, 0.0482, 0.0486),
            "LightGCN+": (0.0527, 0.0451, 0.0467, 0.0469),
            "HCCF+": (0.0516, 0.0436, 0.0486, 0.0488),
            "RLMRec-Con": (0.0499, 0.0460, 0.0488, 0.0492),
            "RLMRec-Gen": (0.0517, 0.0451, 0.0475, 0.0477),
            "GLTA": (0.0968, 0.0821, 0.1162, 0.1403),
        },
        {"w/o both": (0.0736, 0.0658), "w/o PF": (0.0763, 0.0713), "w/o PD": (0.0860, 0.0761)},
        without_gpu="paper/movielens-1m-smollm2",
    ),
    "amazon": _table(
        "paper/amazon-groceries",
        "amazon-grocery-and-gourmet-food",
        (1_032, 17_609, 30_510),
        {
            "LightGCN": (0.0204, 0.0139, 0.0301, 0.0305),
            "HCCF": (0.0209, 0.0143, 0.0275, 0.0304),
            "LightGCN+": (0.0211, 0.0150, 0.0268, 0.0290),
            "HCCF+": (0.0217, 0.0156, 0.0310, 0.0315),
            "RLMRec-Con": (0.0227, 0.0142, 0.0348, 0.0358),
            "RLMRec-Gen": (0.0223, 0.0145, 0.0336, 0.0339),
            "GLTA": (0.0359, 0.0236, 0.0499, 0.0500),
        },
        {"w/o both": (0.0316, 0.0408), "w/o PF": (0.0318, 0.0414), "w/o PD": (0.0341, 0.0449)},
    ),
    "goodreads": _table(
        "paper/goodreads-history",
        "goodreads-history-biography",
        (10_131, 10_725, 478_334),
        {
            "LightGCN": (0.1999, 0.1618, 0.2346, 0.2352),
            "HCCF": (0.1998, 0.1632, 0.2371, 0.2439),
            "LightGCN+": (0.2004, 0.1616, 0.2347, 0.2358),
            "HCCF+": (0.2034, 0.1641, 0.2379, 0.2483),
            "RLMRec-Con": (0.2062, 0.1676, 0.2441, 0.2542),
            "RLMRec-Gen": (0.2062, 0.1653, 0.2407, 0.2424),
            "GLTA": (0.2465, 0.1882, 0.2722, 0.2905),
        },
        {"w/o both": (0.2462, 0.2705), "w/o PF": (0.2466, 0.2668), "w/o PD": (0.2467, 0.2688)},
    ),
}
