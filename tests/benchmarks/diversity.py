"""What diverse lists cost and bring: NDCG@10 on test beside how alike the ten items of a list are.

    python tests/benchmarks/diversity.py quickstart

The run is read from where glta keeps runs (GLTA_DATA_DIR). Lists are ranked by the training histories, as evaluation
does, with training and validation items masked.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from glta_cli.data.prepared import PreparedDataset
from glta_cli.ranking.metrics import ranking_metrics
from glta_cli.ranking.top_k import BLOCK
from glta_cli.serving.choice import Choice, best_of
from glta_cli.serving.diversity import Diversity, vector_similarities
from glta_cli.serving.index import Index
from glta_cli.workspace.artefact import Artefact
from glta_cli.workspace.run import Run
from glta_cli.workspace.workspace import Workspace

CUTOFF = 10
SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
PAIRS = np.triu_indices(CUTOFF, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="a finished run with texts")
    parser.add_argument("--users", type=int, default=3_000, help="test users, drawn at random")
    asked = parser.parse_args()
    workspace = Workspace(None)
    run = workspace.answering_run(asked.run)
    assert run is not None, "a run is named"
    prepared = PreparedDataset(published(workspace, run, "prepare"))
    index = Index(published(workspace, run, "index"))
    test = prepared.split("test")
    users = np.flatnonzero(test.counts)
    if len(users) > asked.users:
        users = np.sort(np.random.default_rng(0).choice(users, asked.users, replace=False))
    print(f"{index.row.sentence()}; {len(users):,} test users of {prepared.name}")
    print("share  NDCG@10  alike (vectors)  alike (texts)  items shown")
    texts = text_vectors(published(workspace, run, "encode-items"))
    for share in SHARES:
        lists = ranked(index, prepared, users, share)  # [n, 10]
        ndcg = ranking_metrics(lists, users, test, [CUTOFF])[f"ndcg@{CUTOFF}"].mean()
        by_vectors = np.mean([index.similarities(each)[PAIRS].mean() for each in lists])
        by_texts = np.mean([vector_similarities(texts[each])[PAIRS].mean() for each in lists])
        print(
            f"{share:5.1f}  {ndcg:7.4f}  {by_vectors:15.3f}  {by_texts:13.3f}  {len(np.unique(lists)):11,}", flush=True
        )


def published(workspace: Workspace, run: Run, stage: str) -> Artefact:
    """What a stage of the run published."""
    found = workspace.published(stage, run.stages[stage])
    assert found is not None, f"{stage} is missing"
    return found


def ranked(index: Index, prepared: PreparedDataset, users: NDArray[np.int64], share: float) -> NDArray[np.int64]:
    """The ten items of each user: [n, 10]."""
    choice = Choice(diversity=Diversity(share, index.similarities) if share else None)
    seen = prepared.split("train", "valid")
    score = index.scorer(seen)
    blocks = (users[start : start + BLOCK] for start in range(0, len(users), BLOCK))
    return np.stack([each.items for block in blocks for each in best_of(score, block, CUTOFF, choice, seen)])


def text_vectors(encoded: Artefact) -> NDArray[np.float32]:
    """Vectors of the item texts, [I, D]."""
    [found] = load_file(Path(encoded.path) / "vectors.safetensors").values()
    return found


if __name__ == "__main__":
    main()
