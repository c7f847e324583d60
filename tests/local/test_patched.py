"""What of MiniStack the local cloud replaces or uses although it is private: an upgrade shows here what has moved."""

import ast
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

CLOUD = Path(__file__).resolve().parents[2] / "local" / "cloud"
# Replaced functions with the names of their parameters. What replaces them is called in their place.
REPLACED = {
    "ministack.app._handle_options_request": "method path headers query_params request_id",
    "ministack.core.iam_actions._lambda_action": "method path",
    "ministack.core.iam_actions.extract_resource_arn": (
        "service method path headers body query_params region account_id"
    ),
    "ministack.core.iam_evaluator.is_root_access_key": "access_key_id",
    "ministack.core.iam_evaluator.resolve_caller_identity": "access_key_id",
    "ministack.core.iam_evaluator.resolve_credential": "access_key_id account_id session_token",
    "ministack.core.lambda_runtime.execution_credentials": "config",
    "ministack.services.apigateway._invoke_lambda_proxy": (
        "integration api_id stage path method headers body query_params route_key path_params "
        "* authorizer_claims authorizer_scopes authorizer_lambda_context authorizer_iam owner_account_id "
        "owner_region raw_query_string"
    ),
    "ministack.services.apigateway._create_api": "data",
    "ministack.services.apigateway_v1._apply_patch": "obj patch_ops",
    "ministack.services.apigateway_v1._create_deployment": "api_id data",
    "ministack.services.apigateway_v1._build_lambda_event_v1": (
        "api_id stage_name stage resource request_path method headers body query_params path_params * "
        "binary_media_types authorizer_context caller_identity"
    ),
    "ministack.services.apigateway_v1._invoke_lambda_custom_v1": (
        "integration api_id stage_name stage resource request_path method headers body query_params "
        "path_params * owner_account_id owner_region binary_media_types authorizer_context "
        "caller_identity"
    ),
    "ministack.services.apigateway_v1._invoke_lambda_proxy_v1": (
        "integration api_id stage_name stage resource request_path method headers body query_params "
        "path_params * owner_account_id owner_region binary_media_types authorizer_context "
        "caller_identity"
    ),
    "ministack.services.apigateway_v1._lambda_proxy_response": "result",
    "ministack.services.apigateway_v1._method_throttle_settings": "stage resource_path http_method",
    "ministack.services.apigateway_v1._update_stage": "api_id stage_name data",
    "ministack.services.apigateway_v1.handle_request": "method path headers body query_params",
    "ministack.services.cloudwatch._describe_alarms": "params cbor_data is_cbor is_json",
    "ministack.services.ecr._batch_delete_image": "data",
    "ministack.services.ecr._list_images": "data",
    "ministack.services.eventbridge._dispatch_to_lambda": "arn payload",
    "ministack.services.lambda_svc._emit_lambda_logs": "func request_id log_text error duration_ms * log_source",
    "ministack.services.lambda_svc._execute_function_docker": "func event request_id",
    "ministack.services.lambda_svc._execute_function_with_config_scope": "func event",
    "ministack.services.lambda_svc._invoke_rie": "container event timeout request_id",
    "ministack.services.lambda_svc._spawn_lambda_container": "config code_zip _pin_platform",
    "ministack.services.lambda_svc._warm_pool_key": "func_name config",
    "ministack.services.lambda_svc.lambda_execute_result_to_api_proxy_response": "exec_result",
    "ministack.services.sns._deliver_to_lambda": (
        "endpoint envelope topic_arn sub_arn msg_id raw_message message_attributes"
    ),
    "ministack.services.sts._evict_expired_sessions": "",
}
# Replaced values, and functions under the names by which other modules import them.
OTHERS = {
    "ministack.app._EXECUTE_API_RE",
    "ministack.app._LAMBDA_URL_RE",
    "ministack.app.pin_signed_request",
    "ministack.services.apigateway_v1._resources",
    "ministack.services.lambda_svc.execution_credentials",
    "ministack.services.sts.is_root_access_key",
    "ministack.services.sts.resolve_credential",
}


def source(module: str) -> Path:
    """The file of a module; it is not imported, for it may be replaced in part already."""
    spec = find_spec("ministack")
    assert spec
    assert spec.origin
    return Path(spec.origin).parent.parent.joinpath(*module.split(".")).with_suffix(".py")


def modules(tree: ast.Module) -> dict[str, str]:
    """Names of a module that stand for modules of MiniStack."""
    return {
        alias.asname or alias.name: f"{statement.module}.{alias.name}"
        for statement in tree.body
        if isinstance(statement, ast.ImportFrom) and (statement.module or "").startswith("ministack")
        for alias in statement.names
        if source(f"{statement.module}.{alias.name}").exists()
    }


def used() -> Iterator[tuple[str, bool]]:
    """Each name of MiniStack's modules that is used here, and whether it is replaced."""
    for file in CLOUD.glob("*.py"):
        tree = ast.parse(file.read_text())
        known = modules(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in known:
                yield f"{known[node.value.id]}.{node.attr}", isinstance(node.ctx, ast.Store)


@cache
def definitions(module: str) -> dict[str, str | None]:
    """Names at the top of a module of MiniStack, with the parameters of functions."""
    found: dict[str, str | None] = {}
    for node in ast.walk(ast.parse(source(module).read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            given = node.args
            names = [
                *(one.arg for one in given.args),
                *(["*"] if given.kwonlyargs else []),
                *(one.arg for one in given.kwonlyargs),
            ]
            found[node.name] = " ".join(names)
        elif isinstance(node, ast.ClassDef):
            found[node.name] = None
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.setdefault(node.id, None)
        elif isinstance(node, ast.ImportFrom | ast.Import):
            found |= {alias.asname or alias.name: None for alias in node.names}
    return found


def test_what_is_replaced_is_listed() -> None:
    assert {name for name, is_replaced in used() if is_replaced} == REPLACED.keys() | OTHERS


@pytest.mark.parametrize("name", REPLACED)
def test_what_is_replaced_takes_the_same_parameters(name: str) -> None:
    module, _, function = name.rpartition(".")
    assert definitions(module)[function] == REPLACED[name]


@pytest.mark.parametrize("name", sorted({name for name, _ in used() if "._" in name}))
def test_what_is_private_is_still_there(name: str) -> None:
    module, _, own = name.rpartition(".")
    assert own in definitions(module)
