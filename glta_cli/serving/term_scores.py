"""Scores of a term, whatever its form, for any histories."""

from __future__ import annotations

import numpy as np

from glta_cli.plugin.interactions import Interactions
from glta_cli.plugin.scorer import Scorer, product_scorer
from glta_cli.plugin.terms import LinearTerm, Term
from glta_cli.serving.linear_term import ItemWeights, linear_scorer


def term_scorer(term: Term, histories: Interactions) -> Scorer:
    """Users [B] -> scores [B, I] by a term.

    Args:
        histories: of all users, which a linear term is multiplied with; a `VectorTerm` is of users with these already.
    """
    if isinstance(term, LinearTerm):
        weights = term.weights
        if isinstance(weights, np.ndarray):
            return linear_scorer(ItemWeights(weights), term.recency, histories)
        rows = ItemWeights(None, weights.indptr, weights.indices, weights.data)
        return linear_scorer(rows, term.recency, histories)
    product, bias = product_scorer(term.users, term.items), term.bias
    return product if bias is None else lambda users: product(users) + bias
