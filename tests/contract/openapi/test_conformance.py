"""Every operation of the API answers as its OpenAPI document says: to good requests, to made-up and to broken ones."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.core.result import Ok

from support.openapi_client import OpenApiClient, Operation, load_schema
from support.openapi_world import SPARE_APP, STEPS, known_path

EXAMPLES = int(os.environ.get("OPENAPI_EXAMPLES", "6"))
"""How many requests each operation gets besides the good ones."""
# The same examples each time: what is red stays red, and the run stays short.
FEW = settings(
    derandomize=True, max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)

DIALECTS = ("*/*", "application/problem+json")
"""In which errors are told."""


def operations() -> list[str]:
    """The ids of all operations; those that destroy come last."""
    found = [result.ok() for result in load_schema().get_all_operations() if isinstance(result, Ok)]
    return [str(each.definition.raw["operationId"]) for each in sorted(found, key=lambda each: each.method == "delete")]


OPERATIONS = operations()


def cases(world: OpenApiClient, operation: Operation) -> st.SearchStrategy[Case[Any]]:
    """Requests as they should be and broken ones; most are about things that are there."""
    parameters = operation.definition.raw.get("parameters", [])
    places = {each.get("in", "header") for each in parameters}
    sound = [GenerationMode.POSITIVE]
    modes = [*sound, GenerationMode.NEGATIVE] if "query" in places or operation.body else sound
    anything = [operation.as_strategy(mode) for mode in modes]
    if "path" not in places:
        return st.one_of(anything)
    placeholders = [each["name"] for each in parameters if each.get("in") == "path"]
    known = known_path(operation.path, placeholders, world.names)
    if operation.definition.raw["operationId"] == "delete_app":
        known["app_id"] = SPARE_APP
    aimed = [operation.as_strategy(mode, path_parameters=known) for mode in modes]
    return st.one_of(*aimed * 4, *anything)


def test_there_is_a_good_request_to_every_operation() -> None:
    assert {step.operation for step in STEPS} == set(OPERATIONS)


async def test_good_requests_succeed_as_documented(world: OpenApiClient) -> None:
    assert set(world.names) >= {"known token", "pod", "job", "login", "fingerprint"}


@pytest.mark.parametrize("operation_id", OPERATIONS)
async def test_made_up_requests_are_answered_as_documented(world: OpenApiClient, operation_id: str) -> None:
    operation = world.schema.find_operation_by_id(operation_id)

    @FEW
    @given(cases(world, operation), st.sampled_from(DIALECTS))
    def send(case: Case[Any], accept: str) -> None:
        # A repeated key would answer all else, and so would made-up credentials.
        for name in ("Idempotency-Key", "Authorization"):
            case.headers.pop(name, None)
        world.send(case, Accept=accept)

    await asyncio.to_thread(send)
