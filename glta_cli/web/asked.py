"""What a request for recommendations may say, in its address or in its body."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    model_validator,
)

from glta_cli.web.limits import LONGEST_HISTORY, LONGEST_ID, LONGEST_WISH, MOST_CHOSEN, MOST_CONDITIONS, MOST_ITEMS

Id = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_ID)]
Wish = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_WISH)]


def _no_truth(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError(f"{str(value).lower()} is no number")
    return value


NoTruth = BeforeValidator(_no_truth)
"""True is 1 to pydantic."""


class Choosing(BaseModel):
    """How items are chosen, for a person who is in the data or not."""

    model_config = ConfigDict(extra="forbid", populate_by_name=False)

    k: Annotated[int, NoTruth] = Field(default=10, ge=1, le=MOST_ITEMS, description="How many items.")
    model: Id | None = Field(
        default=None, description="The row that answers, of those /v1/run names; without it the run's best."
    )
    where: list[Id] = Field(
        default=[],
        max_length=MOST_CONDITIONS,
        description="Conditions on columns of the item file, such as `category=shoes`, `price<20` or "
        "`brand=Acme or price<20`; all have to hold.",
    )
    only: list[Id] | None = Field(
        default=None, min_length=1, max_length=MOST_CHOSEN, description="Items, by id or title, to choose among."
    )
    without: list[Id] = Field(
        default=[], max_length=MOST_CHOSEN, alias="except", description="Items, by id or title, to leave out."
    )
    include_seen: bool = Field(default=False, description="Recommend also what the person has met.")
    diversity: Annotated[float, NoTruth] = Field(
        default=0.0, ge=0.0, le=1.0, description="How much unlike each other the items are to be (MMR); 0 not at all."
    )
    wish: Wish | None = Field(default=None, description="Words beside the person, such as `something funny`.")
    wish_weight: Annotated[float | None, NoTruth] = Field(
        default=None, ge=0.0, le=100.0, description="How much the wish weighs beside the person; needs a wish."
    )
    because: bool = Field(default=False, description="Say of each item what in the history it is there for.")
    deep: bool = Field(
        default=False, description="Read a history by the language model's own forward pass: slower, and all terms."
    )

    @model_validator(mode="after")
    def _wish_of_weight(self) -> Choosing:
        if self.wish_weight is not None and self.wish is None:
            raise ValueError("wish_weight weighs a wish, and there is none")
        return self


class MetItem(BaseModel):
    """An item, and what was done with it."""

    model_config = ConfigDict(extra="forbid")

    item: Id = Field(description="Its id or title.")
    event: Id | None = Field(
        default=None, description="The event of the log it was met by, one of those /v1/run names; null for none."
    )


def _kind_of_entry(entry: Any) -> str:
    return ENTRY_KINDS[0] if isinstance(entry, dict | MetItem) else ENTRY_KINDS[1]


ENTRY_KINDS = "item and event", "text"
"""By which an entry of a history is told to be an object or a text: never part of a request."""

HistoryEntry = Annotated[
    Annotated[MetItem, Tag(ENTRY_KINDS[0])] | Annotated[Id, Tag(ENTRY_KINDS[1])], Discriminator(_kind_of_entry)
]


class Asked(Choosing):
    """For whom: a user of the data, a person who is in no file, by what they met, or anybody who wishes for it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"user": "42", "k": 5},
                {"history": ["A-653", "A-12"], "k": 5, "where": ["category=shoes"], "except": ["A-7"]},
                {"history": ["Alien (1979)"], "wish": "something funny for a long flight"},
                {"history": [{"item": "A-653", "event": "purchase"}, "A-12=view"]},
            ]
        }
    )

    user: Id | None = Field(default=None, description="A user's id, as in the source data.")
    history: list[HistoryEntry] | None = Field(
        default=None,
        min_length=1,
        max_length=LONGEST_HISTORY,
        description="Ids or titles of what a person met who is in no file, the oldest first, as in a log; each with "
        "the event it was met by, where the log has such.",
    )

    @model_validator(mode="after")
    def _one_person(self) -> Asked:
        if self.user is not None and self.history is not None:
            raise ValueError("say for whom: a user or a history, one of both")
        if self.user is None and self.history is None and self.wish is None:
            raise ValueError("say for whom: a user or a history, one of both; or what is wished for")
        return self


def names_of_settings() -> list[str]:
    """What a request may say, as it is spelt."""
    return [field.alias or name for name, field in Asked.model_fields.items()]


def names_in_entry() -> list[str]:
    """What an entry of a history may say."""
    return list(MetItem.model_fields)


# ------------------------------------------------------------------------------------------------------- answers


class ShownItem(BaseModel):
    """An item of the catalogue."""

    item: str
    title: str


class ShownMetItem(ShownItem):
    """An item somebody met."""

    events: list[str] = Field(default=[], description="The events it was asked by, where there were some.")


class RankedItem(ShownItem):
    """An item at its place."""

    rank: int
    score: float
    because: Any = Field(default=None, description="What in the history it is there for, where that was asked for.")


class Recommendations(BaseModel):
    """Items for one person."""

    user: str | None = Field(description="The user; null for a person who is in no file.")
    run: str
    dataset: str
    interactions: int | None = Field(description="From how many interactions it answers.")
    newest: str | None = Field(description="The day of the newest of them.")
    trained: int | None = Field(description="On how many of them the parameters were trained.")
    row: str = Field(description="The row that answered, as /v1/run names them.")
    terms: dict[str, float] = Field(description="What the score is a sum of, with weights.")
    answered_by: str = Field(description="The same in words.")
    not_read_by: str | None = Field(
        default=None, description="A language model that is left out of the row, as it has not read the history."
    )
    history: list[ShownMetItem] = Field(description="What the person met, the latest first.")
    recommendations: list[RankedItem]
    among: int | None = Field(default=None, description="How many items there were to choose among, where it was less.")
    remarks: list[str] = Field(
        default=[],
        description="Sentences: which names no item has, what of a history does not count, and that a row tells "
        "nothing of the person.",
    )
    wish: str | None = Field(default=None, description="What was wished for.")
    wish_weight: float | None = Field(default=None, description="How much that weighed beside the person.")


class SimilarItems(ShownItem):
    """Items like another one."""

    run: str
    dataset: str
    by: str = Field(description="`graph`, `text` or `linear`.")
    row: str = Field(description="The row the scores come from.")
    score_is: str = Field(description="What a score is: a cosine or a weight.")
    among: int | None = Field(default=None, description="How many items meet the conditions, where there are some.")
    remarks: list[str] = Field(default=[], description="Sentences: why nothing is like it, and what else can be asked.")
    similar: list[RankedItem]


class FoundItems(BaseModel):
    """Items whose id or title has what was searched."""

    query: str
    items: list[ShownItem]


class ServedEvent(BaseModel):
    """An event of the log, by which an entry of a history may say that it was met."""

    event: str
    weight: float = Field(description="What a row of it counts for.")
    seen: bool = Field(description="Whether it keeps its item out of the answers.")


class Served(BaseModel):
    """What is served."""

    name: str
    dataset: str
    rows: list[str] = Field(description="Rows that answer, the served one first.")
    answered_by: str = Field(description="What the served row is made of.")
    interactions: int | None = Field(description="From how many interactions it answers; null where nobody knows.")
    newest: str | None = Field(description="The day of the newest of them.")
    trained: int | None = Field(description="On how many of them the parameters were trained.")
    evaluation: list[dict[str, Any]] = Field(description="How good each row is; empty where nobody measured it.")
    events: list[ServedEvent] = Field(description="Events by which items are met; empty where the log has none.")
    not_served: str | None = Field(
        default=None, description="Why a sum of terms whose validation figure is better does not answer."
    )


class State(BaseModel):
    """Whether it works."""

    status: str
