"""Which row an index answers from: its terms, their weights, and what it came to on validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from glta_cli.plugin.scorer import Scorer
from glta_cli.recipe.fused_terms import ENCODER, ENCODER_AND_LANGUAGE, LANGUAGE
from glta_cli.serving.fusion import FusionWeights, fuse_terms

if TYPE_CHECKING:
    from glta_cli.serving.term_weights import ChosenTerms

MODEL_ROW: Final = "glta"
"""What is served, as a row of a report: a sum of terms, or the one term it came to."""

LANGUAGE_ROW: Final = "glta-llm"
"""The language model's own ranking. The encoder's has the encoder's name, the linear term's the baseline's."""

LINEAR_ROW: Final = "glta-linear"
"""The linear term's, where another row has the name of its baseline."""

POPULARITY: Final = "popularity"
"""Of how many met an item: a row that every index can tell, whoever asks."""


@dataclass(frozen=True)
class ServedRow:
    """The row an index answers from.

    Attributes:
        terms: that take part.
        weights: of those terms; None of one alone.
        rows: what each term of the index is called as a row of a report.
        shown: what each term of the index is called in a sentence.
        figure: validation NDCG@10 of the row; None where nothing was chosen, or nobody kept it.
        tried: rows that validation chose among; 0 where nothing was chosen.
    """

    terms: tuple[str, ...]
    weights: FusionWeights | None
    rows: Mapping[str, str]
    shown: Mapping[str, str]
    figure: float | None = None
    tried: int = 0

    @property
    def name(self) -> str:
        """`glta` where terms are added up; else what the one term is called."""
        return MODEL_ROW if self.weights is not None else self.rows[self.terms[0]]

    def scorer_of(self, scorers: Sequence[Scorer], lengths: NDArray[np.int64]) -> Scorer:
        """Of scores of its terms, in their order, the row's own.

        Args:
            lengths: of the users' histories, [U], by which terms are weighted.
        """
        weights = self.weights
        if weights is None:
            return scorers[0]
        return lambda batch: fuse_terms([score(batch) for score in scorers], weights.of_lengths(lengths[batch]))

    def of_length(self, length: int) -> dict[str, float]:
        """By row, the share of each term for a user with so many items: of its weight in all weights, which sum to 1.

        Scores are added up by the weights themselves, whose scale says nothing: twice all of them ranks alike.
        """
        names = [self.rows[term] for term in self.terms]
        if self.weights is None:
            return dict.fromkeys(names, 1.0)
        [found] = self.weights.of_lengths(np.array([length]))
        # Of somebody the language model has not read no term may be left that has a weight.
        shares = found / (found.sum() or 1)
        return {name: round(float(share), 4) for name, share in zip(names, shares, strict=True)}

    def sentence(self) -> str:
        """The row in words, such as `ease-text + lightgcn + smollm2, the best of 4 on validation`."""
        terms = " + ".join(self.shown[term] for term in self.terms)
        return f"{terms}, the best of {self.tried} on validation" if self.tried > 1 else terms


def served_row(details: Mapping[str, Any]) -> ServedRow:
    """What the manifest of an index says of the row it answers from."""
    fusion = details["fusion"]
    if "terms" not in details:
        return _of_encoder_and_language(str(details["encoder"]), fusion)
    rows = {term: str(name) for term, name in details["terms"].items()}
    return ServedRow(
        tuple(details["served_terms"]),
        None if fusion is None else FusionWeights(fusion["starts"], fusion["weights"]),
        rows,
        {**rows, LANGUAGE: str(details.get("backbone", rows.get(LANGUAGE)))},
        details["ndcg@10"],
        len(details["validation"]),
    )


def _of_encoder_and_language(encoder: str, fusion: Mapping[str, Any] | None) -> ServedRow:
    """Of an index of 0.1: the encoder with the language model weighted on top, or the language model alone."""
    names = {ENCODER: encoder, LANGUAGE: LANGUAGE_ROW}
    shown = {ENCODER: encoder, LANGUAGE: "the language model"}
    if fusion is None:
        return ServedRow((LANGUAGE,), None, names, shown)
    weights = FusionWeights(fusion["starts"], [[1.0, weight] for weight in fusion["weights"]])
    return ServedRow(ENCODER_AND_LANGUAGE, weights, names, shown)


def chosen_details(chosen: ChosenTerms, rows: Mapping[str, str]) -> dict[str, Any]:
    """What the manifest says of a choice.

    Returns:
        `served`, the name of the row; `served_terms` and their weights, `fusion`, None of one alone; `validation`:
        NDCG@10 of each term alone and of the best sum, by row; `cross_checked`: of sums chosen on one half of the users
        and measured on the other; `ndcg@10`: of the row that is served; `chosen_on`, the number of users.
    """
    validation = {rows[term]: figure for term, figure in chosen.single.items()}
    if len(validation) > 1:
        validation[MODEL_ROW] = chosen.fused
    weights = chosen.weights
    return {
        "served": MODEL_ROW if weights is not None else rows[chosen.served[0]],
        "served_terms": chosen.served,
        "fusion": None if weights is None else {"starts": weights.starts, "weights": weights.weights},
        "validation": validation,
        "cross_checked": chosen.cross_checked,
        "ndcg@10": chosen.fused if weights is not None else chosen.single[chosen.served[0]],
        "chosen_on": chosen.users,
    }


def alone_details(term: str, rows: Mapping[str, str]) -> dict[str, Any]:
    """What the manifest says where there is but one term, and nothing to choose; as `chosen_details`."""
    return {
        "served": rows[term],
        "served_terms": [term],
        "fusion": None,
        "validation": {},
        "cross_checked": None,
        "ndcg@10": None,
        "chosen_on": 0,
    }


SERVED_DETAILS: Final = ("served", "served_terms", "validation", "ndcg@10")
"""What an index's manifest says of its row beside the weights, and every index made from it says too."""
