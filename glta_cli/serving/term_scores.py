"""Scores of a term, whatever its form, for any histories."""

from __future__ import annotations

from glta_cli.plugin.interactions import Interactions
from glta_cli.plugin.scorer import Scorer, product_scorer
from glta_cli.plugin.terms import LinearTerm, LowRankTerm, Term
from glta_cli.serving.linear_term import linear_scorer, weights_of


def term_scorer(term: Term, histories: Interactions) -> Scorer:
    """Users [B] -> scores [B, I] by a term.

    Args:
        histories: of all users, which a linear term is multiplied with; a `VectorTerm` is of users with these already.
    """
    if isinstance(term, LinearTerm | LowRankTerm):
        return linear_scorer(weights_of(term), term.recency, histories)
    product, bias = product_scorer(term.users, term.items), term.bias
    return product if bias is None else lambda users: product(users) + bias
