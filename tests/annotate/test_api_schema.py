"""The API describes itself, without a warning, and the description is valid OpenAPI 3.1."""

from __future__ import annotations

import json
import re
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import resolve
from drf_spectacular.drainage import GENERATOR_STATS
from openapi_spec_validator import OpenAPIV31SpecValidator

JSON = {"Accept": "application/vnd.oai.openapi+json"}


@pytest.fixture
def schema(db: None) -> Any:
    GENERATOR_STATS.reset()
    return json.loads(Client().get("/api/v1/schema/", headers=JSON).content)


def test_it_is_valid_openapi_3_1(schema: Any) -> None:
    assert schema["openapi"].startswith("3.1")
    OpenAPIV31SpecValidator(schema).validate()


def test_it_is_generated_without_a_warning(schema: Any) -> None:
    assert not GENERATOR_STATS._warn_cache
    assert not GENERATOR_STATS._error_cache


def test_every_operation_has_its_own_name_and_says_what_it_needs(schema: Any) -> None:
    operations = [operation for path in schema["paths"].values() for operation in path.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(names) == len(set(names))
    assert all("Needs scope" in operation["description"] for operation in operations)
    assert all("4XX" in operation["responses"] for operation in operations)


def test_lists_are_pages(schema: Any) -> None:
    answers = schema["paths"]["/api/v1/projects/{project}/tasks/"]["get"]["responses"]["200"]
    page = schema["components"]["schemas"][answers["content"]["application/json"]["schema"]["$ref"].split("/")[-1]]
    assert set(page["properties"]) == {"next", "previous", "results"}


def test_it_is_served_without_a_token(schema: Any) -> None:
    assert "/api/v1/projects/" in schema["paths"]


def test_what_is_described_is_what_is_accepted(schema: Any) -> None:
    """A described query parameter is known to its view, and the other way round; bodies are closed."""
    for path, operations in schema["paths"].items():
        view = resolve(re.sub(r"{\w+}", str(uuid4()), path)).func.view_class()
        for method, operation in operations.items():
            described = {one["name"] for one in operation.get("parameters", []) if one["in"] == "query"}
            assert described == view.known_query(method.upper()), f"{method} {path}"
            for content in operation.get("requestBody", {}).get("content", {}).values():
                name = content["schema"].get("$ref", "").rpartition("/")[2]
                assert not name or schema["components"]["schemas"][name]["additionalProperties"] is False
