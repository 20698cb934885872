"""Baselines: recommenders an evaluation compares with, and what they may learn from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from pydantic import BaseModel

    from glta_cli.plugin.descent import Descend
    from glta_cli.plugin.interactions import Interactions
    from glta_cli.plugin.scorer import Scorer


@dataclass(frozen=True, eq=False)
class BaselineData:
    """What a baseline may learn from; test interactions are not part of it.

    Attributes:
        train: interactions of U users and I items.
        validation: of the same users and items, to choose settings by; masked when testing.
        texts: title and description of each item, [I]; None where the dataset has no item texts.
        seed: of whatever is drawn at random.
        device: where to compute, for baselines on torch.
        text_vectors: what the recipe's `text.backbone`, or else its language model, makes of each text, whitened and of
            unit length, float32 [I, D]; None but for baselines that ask for it.
        quality: validation NDCG@10 of a scorer that was given the training histories, to choose settings by while
            fitting; None where there is nothing to choose by.
        descend: has a `DescentTask` trained by the loop that trains everything else, for what is learnt by gradient
            descent; None where whoever fits offers no loop.
    """

    train: Interactions
    validation: Interactions
    texts: Sequence[str] | None
    seed: int
    device: torch.device
    text_vectors: NDArray[np.float32] | None = None
    quality: Callable[[Scorer], float] | None = None
    descend: Descend | None = None


def chosen_settings(settings: BaseModel, learnt: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """Of a baseline's settings those that are `auto`, with the numbers that `fit` chose.

    Args:
        learnt: what `fit` returned: an array of no dimensions of a setting's name is the number chosen for it.

    Example:
        from typing import Literal

        import numpy as np

        from glta_cli.plugin import Settings, chosen_settings

        class NeighboursSettings(Settings):
            shrink: float | Literal["auto"] = "auto"

        assert chosen_settings(NeighboursSettings(), {"shrink": np.array(5.0)}) == {"shrink": 5.0}
        assert chosen_settings(NeighboursSettings(shrink=7), {"shrink": np.array(5.0)}) == {}
    """
    automatic = [name for name, value in settings if value == "auto" and name in learnt]
    return {name: learnt[name].item() for name in automatic if learnt[name].ndim == 0}


class Baseline(Protocol):
    """A recommender to compare with. What it learns is arrays, so that it is saved and never fitted twice.

    One that has a true attribute `needs_text_vectors` is given them; without item texts there is nothing to fit it on.
    One whose attribute `uses_seed` is false learns the same whatever the seed, and is fitted once for all seeds; one
    without it is taken to use the seed. One whose attribute `uses_weights` is true heeds `train.weights`, what each
    interaction counts for; of one without it an evaluation says that it does not, where there are weights.

    One that has `scoring_settings`, names of settings that `scorer` reads and `fit` does not, is fitted once for all
    their values: `glta evaluate --tune` tries many of them for the price of one, and what was fitted before there was
    such a setting is found again.

    Where the split is in time `scorer` is given training and validation interactions when the test is ranked, those a
    user has met by then, and what `fit` learnt from training alone. One that learns something of each user, such as a
    vector, may have a method `fold_in(learnt, train, histories)`: it returns what was learnt, with what follows from
    `histories` for users who have others there than in `train`. It is called before `scorer` is given those histories.

    One that chooses settings itself, such as those a recipe leaves `auto`, asks `data.quality` how well a scorer ranks
    validation items, and leaves in what it learnt each number it chose, as an array of no dimensions of the setting's
    name: `glta evaluate` shows it. Where `quality` is None there is nothing to choose by, and it says what it takes.

    One that learns by gradient descent describes a `DescentTask` and has `data.descend` train it: the steps, the bar,
    the saved states and the choice of the epoch are glta's. The epoch that was chosen is a number like those above.

    One whose fit may take more memory than a machine has gives the bytes in a method `bytes_to_fit(user_count,
    item_count)`: glta refuses beforehand where they are not free, and names the row that its attribute `smaller` names.

    One that can be part of what a run answers from has a method `term(learnt, histories)`, which returns the same
    scores in a form an index can keep, a `LinearTerm`, a `LowRankTerm` or a `VectorTerm`: an answer then needs neither
    the plugin nor what it was fitted on.

    Example:
        import numpy as np

        from glta_cli.plugin import Settings

        class NeighboursSettings(Settings):
            shrink: float = 10.0
            recency: float = 1.0  # what an item weighs of the next newer one

        class Neighbours:
            uses_seed = False
            scoring_settings = ("recency",)  # its declaration has time_grid={"recency": [1.0, 0.8]}

            def __init__(self, settings):
                self.settings = settings

            def fit(self, data):
                together = self.histories(data.train, np.arange(data.train.user_count), recency=1.0)
                together = together.T @ together  # [I, I]
                popularity = together.diagonal()
                similar = together / (np.sqrt(np.outer(popularity, popularity)) + self.settings.shrink)
                return {"similar": similar - np.diag(similar.diagonal())}

            def scorer(self, learnt, train):
                recency = self.settings.recency
                return lambda users: self.histories(train, users, recency) @ learnt["similar"]  # [B, I]

            def histories(self, interactions, users, recency):
                rows = np.zeros((len(users), interactions.item_count), dtype=np.float32)
                for row, user in enumerate(users):
                    items = interactions.of(user)  # the newest last
                    rows[row, items] = recency ** np.arange(len(items))[::-1]
                return rows
    """

    def __init__(self, settings: BaseModel) -> None: ...

    def fit(self, data: BaselineData) -> Mapping[str, NDArray[Any]]:
        """What was learnt, as named arrays."""
        ...

    def scorer(self, learnt: Mapping[str, NDArray[Any]], train: Interactions) -> Scorer:
        """From what `fit` returned and the histories: user indices [B] -> float32 scores [B, I].

        The scores are the caller's to change.

        Args:
            train: each user's items in order of time: those of training or, when the test of a split in time is ranked,
                of training and validation.
        """
        ...
