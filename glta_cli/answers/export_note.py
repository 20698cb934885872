"""What an export of vectors says of itself: what it holds, which metric ranks, what it costs, how to search it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from glta_cli.core.counts import agreeing, counted

FILES = {
    "parquet": {
        "users.parquet": "`user`, `vector` (list of float32)",
        "items.parquet": "`item`, `title`, `vector` (list of float32)",
        "seen.parquet": "`user`, `item`: what each user is not to be recommended again",
    },
    "safetensors": {
        "vectors.safetensors": "`users` float32 [U, D], `items` float32 [I, D]; of user u, the positions of items not "
        "to be recommended again stand in `seen_items` from `seen_indptr[u]` up to `seen_indptr[u + 1]`",
        "ids.json": "`users`, `items` and `titles`, in the order of the rows",
    },
    "faiss": {
        "items.faiss": "an `IndexFlatIP`: the item of row n is row n of `items.parquet`",
        "items.parquet": "`item`, `title`",
        "users.parquet": "`user`, `vector` (list of float32)",
        "seen.parquet": "`user`, `item`: what each user is not to be recommended again",
    },
}

EXAMPLES = {
    "parquet": """
import numpy as np
import polars as pl

users, items, seen = (pl.read_parquet(f"{name}.parquet") for name in ("users", "items", "seen"))
user = users["user"][0]
query = np.array(users.filter(pl.col("user") == user)["vector"][0], dtype=np.float32)
scores = np.array(items["vector"].to_list(), dtype=np.float32) @ query
met = seen.filter(pl.col("user") == user)["item"].to_list()
unseen = items.select("item", "title", score=scores).filter(~pl.col("item").is_in(met))
print(unseen.sort("score", descending=True).head(10))
""",
    "safetensors": """
import json
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

vectors, ids = load_file("vectors.safetensors"), json.loads(Path("ids.json").read_text())
user = 0
scores = vectors["items"] @ vectors["users"][user]
start, end = vectors["seen_indptr"][user : user + 2]
scores[vectors["seen_items"][start:end]] = -np.inf
for item in np.argsort(-scores, kind="stable")[:10]:
    print(ids["items"][item], ids["titles"][item], scores[item])
""",
    "faiss": """
import faiss
import numpy as np
import polars as pl

index = faiss.read_index("items.faiss")
users, items, seen = (pl.read_parquet(f"{name}.parquet") for name in ("users", "items", "seen"))
user = users["user"][0]
query = np.array([users["vector"][0].to_list()], dtype=np.float32)
met = set(seen.filter(pl.col("user") == user)["item"])
scores, rows = index.search(query, min(10 + len(met), index.ntotal))
found = [(items["item"][int(row)], score) for row, score in zip(rows[0], scores[0])]
print([(item, score) for item, score in found if item not in met][:10])
""",
}


APPROXIMATE_FILES = {
    **FILES["faiss"],
    "items.faiss": "an index of one more coordinate than the vectors: the item of row n is row n of `items.parquet`",
}

APPROXIMATE_EXAMPLE = """
import faiss
import numpy as np
import polars as pl

index = faiss.read_index("items.faiss")
users, items, seen = (pl.read_parquet(f"{name}.parquet") for name in ("users", "items", "seen"))
user = users["user"][0]
vector = np.array(users["vector"][0].to_list(), dtype=np.float32)
longest = LONGEST  # of the item vectors: a query is brought to this length, and has a 0 behind it
query = np.append(vector * (longest / max(np.linalg.norm(vector), 1e-30)), 0).astype(np.float32)[None]
met = set(seen.filter(pl.col("user") == user)["item"])
rows = index.search(query, min(10 + len(met), index.ntotal))[1][0]
found = [items["item"][int(row)] for row in rows if row >= 0]
print([item for item in found if item not in met][:10])
"""


def readme(note: Mapping[str, Any]) -> str:
    """The README.md of an export of vectors, of what its `export.json` says."""
    name = note["format"]
    listed = APPROXIMATE_FILES if "approximate" in note else FILES[name]
    files = "\n".join(f"- `{file}`: {about}" for file, about in listed.items())
    sizes = f"{counted(note['users'], 'user')} and {counted(note['items'], 'item')}"
    made = f" ({' + '.join(note['terms'])})" if len(note["terms"]) > 1 else ""
    measured = "\n".join(measured_lines(note))
    return f"""# Vectors of {note["run"]} ({note["dataset"]})

{sizes} with {note["dimensions"]} dimensions each. A user's recommendations are the items with the
largest **inner product** with the user's vector, as the row `{note["row"]}`{made} ranks them.

{measured}

{files}
- `export.json`: what stands here, for a program

**Seen items are not masked**: an inner product knows no history. Leave out what is listed as seen, and ask for as many
more.

{_approximate_search(note) if "approximate" in note else _exact_search(note)}"""


def _exact_search(note: Mapping[str, Any]) -> str:
    return f"""```python{EXAMPLES[note["format"]]}```

## Approximate search

The search above multiplies every item, and is exact. Graph indexes such as HNSW move from neighbour to neighbour by a
distance, which an inner product is none of: on raw inner products they lose recall (hnswlib #74, Milvus #51821).
Measure the recall of yours beside the exact search. To make a distance of it, give every item v one more coordinate,
√max(0, M² - |v|²), where M = {note["longest_norm"]:.7g} is the length of the longest item vector, and every query a 0
there: the nearest items by Euclidean distance are then those with the largest inner products (Bachrach et al., Speeding
Up the Xbox Recommender System Using a Euclidean Transformation for Inner-Product Spaces, RecSys 2014).
"""


def _approximate_search(note: Mapping[str, Any]) -> str:
    said = note["approximate"]
    example = APPROXIMATE_EXAMPLE.replace("LONGEST", f"{note['longest_norm']:.9g}")
    wider = "index.hnsw.efSearch" if said["method"] == "hnsw" else "index.nprobe"
    now = said["efSearch"] if said["method"] == "hnsw" else said["nprobe"]
    return f"""```python{example}```

## What the index does

It looks at a part of the catalogue: {about_method(said)}. Of the first ten unseen items by inner products it finds
{said["recall@10"]:.1%}, of the first hundred {said["recall@100"]:.1%}, measured by this search on
{counted(said["users"], "user")} while it was written. A larger `{wider}` finds more and takes longer; it is {now} here.

Such an index goes by distances, which an inner product is none of. So every item v has one more coordinate,
√(M² - |v|²), where M = {note["longest_norm"]:.7g} is the length of the longest item vector, and every query a 0 there:
the nearest items by Euclidean distance are then those with the largest inner products (Bachrach et al., Speeding Up the
Xbox Recommender System Using a Euclidean Transformation for Inner-Product Spaces, RecSys 2014). The squared distances
that a search gives are 2M² - 2⟨q, v⟩ of a query q of the length M.
"""


def about_method(said: Mapping[str, Any]) -> str:
    """How an approximate index looks for items, in words."""
    if said["method"] == "hnsw":
        return f"hnsw, a graph of {said['neighbours']} neighbours an item, {said['efSearch']} candidates a search"
    return f"ivf, {said['nprobe']} of {counted(said['cells'], 'cell')} a search"


def measured_lines(note: Mapping[str, Any]) -> Iterator[str]:
    """How the inner products compare with the row they stand for, in sentences."""
    people = counted(note["users"], "user")
    if note["rank"] is not None:
        yield f"Of the linear term {note['linear']} it holds the first {counted(note['rank'], 'singular vector')}."
    if note["left_out"]:
        yield f"Left out: {', '.join(note['left_out'])}."
    if note["evenly"]:
        yield f"For {counted(note['evenly'], 'user')} only what is left out had a weight: the rest counts evenly."
    if note["same_lists"] == note["users"]:
        yield f"The first ten, seen items left out, are those of the row for all of {people}, in the same order."
    else:
        yield (
            f"Measured beside the row itself, seen items left out: {note['overlap@10']:.2%} of the first ten are the "
            f"same, and for {note['same_lists']:,} of {people} all ten in the same order."
        )
    if note["test"] is not None:
        test = note["test"]
        yield (
            f"NDCG@10 of {counted(test['users'], 'test user')}: {test['exported']:.4f} by inner products, "
            f"{test['exact']:.4f} by the row."
        )
    elif note["rank"] is not None or note["left_out"]:
        yield "NDCG@10 is not measured: the run has no test items to measure this row with."
    if "approximate" in note:
        said = note["approximate"]
        yield (
            f"The index is approximate ({about_method(said)}): of the exact first ten it finds "
            f"{said['recall@10']:.1%}, of the first hundred {said['recall@100']:.1%}, measured on "
            f"{counted(said['users'], 'user')}."
        )
    if note["delisted"]:
        are = agreeing(note["delisted"], "is", "are")
        yield f"{counted(note['delisted'], 'item')} that the item file names no more {are} left out."
