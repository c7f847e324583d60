"""`docs/local-cloud.md` says what the code does: its numbers are those of the code."""

from pathlib import Path

import pytest
from ministack.services import lambda_svc

from local import workspace
from local.cloud import functions, gateway, guard, runtime

MEBIBYTE = 1024**2
PAGE = (Path(workspace.ROOT) / "docs" / "local-cloud.md").read_text()


@pytest.mark.parametrize(
    "said",
    [
        f"The default port is {workspace.DEFAULT_PORT}",
        f"REST API after {gateway.TIMEOUT_MS // 1000} seconds 504",
        f"HTTP API after {gateway.HTTP_TIMEOUT_MS // 1000} seconds 503",
        f"{runtime.INIT_SECONDS} more seconds for the first call",
        f"a start that takes more than {runtime.INIT_SECONDS} seconds",
        f"REST and HTTP API: {guard.CALL_BYTES // MEBIBYTE} MB",
        f"Invocation and function URL: {guard.URL_BYTES // MEBIBYTE} MB",
        f"events of asynchronous calls {functions.EVENT_BYTES // MEBIBYTE} MB",
        f"with its body in Base64: {runtime.PAYLOAD_BYTES // MEBIBYTE} MB",
        f"Answers of a function: {runtime.RESPONSE_BYTES // MEBIBYTE} MB",
        f"an error: {functions.URL_STATUS}; through an HTTP API: 500",
        f"kept warm for {lambda_svc._WARM_CONTAINER_TTL // 60} minutes",
    ],
)
def test_a_number_of_the_page_is_that_of_the_code(said: str) -> None:
    assert said in PAGE
