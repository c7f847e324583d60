"""The pull-request comment says what matters first, the same everywhere, and never a secret."""

import json
from pathlib import Path
from typing import Any

import pytest

from components.iam import compact
from components.repository import Consumer, repository_policy
from deployment import BLINDED, UNKNOWN, BuildError, Diagnostic, StackResult, Step
from deployment.comment import LIMIT, MARKER, POLICY, comment
from deployment.content_diff import IMAGE, ContentDiff

FUNCTION = "aws:lambda/function:Function"
LIFECYCLE = "aws:ecr/lifecyclePolicy:LifecyclePolicy"
LOGS = "aws:cloudwatch/logGroup:LogGroup"
ROLE = "aws:iam/role:Role"
STACK = "pulumi:pulumi:Stack"
V1, V2 = "aws:apigateway", "aws:apigatewayv2"
METHOD, ROUTE = f"{V1}/method:Method", f"{V2}/route:Route"
MAPPING = "aws:lambda/eventSourceMapping:EventSourceMapping"


def step(operation: str, kind: str, name: str = "one", **values: Any) -> Step:
    urn = f"urn:pulumi:consumer::cross-account-ecr::{kind}::{name}"
    return Step(stack="consumer", urn=urn, operation=operation, state="planned", **values)


def result(*steps: Step, stack: str = "consumer", lines: tuple[Diagnostic, ...] = ()) -> StackResult:
    return StackResult(stack=stack, operation="preview", steps=steps, diagnostics=lines, seconds=1, log=Path("log"))


def policy(account: str) -> str:
    pull = ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    root, functions = f"arn:aws:iam::{account}:root", f"arn:aws:lambda:us-east-1:{account}:function:*"
    return json.dumps(
        {
            "Statement": [
                {"Sid": "One", "Effect": "Allow", "Action": pull, "Principal": {"AWS": root}},
                {
                    "Sid": "Two",
                    "Effect": "Allow",
                    "Action": pull,
                    "Principal": {"Service": "lambda.amazonaws.com"},
                    "Condition": {"StringLike": {"aws:sourceArn": functions}},
                },
            ]
        }
    )


CHANGES = result(
    step("update", POLICY, old={"policy": policy("222222222222")}, new={"policy": policy("333333333333")}),
    step("delete", LIFECYCLE),
    step("update", FUNCTION, old={"memorySize": 128}, new={"memorySize": 256}, changed=("imageUri", "memorySize")),
    step("create", ROLE),
    step("same", LOGS),
    step("delete", IMAGE, "function-image-1"),
    step("create", IMAGE, "function-image-2"),
    step("create", "pulumi:providers:docker"),
    step("same", STACK, old={"imageTag": "content-1"}, new={"imageTag": "content-2", "imageSource": "built"}),
)
DIFF = ContentDiff(context="app", files=3, base="0123456789ab", same_as_running=True, changed=("app.py",), added=("b",))

GOLDEN = f"""\
{MARKER}
### Preview

| stack | delete | replace | update | create | unchanged |
| --- | --- | --- | --- | --- | --- |
| `consumer` | 1 |  | 2 | 1 | 1 |

#### Review first

| stack | resource | change | means |
| --- | --- | --- | --- |
| `consumer` | `{LIFECYCLE}` `one` | **delete** | images are kept for ever, or deleted by other rules |
| `consumer` | `{FUNCTION}` `one` | `memorySize` `128` → `256` | [billed](https://aws.amazon.com/lambda/pricing/) |

#### Who may use the images

- account 222222222222 may no longer pull
- account 333333333333 may now pull, by any principal that the account allows, for functions `*`

After the update:

| account | Lambda pulls for functions | may deploy them |
| --- | --- | --- |
| 333333333333 | `*` | any principal that the account allows |

#### Image of `consumer`

`content-1` → `content-2`, which is built by the update.

Built from `app`, 3 files. What differs from `0123456789ab`, which is what runs now:

- + `b`
- ~ `app.py`

<details><summary><b>consumer</b>: delete 1</summary>

| type | name | properties |
| --- | --- | --- |
| `{LIFECYCLE}` | `one` |  |
</details>

<details><summary><b>consumer</b>: update 2</summary>

| type | name | properties |
| --- | --- | --- |
| `{POLICY}` | `one` |  |
| `{FUNCTION}` | `one` | `imageUri`, `memorySize` |
</details>

<details><summary><b>consumer</b>: create 1</summary>

| type | name | properties |
| --- | --- | --- |
| `{ROLE}` | `one` |  |
</details>
"""


def test_losses_and_costs_come_first_then_who_may_pull_then_the_image_then_the_rest() -> None:
    assert comment({"consumer": CHANGES}, {"consumer": DIFF}) == GOLDEN


def test_the_order_in_which_the_engine_worked_does_not_matter() -> None:
    shuffled = result(*reversed(CHANGES.steps))
    assert comment({"consumer": shuffled}, {"consumer": DIFF}) == GOLDEN


def test_no_value_that_could_be_a_secret_is_shown() -> None:
    old = {"environment": {"variables": {"PASSWORD": "hunter2"}}, "description": "hunter3"}
    new = {"environment": {"variables": {"PASSWORD": "hunter4"}}, "description": "hunter5", "memorySize": "hunter 6"}
    changed = ("description", "environment.variables.PASSWORD", "memorySize")
    text = comment({"consumer": result(step("update", FUNCTION, old=old, new=new, changed=changed))}, {})
    assert "hunter" not in text
    assert "`environment.variables.PASSWORD`" in text


def test_environment_variables_that_come_go_or_change_are_named() -> None:
    old = {"environment": {"variables": {"KEPT": "a", "CHANGED": "hunter2", "GONE": "hunter3", "SECRET": BLINDED}}}
    new = {"environment": {"variables": {"KEPT": "a", "CHANGED": "hunter4", "NEW": "hunter5", "SECRET": BLINDED}}}
    changed = ("environment.variables.CHANGED", "environment.variables.SECRET", 'environment.variables["GONE"]')
    text = comment({"consumer": result(step("update", FUNCTION, old=old, new=new, changed=changed))}, {})
    shown = "new `NEW`; removed `GONE`; changed `CHANGED`, `SECRET`"
    assert f"| `{FUNCTION}` `one` | {shown} | environment variables; values are not shown |" in text
    assert "hunter" not in text


def test_an_environment_that_is_a_secret_as_a_whole_names_no_variable() -> None:
    old, new = {"environment": {"variables": {"A": "1"}}}, {"environment": BLINDED}
    secret = step("update", FUNCTION, old=new, new=new, changed=("environment",))
    assert "environment variables" not in comment({"consumer": result(secret)}, {})
    revealed = step("update", FUNCTION, old=new, new=old, changed=("environment",))
    assert "new `A`" in comment({"consumer": result(revealed)}, {})


def test_alarms_are_one_line() -> None:
    kind = "aws:cloudwatch/metricAlarm:MetricAlarm"
    steps = [step("create", kind, name) for name in ("errors", "throttles")]
    text = comment({"consumer": result(*steps)}, {})
    assert f"| `{kind}` `errors`, `throttles` | create | [billed](https://aws.amazon.com/cloudwatch/pricing/) |" in text


@pytest.mark.parametrize("is_pull_request", [True, False])
def test_in_a_workflow_the_commits_are_links(tmp_path: Path, is_pull_request: bool) -> None:
    sha = "f" * 40
    event = tmp_path / "event.json"
    event.write_text(json.dumps({"pull_request": {"head": {"sha": sha}}} if is_pull_request else {}))
    environment = {
        "GITHUB_SERVER_URL": "https://github.com",
        "GITHUB_REPOSITORY": "OWNER/NAME",
        "GITHUB_SHA": "0" * 40 if is_pull_request else sha,
        "GITHUB_EVENT_PATH": str(event),
    }
    text = comment({"consumer": CHANGES}, {"consumer": DIFF}, environment=environment)
    where = "https://github.com/OWNER/NAME/commit"
    assert text.startswith(f"{MARKER}\n### Preview of [`ffffffffffff`]({where}/{sha})\n")
    assert f"What differs from [`0123456789ab`]({where}/0123456789ab), which" in text


def test_a_value_that_only_the_update_knows_is_labelled() -> None:
    changed = step("update", FUNCTION, old={"memorySize": 128}, new={"memorySize": UNKNOWN}, changed=("memorySize",))
    assert "`memorySize` `128` → known later" in comment({"consumer": result(changed)}, {})


def test_a_replacement_names_the_properties_that_force_it() -> None:
    text = comment({"consumer": result(step("replace", LOGS, changed=("name",), forcing=("name",)))}, {})
    assert f"| `{LOGS}` `one` | **replace** for `name` | its log lines are lost |" in text


def test_a_preview_of_after_the_registrys_update_says_so() -> None:
    said = "Update the registry first. The planned update of the stack registry allows account 333333333333 to use it."
    line = Diagnostic(stack="consumer", severity="warning", text=said)
    registry, after = result(step("create", ROLE), stack="registry"), result(step("create", FUNCTION), lines=(line,))
    text = comment({"registry": registry, "consumer": after, "other": result(stack="other")}, {})
    assert "| `registry` |  |  |  | 1 | 0 |\n| `consumer`, after the registry |  |  |  | 1 | 0 |\n| `other` |" in text
    assert said in text


def test_the_registrys_own_account_is_told_as_a_consumer() -> None:
    consumers = [Consumer(account="111111111111"), Consumer(account="222222222222")]
    new = compact(repository_policy(consumers, "us-east-1", owner="111111111111"))
    changed = step("update", POLICY, old={"policy": policy("222222222222")}, new={"policy": new})
    outputs = step("update", STACK, new={"registryId": "111111111111"})
    text = comment({"registry": result(changed, outputs, stack="registry")}, {})
    assert "- account 111111111111 may now pull, by any principal that the account allows, for functions `*`" in text
    assert "| 111111111111 | `*` | any principal that the account allows |\n| 222222222222 | `*` |" in text
    assert "half of the grant" not in text


def test_what_is_kept_in_the_account_is_not_called_lost() -> None:
    kept = step("delete", "aws:ecr/repository:Repository", retained=True)
    text = comment({"registry": result(kept, stack="registry")}, {})
    assert "stays in the account, unmanaged" in text
    assert "its images are lost" not in text


def test_a_stack_that_fails_is_told_with_its_hint_beside_those_that_do_not() -> None:
    error = BuildError("no Docker here\n```", stack="consumer", hint="Start Docker.")
    text = comment({"registry": result(step("create", ROLE), stack="registry"), "consumer": error}, {})
    assert "| `registry` |  |  |  | 1 | 0 |\n| `consumer` |  |  |  |  | failed |" in text
    assert "#### `consumer` could not be previewed\n\n````text\nno Docker here\n```\n````\n\nStart Docker." in text


def test_nothing_to_do_is_said_in_one_line() -> None:
    assert comment({"consumer": result(step("same", ROLE))}, {}).endswith("\n\nNothing changes.\n")


def test_markup_in_names_stays_text() -> None:
    text = comment({"consumer": result(step("create", ROLE, "`|</details>@everyone"))}, {})
    assert "`'¦</details>@everyone`" in text


def test_warnings_of_the_program_are_shown_and_those_of_the_machine_are_not() -> None:
    lines = (
        Diagnostic(stack="consumer", urn="", severity="warning", text="using a plugin from /home/me"),
        Diagnostic(stack="consumer", urn="urn:a::b::c::d", severity="warning", text="the image is gone"),
    )
    text = comment({"consumer": result(step("create", ROLE), lines=lines)}, {})
    assert "the image is gone" in text
    assert "/home/me" not in text


@pytest.mark.parametrize("count", [100, 2000])
def test_a_long_comment_omits_the_least_important_parts_and_lists_them(count: int) -> None:
    many = [step("create", ROLE, f"{'role' * 10}-{number}") for number in range(count)]
    text = comment({"consumer": result(*CHANGES.steps, *many)}, {"consumer": DIFF})
    assert len(text) <= LIMIT
    assert "account 222222222222 may no longer pull" in text
    assert ("Left out" in text) == (count == 2000)
    assert ("`consumer`: create 2001." in text) == (count == 2000)


def test_secrets_that_the_engine_has_blinded_stay_so() -> None:
    step_ = step("update", FUNCTION, old={"memorySize": BLINDED}, new={"memorySize": BLINDED}, changed=("memorySize",))
    assert "`memorySize` another → another" in comment({"consumer": result(step_)}, {})


WIDE = {"Sid": "Wide", "Effect": "Allow", "Principal": "*", "Action": "ecr:*", "Condition": {"Bool": {"a:b": "```"}}}


def test_a_statement_that_no_sentence_tells_is_on_top_as_it_is_and_once_for_all_regions() -> None:
    after = json.dumps({"Statement": [WIDE]})
    steps = [step("create", POLICY, name, new={"policy": after}) for name in ("one", "two")]
    text = comment({"registry": result(*steps, step("delete", LIFECYCLE), stack="registry")}, {})
    shown = f"new in `registry`:\n\n````text\n{json.dumps(WIDE)}\n````"
    assert text.count(shown) == 1
    assert text.index(shown) < text.index("#### Review first")


def test_a_statement_that_no_sentence_tells_is_there_in_the_longest_comment() -> None:
    many = [step("create", ROLE, f"{'role' * 10}-{number}") for number in range(2000)]
    new = {"policy": json.dumps({"Statement": [WIDE]})}
    text = comment({"registry": result(step("update", POLICY, new=new), *many, stack="registry")}, {})
    assert "Left out" in text
    assert json.dumps(WIDE) in text


def test_a_statement_that_stays_as_it_was_is_not_shown() -> None:
    kept = json.dumps({"Statement": [WIDE]})
    added = json.dumps({"Statement": [WIDE, *json.loads(policy("222222222222"))["Statement"]]})
    update = step("update", POLICY, old={"policy": kept}, new={"policy": added})
    assert json.dumps(WIDE) not in comment({"registry": result(update, stack="registry")}, {})


def test_a_policy_that_stays_in_the_account_is_not_called_gone() -> None:
    kept = step("delete", POLICY, old={"policy": policy("222222222222")}, retained=True)
    text = comment({"registry": result(kept, stack="registry")}, {})
    assert "- `one` stays in the account as it is, unmanaged" in text
    assert "222222222222" not in text


def test_a_policy_that_is_deleted_takes_its_grants_away() -> None:
    gone = step("delete", POLICY, old={"policy": policy("222222222222")})
    assert "- account 222222222222 may no longer pull" in comment({"registry": result(gone, stack="registry")}, {})


@pytest.mark.parametrize("operation", ["create", "delete"])
def test_what_is_billed_for_being_there_is_said(operation: str) -> None:
    kind = "aws:lambda/provisionedConcurrencyConfig:ProvisionedConcurrencyConfig"
    text = comment({"consumer": result(step(operation, kind))}, {})
    assert f"| `consumer` | `{kind}` `one` | {operation} | [billed](https://aws.amazon.com/lambda/pricing/) |" in text


@pytest.mark.parametrize(
    ("kind", "name", "old", "new", "shown"),
    [
        ("aws:lambda/functionUrl:FunctionUrl", "authorizationType", "AWS_IAM", "NONE", "`AWS_IAM` → `NONE` | who may"),
        (METHOD, "apiKeyRequired", True, False, "`True` → `False` | who may call it"),
        (METHOD, "authorization", "CUSTOM", "NONE", "`CUSTOM` → `NONE` | who may call it"),
        (f"{V1}/authorizer:Authorizer", "authorizerUri", "arn:a", "arn:b", "another → another | who may call it"),
        (f"{V1}/authorizer:Authorizer", "providerArns", ["arn:a"], ["arn:b"], "another → another | who may call it"),
        (ROUTE, "authorizationType", "JWT", "NONE", "`JWT` → `NONE` | who may call it"),
        (
            f"{V2}/authorizer:Authorizer",
            "jwtConfiguration",
            {"issuer": "a", "audiences": ["a"]},
            None,
            "another → none",
        ),
        (MAPPING, "functionResponseTypes", ["ReportBatchItemFailures"], None, "none | which messages are read again"),
        ("aws:scheduler/schedule:Schedule", "scheduleExpression", "rate(1 day)", "rate(1 hour)", "| when the function"),
        ("aws:sns/topicSubscription:TopicSubscription", "filterPolicy", "{}", None, "another → none | other messages"),
        ("aws:cloudwatch/eventRule:EventRule", "eventPattern", "{}", "[]", "another → another | other events call"),
        (FUNCTION, "architectures", ["x86_64"], ["arm64"], "`x86_64` → `arm64` | [billed]("),
        (FUNCTION, "architectures", ["a b"], [1], "another → another | [billed]("),
        (FUNCTION, "ephemeralStorage", {"size": 512}, {"size": 1024}, "`512` → `1024` | [billed]("),
        (FUNCTION, "tracingConfig", None, {"mode": "Active"}, "none → `Active` | [billed]("),
        (FUNCTION, "tracingConfig", {"a": 1, "b": 2}, None, "another → none | [billed]("),
        (FUNCTION, "reservedConcurrentExecutions", 10, 0, "`10` → `0` | taken from the account's pool; 0 stops it"),
        (LOGS, "retentionInDays", 90.5, 30, "`90.5` → `30` | lines older than that are deleted"),
    ],
)
def test_a_change_to_review_shows_the_old_and_the_new_value(
    kind: str, name: str, old: Any, new: Any, shown: str
) -> None:
    changed = step("update", kind, old={name: old}, new={name: new}, changed=(f"{name}.part[0]",))
    (row,) = (line for line in comment({"consumer": result(changed)}, {}).splitlines() if f"| `{name}` " in line)
    assert shown in row


@pytest.mark.parametrize(
    ("kind", "lost"),
    [
        (METHOD, "callers of the route get no answer"),
        (ROUTE, "callers of the route get no answer"),
        (f"{V1}/basePathMapping:BasePathMapping", "callers of the domain get no answer"),
        (f"{V2}/apiMapping:ApiMapping", "callers of the domain get no answer"),
        (MAPPING, "messages wait in the queue"),
        ("aws:cloudwatch/eventTarget:EventTarget", "events that call no function are lost"),
    ],
)
def test_a_route_a_domain_and_a_trigger_that_are_removed_are_losses(kind: str, lost: str) -> None:
    assert f"| `{kind}` `one` | **delete** | {lost} |" in comment({"consumer": result(step("delete", kind))}, {})


def test_a_method_that_is_replaced_with_the_list_of_routes_is_no_loss() -> None:
    assert "Review first" not in comment({"consumer": result(step("replace", METHOD))}, {})


@pytest.mark.parametrize(
    ("outputs", "source"),
    [
        ({"imageTag": "b", "imageSource": "built"}, "`a` → `b`, which is built by the update."),
        ({"imageTag": "b", "imageSource": "reused"}, "`a` → `b`, which is in the repository already."),
        ({"imageDigest": "sha256:b", "imageSource": "existing"}, "`a` → `sha256:b`, which was pushed before."),
        ({"imageTag": "b"}, "`a` → `b`, which was pushed before."),
    ],
)
def test_where_the_image_comes_from_is_said(outputs: dict[str, Any], source: str) -> None:
    stack = step("same", STACK, old={"imageTag": "a"}, new=outputs)
    assert f"#### Image of `consumer`\n\n{source}" in comment({"consumer": result(stack)}, {})
    same = step("same", STACK, old=outputs, new=outputs)
    assert "Image of" not in comment({"consumer": result(same)}, {})


def test_a_first_image_comes_from_none() -> None:
    stack = step("create", STACK, new={"imageTag": "b", "imageSource": "built"})
    assert "none → `b`" in comment({"consumer": result(stack)}, {})


def test_a_preview_without_a_build_says_so_and_tells_of_no_image() -> None:
    text = comment({"consumer": CHANGES}, {}, built=False)
    assert "This preview uses the images that run now, without a build." in text
    assert "Image of" not in text
    assert "Previewed with" not in comment({"consumer": CHANGES}, {})


@pytest.mark.parametrize(
    ("diff", "expected"),
    [
        (ContentDiff(context="app", files=1), "Built from `app`, 1 file."),
        (
            ContentDiff(context="app", files=2, base="b", same_as_running=True),
            "None of them differs from `b`, which is what runs now: options of the build do.",
        ),
        (
            ContentDiff(context="app", files=2, base="b", removed=("x", "y")),
            "Built from `app`, 2 files. What differs from `b`, which is not what runs now:\n\n- - `x`\n- - `y`\n",
        ),
    ],
)
def test_what_differs_in_the_context_is_said(diff: ContentDiff, expected: str) -> None:
    assert expected in comment({"consumer": CHANGES}, {"consumer": diff})
