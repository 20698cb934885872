"""Whatever is made up from the service's own description, fitting it or not, is answered or refused, never failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode


@pytest.mark.parametrize("each", [4, pytest.param(150, marks=pytest.mark.slow)], ids=["a few dozen", "a thousand"])
def test_no_request_has_the_service_fail(serve: Callable[..., Any], each: int) -> None:
    server = serve()
    schema = schemathesis.openapi.from_url(f"{server.address}/openapi.json", timeout=60)
    statuses = Counter[int]()
    for result in schema.get_all_operations():
        operation = result.ok()
        for mode in GenerationMode:
            cases = operation.as_strategy(generation_mode=mode)

            @settings(max_examples=each, deadline=None, database=None, suppress_health_check=list(HealthCheck))
            @given(case=cases)
            def ask(case: Any) -> None:
                answer = case.call(timeout=60)
                statuses[answer.status_code] += 1
                assert answer.status_code < 500, (case, answer.text)
                if answer.status_code >= 400:
                    assert set(answer.json()["error"]) == {"where", "what", "hint"}

            # Nothing about a request that says nothing can be wrong.
            with suppress(Unsatisfiable):
                ask()
    print(f"{statuses.total()} requests: {dict(statuses)}")
    assert statuses.total() >= 8 * each
    assert statuses[200]
    assert statuses[422]
    assert server.get("/v1/users/u7/recommendations").status_code == 200
    assert "error" not in "".join(server.err)
