"""Requests that are refused, and those that fail: where, what, hint, as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from glta_cli.core.errors import BusyError, GltaError, InputError, InputErrors, did_you_mean, one_line
from glta_cli.core.printable import bounded, visible
from glta_cli.core.terminal import say
from glta_cli.web.asked import ENTRY_KINDS, names_in_entry

RETRY_SECONDS: Final = 1
# Locations of errors that mean: there is no such thing, and no other way to ask would find it.
NOT_FOUND: Final = frozenset({"user", "item"})
MOST_TOLD: Final = 20
LONGEST_SHOWN: Final = 200


class Problem(BaseModel):
    """What is wrong with a request."""

    where: str | None = Field(description="The part of the request it is about; null where that is all of it.")
    what: str = Field(description="What is wrong.")
    hint: str | None = Field(description="What to do about it.")


class Refusal(BaseModel):
    """The body of every answer that is none."""

    error: Problem
    also: list[Problem] = Field(default=[], description="Further problems of the same request.")

    model_config = {
        "json_schema_extra": {
            "examples": [
                {
                    "error": {
                        "where": "user",
                        "what": "no user is called 'C-1092' in run shop (dataset shop); there are 3,120 users",
                        "hint": "the nearest ids are C-1029, C-1093",
                    }
                }
            ]
        }
    }


class RefusedError(Exception):
    """A request that is refused by the service itself."""

    def __init__(self, status: int, problem: Problem, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(problem.what)
        self.status = status
        self.problem = problem
        self.headers = headers


def refused(
    status: int, where: str | None, what: str, hint: str | None, headers: Mapping[str, str] | None = None
) -> RefusedError:
    """The error of a request that is refused."""
    return RefusedError(status, Problem(where=where, what=what, hint=hint), headers)


def busy(what: str, where: str | None = None) -> RefusedError:
    """The error of a request that comes when there is too much to do."""
    hint = f"ask again in {RETRY_SECONDS} second, as Retry-After says"
    return refused(503, where, what, hint, {"retry-after": str(RETRY_SECONDS)})


def response(status: int, problems: Sequence[Problem], headers: Mapping[str, str] | None = None) -> Response:
    """Problems as the body of an answer: in ASCII, since what is wrong may be that something is no text."""
    content: dict[str, Any] = {"error": problems[0].model_dump()}
    if len(problems) > 1:
        content["also"] = [problem.model_dump() for problem in problems[1:MOST_TOLD]]
    return Response(json.dumps(content), status, headers, media_type="application/json")


def response_to(error: RefusedError) -> Response:
    """A refusal as an answer."""
    return response(error.status, [error.problem], error.headers)


# ------------------------------------------------------------------------------------------ errors of what answers


def problem_of(error: GltaError, root: Path) -> Problem:
    """An error as a caller may read it: options as the parts of a request, and no paths of this machine.

    Args:
        root: the folder of the runs, about which a caller is told nothing.
    """
    where = None if error.location is None or str(root) in error.location else _part(error.location)
    kept = [part for part in (error.hint or "").split("; ") if part and str(root) not in part]
    what = one_line(error.problem).replace(str(root), "the data folder")
    return Problem(where=where, what=what, hint="; ".join(kept) or None)


def _part(location: str) -> str:
    """The part of a request for what the command line calls so, such as `include_seen` for `--include-seen`."""
    if location == "without":
        return "except"
    return location.lstrip("-").replace("-", "_") if location.startswith("-") else location


def answer_to(error: GltaError, root: Path, *, renewed: bool = False) -> Response:
    """404 for a user or an item there is not, 422 for what else is wrong with a request, 503 and 500 for what is not
    the caller's doing.

    Args:
        renewed: whether the run was published anew and what answers is about to be replaced, of which parts may be
            gone: whoever asks again is answered.
    """
    errors = error.errors if isinstance(error, InputErrors) else [error]
    problems = [problem_of(each, root) for each in errors]
    if isinstance(error, InputError):
        return response(404 if problems[0].where in NOT_FOUND else 422, problems)
    if isinstance(error, BusyError):
        return response(503, problems, {"retry-after": str(RETRY_SECONDS)})
    if renewed:
        return response_to(busy("the run was published anew, and its index is being opened", "run"))
    _log(str(error))
    return response(500, problems)


def _log(text: str) -> None:
    from rich.markup import escape

    say(f"[red]error[/]: {escape(text)}")


# ------------------------------------------------------------------------------------------------ errors of shape


def _shape_problem(detail: Mapping[str, Any], known: Sequence[str]) -> Problem:
    """One error of pydantic in words."""
    place = _place_of(detail["loc"])
    where = ".".join(place) or str(detail["loc"][0])
    match detail["type"]:
        case "extra_forbidden":
            known = known if len(place) == 1 else names_in_entry()
            hint = did_you_mean(place[-1], known) or f"known are {', '.join(known)}"
            return Problem(where=where, what="there is no such setting", hint=hint)
        case "missing":
            return Problem(where=where, what="it is missing", hint=None)
        case "json_invalid":
            reason = detail.get("ctx", {}).get("error", "")
            return Problem(where="body", what=f"it is no JSON from character {place[-1]} on: {reason}", hint=None)
        case "list_type" if isinstance(detail["input"], str):
            hint = f"a list: {json.dumps([visible(bounded(detail['input'], LONGEST_SHOWN))])}"
            return Problem(where=where, what="one text is no valid list", hint=hint)
        case "value_error":
            return Problem(where=where, what=str(detail["ctx"]["error"]), hint=None)
        case _:
            text = str(detail["msg"])
            return Problem(where=where, what=text[:1].lower() + text[1:], hint=None)


def _place_of(location: Sequence[str | int]) -> list[str]:
    """The names and numbers that lead to what is wrong, as the request has them.

    In front stands in which part of the request it is, and behind the number of an entry, such as `history.0`, as what
    it was read. A caller may call a setting like either.
    """
    of_part = 1 if location[:1] in (("body",), ("query",), ("path",)) else 0
    place = list(location[of_part:])
    if len(place) > 2 and isinstance(place[1], int) and place[2] in ENTRY_KINDS:
        del place[2]
    return [str(part) for part in place]


def answer_about_errors(app: FastAPI, root: Path, known: Sequence[str]) -> None:
    """Have every error of the app answered as JSON of where, what and hint.

    Args:
        root: the folder of the runs.
        known: what a request may say, for hints.
    """

    @app.exception_handler(RefusedError)
    async def _refused(request: Request, error: RefusedError) -> Response:
        return response_to(error)

    @app.exception_handler(GltaError)
    async def _told(request: Request, error: GltaError) -> Response:
        return answer_to(error, root, renewed=request.app.state.service.live.renewed)

    @app.exception_handler(RequestValidationError)
    async def _shape(request: Request, error: RequestValidationError) -> Response:
        return response(422, [_shape_problem(detail, known) for detail in error.errors()])

    @app.exception_handler(HTTPException)
    async def _no_route(request: Request, error: HTTPException) -> Response:
        problem = _missing_route(app, request) if error.status_code == 404 else None
        if problem is None:
            what = f"{request.method} is no method of it" if error.status_code == 405 else str(error.detail)
            problem = Problem(where=request.url.path, what=what, hint=_allowed(error))
        return response(error.status_code, [problem], error.headers)

    @app.exception_handler(Exception)
    async def _unforeseen(request: Request, error: Exception) -> Response:
        # uvicorn logs it, with what led to it.
        problem = Problem(
            where=None, what="the service failed", hint="what happened stands in the output of glta serve"
        )
        return response(500, [problem])


def _allowed(error: HTTPException) -> str | None:
    allowed = (error.headers or {}).get("Allow")
    return f"ask with {allowed}" if allowed else None


def _missing_route(app: FastAPI, request: Request) -> Problem:
    paths = list(app.openapi()["paths"])
    close = get_close_matches(request.url.path, paths, n=1)
    hint = f"did you mean {close[0]}?" if close else "/openapi.json says what there is"
    return Problem(where=request.url.path, what="nothing is there", hint=hint)
