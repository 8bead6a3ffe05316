"""The API describes itself, without a warning, and the description is valid OpenAPI 3.1."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client
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
