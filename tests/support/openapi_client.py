"""Sends requests that are made from the OpenAPI document, and holds every answer against it (Schemathesis)."""

from __future__ import annotations

import json
from base64 import b85encode
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import requests
import schemathesis
from schemathesis import Case, Response
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.specs.openapi.schemas import OpenApiSchema

from controller.main import render_openapi
from support.controller_api import BUILDER_KEY, Api
from support.openapi_world import Names, Step, filled

Operation: TypeAlias = APIOperation[Any, Any, Any, Any]
MANAGER_KEYS: Final = ("access-of-the-tests", "secret-of-the-tests")
CHECKS: Final = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
"""What holds for every answer."""
schemathesis.serializer.alias("filer/octet-stream", "application/octet-stream")
_TIMEOUT_SECONDS: Final = 20.0
_SUPERUSERS_PATHS: Final = ("/v2/users", "/v2/audit")


def load_schema() -> OpenApiSchema:
    """The document that the controller publishes."""
    return schemathesis.openapi.from_dict(json.loads(render_openapi()), config=SchemathesisConfig())


@dataclass
class OpenApiClient:
    """Requests to a served controller. Not to be used in the event loop that the server runs in."""

    api: Api
    schema: OpenApiSchema
    names: Names = field(default_factory=dict)
    session: requests.Session = field(default_factory=requests.Session)

    def send(self, case: Case[Any], *, who: str | None = None, **headers: str) -> Response:
        """The answer, which is as documented.

        Raises:
            schemathesis.errors.CheckFailed: it is not.
        """
        assert self.api.address is not None
        self.session.cookies.clear()
        response = case.call(
            base_url=self.api.address.base_url,
            session=self.session,
            headers={**self._credentials(case.operation, who), **headers},
            allow_redirects=False,
            timeout=_TIMEOUT_SECONDS,
        )
        case.validate_response(response, checks=CHECKS)
        return response

    def take(self, step: Step) -> Response:
        """The answer to a good request."""
        operation = self.schema.find_operation_by_id(step.operation)
        facts: dict[str, Any] = {"path_parameters": filled(step.path, self.names)}
        facts["query"] = filled(step.query, self.names)
        if step.body is not None:
            facts |= {"body": filled(step.body, self.names), "media_type": _media_type(operation)}
        return self.send(operation.Case(**facts), who=step.who, **filled(step.headers, self.names))

    def _credentials(self, operation: Operation, who: str | None) -> dict[str, str]:
        """The headers of `who`, by default of somebody who may."""
        ways = operation.definition.raw["security"]
        scheme = next(iter(ways[0])) if ways else None
        if scheme is None:
            return {}
        if scheme == "builderKey":
            return {"X-Drycc-Builder-Auth": BUILDER_KEY}
        if scheme == "manager":
            return {"Authorization": f"token {b85encode(':'.join(MANAGER_KEYS).encode()).decode()}"}
        person = who or ("root" if operation.path.startswith(_SUPERUSERS_PATHS) else "ana")
        return {"Authorization": f"token {self.api.people[person].token}"}


def _media_type(operation: Operation) -> str:
    """The media type of the body that an operation takes."""
    return str(next(iter(operation.definition.raw["requestBody"]["content"])))
