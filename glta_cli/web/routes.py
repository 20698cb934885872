"""The addresses under which the service is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Body, Depends, Path, Query, Request
from starlette.responses import Response

from glta_cli.answers.history_entries import Met
from glta_cli.answers.question import Question
from glta_cli.answers.run import Run
from glta_cli.web.asked import (
    Asked,
    Choosing,
    FoundItems,
    Id,
    MetItem,
    Recommendations,
    Served,
    SimilarItems,
    State,
)
from glta_cli.web.described import described
from glta_cli.web.limits import LONGEST_ID, MOST_CONDITIONS, MOST_ITEMS
from glta_cli.web.measures import CONTENT_TYPE
from glta_cli.web.refusals import Refusal
from glta_cli.web.service import Service

SEARCHED = 20
# Of people, and other after the next update.
NOT_KEPT = {"cache-control": "no-store"}


async def service_of(request: Request) -> Service:
    """What the app serves."""
    found: Service = request.app.state.service
    return found


Asks = Annotated[Service, Depends(service_of)]
Wanted = Annotated[int, Query(ge=1, le=MOST_ITEMS, description="How many items.")]
UserId = Annotated[
    str, Path(max_length=LONGEST_ID, description="A user's id, as in the source data.", examples=["42", "C-1029"])
]
ItemId = Annotated[
    str, Path(max_length=LONGEST_ID, description="An item's id, or its title.", examples=["A-653", "Alien (1979)"])
]


def _may_be(*statuses: int) -> dict[int | str, dict[str, Any]]:
    words = {
        401: "The token is missing, or is another one.",
        404: "There is no such user or item.",
        408: "The request did not come in time.",
        413: "The request is too long.",
        422: "Something about the request is wrong; the body says what.",
        503: "There is too much to do, or a new index is being opened; Retry-After says when to ask again.",
    }
    return {status: {"model": Refusal, "description": words[status]} for status in statuses}


def as_json(content: Any) -> Response:
    """An answer as JSON, without a look at its shape: what answers is our own."""
    return Response(orjson.dumps(content), headers=NOT_KEPT, media_type="application/json")


# ------------------------------------------------------------------------------------------------ what is asked

answering = APIRouter(prefix="/v1", responses=_may_be(401, 408, 413, 422, 503))


@answering.get(
    "/users/{user:path}/recommendations",
    summary="Items for a user",
    response_model=Recommendations,
    responses=_may_be(404),
)
async def for_user(service: Asks, user: UserId, chosen: Annotated[Choosing, Query()]) -> Response:
    """The best items for a user of the data, without those they have met."""
    question = question_of(chosen, user, None)
    only, without = await _listed(service, question.only, "only"), await _listed(service, question.without, "except")
    question = replace(question, only=only, without=without or ())
    return as_json(await service.recommend(question))


async def _listed(service: Service, names: tuple[str, ...] | None, location: str) -> tuple[str, ...] | None:
    """Items of an address: its one text may hold several names with commas between them."""
    if names is None or len(names) != 1 or "," not in names[0]:
        return names
    return await service.from_run(lambda run: run.names_listed(names[0], location))


@answering.post(
    "/recommendations",
    summary="Items for a user, or for a person who is in no file",
    response_model=Recommendations,
    responses=_may_be(404),
)
async def for_person(service: Asks, asked: Annotated[Asked, Body()]) -> Response:
    """The best items for a user of the data, or for somebody by what they met: ids or titles, the oldest first.

    An entry may name the event by which an item was met, as an object or as text, `A-653=purchase`: it then counts as
    such a row of the log does.

    Nothing that is sent is kept.
    """
    return as_json(await service.recommend(question_of(asked, asked.user, asked.history)))


@answering.get(
    "/items/{item:path}/similar", summary="Items like another", response_model=SimilarItems, responses=_may_be(404)
)
async def similar(
    service: Asks,
    item: ItemId,
    k: Wanted = 10,
    by: Annotated[str | None, Query(max_length=LONGEST_ID, description="`graph`, `text` or `linear`.")] = None,
    where: Annotated[
        list[Id],
        Query(max_length=MOST_CONDITIONS, description="Conditions on the items listed; all have to hold."),
    ] = [],  # noqa: B006 (FastAPI copies it)
) -> Response:
    """The items most like one, by its id or title, never itself."""
    return as_json(await service.from_run(lambda run: run.alike(item, k, by=by, where=where)))


@answering.get("/items", summary="Items by their words", response_model=FoundItems)
async def items(
    service: Asks,
    query: Annotated[str, Query(min_length=1, max_length=LONGEST_ID, examples=["alien"])],
    k: Wanted = SEARCHED,
) -> Response:
    """Items whose id or title has what is searched."""
    return as_json({"query": query, "items": await service.from_run(lambda run: found_items(run, query, k))})


@answering.get("/run", summary="What is served", response_model=Served)
async def run(service: Asks) -> Response:
    """The run, its rows, from how many interactions it answers and until which day, and how it was evaluated."""
    return as_json(await service.from_run(described))


def found_items(run: Run, query: str, k: int) -> list[dict[str, str]]:
    """Items whose id or title has each word of a query, those that begin with it first."""
    return [run.catalogue.shown(item) for item in run.catalogue.search(query, k)]


def question_of(chosen: Choosing, user: str | None, history: Sequence[MetItem | str] | None) -> Question:
    """A request as the question of whoever answers, who has the defaults."""
    said = {name: getattr(chosen, name) for name in chosen.model_fields_set - {"user", "history"}}
    given: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in said.items() if value is not None
    }
    met = (
        None
        if history is None
        else tuple(each if isinstance(each, str) else Met(each.item, each.event) for each in history)
    )
    return Question(user=user, history=met, **given)


# ------------------------------------------------------------------------------------------- how the service is

operating = APIRouter()


@operating.get("/health", summary="Whether the process works", response_model=State)
async def health() -> Response:
    """200 as long as the process answers."""
    return as_json({"status": "works"})


@operating.get("/ready", summary="Whether requests are wanted", response_model=State, responses={503: {"model": State}})
async def ready(service: Asks) -> Response:
    """200 as long as requests are wanted; 503 once the service is to stop."""
    if service.stopping:
        return Response(orjson.dumps({"status": "stopping"}), 503, media_type="application/json")
    return as_json({"status": "ready"})


@operating.get(
    "/metrics",
    summary="Figures for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}}, **_may_be(401)},
)
async def metrics(service: Asks) -> Response:
    """Requests, seconds, batches, refusals and updates in Prometheus' text format."""
    return Response(service.measures.text(), media_type=CONTENT_TYPE)
