"""API Gateway of the local cloud takes patch operations as AWS does.

https://docs.aws.amazon.com/apigateway/latest/api/patch-operations.html
"""

from typing import Any

import pytest
from ministack.services import apigateway_v1

from local.cloud import patch_operations


@pytest.fixture(autouse=True)
def applied(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_apply_patch", "_method_throttle_settings"):
        monkeypatch.setattr(apigateway_v1, name, getattr(apigateway_v1, name))
    patch_operations.apply()


@pytest.mark.parametrize(
    ("before", "operation", "after"),
    [
        ({}, ("replace", "/timeoutInMillis", "5000"), {"timeoutInMillis": 5000}),
        ({}, ("replace", "/apiKeyRequired", "false"), {"apiKeyRequired": False}),
        (
            {"requestTemplates": {"text/html": "x"}},
            ("add", "/requestTemplates/application~1json", "{}"),
            {"requestTemplates": {"text/html": "x", "application/json": "{}"}},
        ),
        (
            {"requestTemplates": {"application/json": "{}"}},
            ("remove", "/requestTemplates/application~1json", None),
            {"requestTemplates": {}},
        ),
        ({"apiStages": []}, ("add", "/apiStages", "a:Prod"), {"apiStages": [{"apiId": "a", "stage": "Prod"}]}),
        (
            {"apiStages": [{"apiId": "a", "stage": "Prod"}, {"apiId": "b", "stage": "Prod"}]},
            ("remove", "/apiStages", "a:Prod"),
            {"apiStages": [{"apiId": "b", "stage": "Prod"}]},
        ),
        (
            {"binaryMediaTypes": ["image/png"]},
            ("add", "/binaryMediaTypes/application~1*", None),
            {"binaryMediaTypes": ["image/png", "application/*"]},
        ),
        (
            {"binaryMediaTypes": ["image/png", "a/b"]},
            ("remove", "/binaryMediaTypes/image~1png", None),
            {"binaryMediaTypes": ["a/b"]},
        ),
        ({}, ("replace", "/minimumCompressionSize", "1024"), {"minimumCompressionSize": 1024}),
        ({"name": "old"}, ("replace", "/name", "new"), {"name": "new"}),
    ],
)
def test_a_patch_is_carried_out(before: Any, operation: tuple[str, str, str | None], after: Any) -> None:
    op, path, value = operation
    assert apigateway_v1._apply_patch(before, [{"op": op, "path": path, "value": value}]) == after


@pytest.mark.parametrize(("rate", "limited"), [(5.0, True), (-1.0, False)])
def test_minus_one_is_no_limit(rate: float, limited: bool) -> None:
    stage = {"methodSettings": {"*/*": {"throttlingRateLimit": rate, "throttlingBurstLimit": int(rate)}}}
    assert (apigateway_v1._method_throttle_settings(stage, "/hello", "GET") is not None) == limited
