"""A function URL: who may call it, and when its address is known."""

import pytest

from tests.unit.conftest import Deploy
from tests.unit.recorder import DIGEST
from tests.unit.registered import Deployed, grants, lets

URL = "aws:lambda/functionUrl:FunctionUrl"
PERMISSION = "aws:lambda/permission:Permission"
FUNCTION = "arn:aws:lambda:us-east-1:222222222222:function:cross-account-function"
EXISTING = {"digest": DIGEST}
ANYONE = "arn:aws:iam::999999999999:role/anyone"


def with_url(deploy: Deploy, *, public: bool, release: bool = False, cors: str = "") -> Deployed:
    api = {"type": "url", "public": public, **({"corsOrigin": cors} if cors else {})}
    function = {"release": {"previousShare": 0}} if release else {"memory": 128}
    return deploy("consumer", image=EXISTING, api=api, function=function)


def test_anyone_may_call_a_public_url_through_the_url_only(deploy: Deploy) -> None:
    policy = grants(with_url(deploy, public=True))
    by_url = {"lambda:FunctionUrlAuthType": "NONE", "lambda:InvokedViaFunctionUrl": "true"}
    for action in ("lambda:InvokeFunctionUrl", "lambda:InvokeFunction"):
        assert lets(policy, action, FUNCTION, caller=ANYONE, keys=by_url)
        assert not lets(policy, action, FUNCTION, caller=ANYONE)
    # A caller of another account that invokes the function itself is not a caller of the URL.
    direct = {"lambda:InvokedViaFunctionUrl": "false"}
    assert not lets(policy, "lambda:InvokeFunction", FUNCTION, caller=ANYONE, keys=direct)
    signed = {"lambda:FunctionUrlAuthType": "AWS_IAM"}
    assert not lets(policy, "lambda:InvokeFunctionUrl", FUNCTION, caller=ANYONE, keys=signed)
    assert not lets(policy, "lambda:UpdateFunctionCode", FUNCTION, caller=ANYONE, keys=by_url)


def test_nobody_is_granted_a_private_url(deploy: Deploy) -> None:
    done = with_url(deploy, public=False)
    assert not done.of(PERMISSION)
    assert done.one(URL).inputs == {"authorizationType": "AWS_IAM", "functionName": "cross-account-function"}


def test_a_public_url_asks_for_no_signature(deploy: Deploy) -> None:
    done = with_url(deploy, public=True)
    assert done.one(URL).inputs == {"authorizationType": "NONE", "functionName": "cross-account-function"}
    assert {one.inputs["function"] for one in done.of(PERMISSION)} == {"cross-account-function"}
    assert not any("qualifier" in one.inputs for one in done.of(PERMISSION))
    # The provider adds the statements with these IDs that are missing, and never removes them.
    ids = {one.inputs["statementId"] for one in done.of(PERMISSION)}
    assert ids == {"FunctionURLAllowPublicAccess", "FunctionURLAllowInvokeAction"}


def test_with_a_release_the_url_and_its_grants_are_of_the_alias(deploy: Deploy) -> None:
    done = with_url(deploy, public=True, release=True)
    assert done.one(URL).inputs["qualifier"] == "live"
    assert [one.inputs["qualifier"] for one in done.of(PERMISSION)] == ["live", "live"]


def test_pages_of_the_origin_may_call_it(deploy: Deploy) -> None:
    done = with_url(deploy, public=True, cors="https://example.com")
    assert done.one(URL).inputs["cors"] == {"allowOrigins": ["https://example.com"]}


def test_its_address_is_known_once_it_may_be_called(deploy: Deploy) -> None:
    api = {"type": "url", "public": True}
    for missing in (URL, PERMISSION):
        assert "endpointUrl" in deploy("consumer", image=EXISTING, api=api, unknown={missing}).unknown
    assert with_url(deploy, public=True).outputs["endpointUrl"] == "https://url.lambda-url.us-east-1.on.aws/"


@pytest.mark.parametrize("public", [True, False])
def test_it_takes_the_place_of_the_api(deploy: Deploy, public: bool) -> None:
    done = with_url(deploy, public=public)
    assert not [one for one in done.resources if "apigateway" in one.type or "FunctionApi" in one.type]
    assert done.outputs["apiKey"] is None
