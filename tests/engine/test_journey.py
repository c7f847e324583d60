"""The main journey: two accounts, one image and one HTTP response, then common changes."""

import json
import re
import subprocess
import urllib.request
from typing import Any

import pytest

from tests.engine.clone import ROOT, Clone, tracebacks

FUNCTION = "cross-account-function"


def docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True).stdout.strip()


def pushed_image(clone: Clone) -> dict[str, Any]:
    """ECR's description of the image with the consumer's content tag."""
    tag = {"imageTag": clone.output("consumer", "imageTag")}
    (image,) = clone.client("registry", "ecr").describe_images(repositoryName=FUNCTION, imageIds=[tag])["imageDetails"]
    return dict(image)


def test_demo_prints_url_status_and_body(demo: tuple[Clone, str]) -> None:
    _, printed = demo
    url = r"https://\w+\.execute-api\.us-east-1\.amazonaws\.com/Prod/hello"
    assert re.search(rf'GET {url}\n200 {{"message": "hello world!"}}', printed)


def test_demo_reports_where_it_found_each_tool(demo: tuple[Clone, str]) -> None:
    _, printed = demo
    parts = ("Python environment", "Docker engine", "Lambda base image", "Pulumi CLI", "Pulumi plugins", "Local cloud")
    for part in parts:
        assert re.search(rf"✓ {part} +(found|installed|pulled|built|stand-in|started|running) .* \d+\.\d s", printed)


def api_of(clone: Clone) -> str:
    """The ID of the API. Other tests may have left other APIs."""
    return clone.output("consumer", "endpointUrl").removeprefix("https://").partition(".")[0]


def role_of(clone: Clone) -> str:
    """The name of the function's role."""
    function = clone.client("consumer", "lambda").get_function_configuration(FunctionName=FUNCTION)
    return str(function["Role"]).rpartition("/")[2]


def test_repository_is_that_of_the_walk_through(deployed: Clone) -> None:
    ecr = deployed.client("registry", "ecr")
    (repository,) = ecr.describe_repositories(repositoryNames=[FUNCTION])["repositories"]
    assert repository["repositoryArn"] == f"arn:aws:ecr:us-east-1:111111111111:repository/{FUNCTION}"
    assert repository["imageTagMutability"] == "IMMUTABLE"
    assert repository["imageScanningConfiguration"] == {"scanOnPush": True}
    policy = json.loads(ecr.get_repository_policy(repositoryName=FUNCTION)["policyText"])
    assert policy == json.loads((ROOT / "tests" / "unit" / "repository_policy.json").read_text())


def test_lifecycle_rules_can_be_changed_although_the_repository_is_protected(deployed: Clone) -> None:
    ecr = deployed.client("registry", "ecr")
    deployed.edit("Pulumi.registry.yaml", "{name: cross", "{lifecycle: [{keep: 7}], name: cross")
    deployed.up("registry")
    (rule,) = json.loads(ecr.get_lifecycle_policy(repositoryName=FUNCTION)["lifecyclePolicyText"])["rules"]
    assert rule["selection"] == {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 7}
    deployed.edit("Pulumi.registry.yaml", "[{keep: 7}]", "[{days: 30, tagPrefixes: [pr-]}]")
    deployed.up("registry")
    (rule,) = json.loads(ecr.get_lifecycle_policy(repositoryName=FUNCTION)["lifecyclePolicyText"])["rules"]
    assert rule["selection"]["tagPrefixList"] == ["pr-"]
    # There is no default policy, because no rule can detect which images functions run.
    deployed.restore()
    deployed.up("registry")
    with pytest.raises(ecr.exceptions.LifecyclePolicyNotFoundException):
        ecr.get_lifecycle_policy(repositoryName=FUNCTION)


def test_function_runs_the_registrys_image_by_digest(deployed: Clone) -> None:
    found = deployed.client("consumer", "lambda").get_function(FunctionName=FUNCTION)
    image = pushed_image(deployed)
    assert found["Code"]["ImageUri"] == f"{deployed.output('registry', 'repositoryUrl')}@{image['imageDigest']}"
    configuration = found["Configuration"]
    assert (configuration["MemorySize"], configuration["Timeout"]) == (128, 3)
    assert configuration["Architectures"] == ["x86_64"]


def test_the_image_has_a_manifest_that_lambda_accepts(deployed: Clone) -> None:
    # Lambda refuses an index, which Docker creates for an image with attestations.
    assert pushed_image(deployed)["imageManifestMediaType"] in (
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
    )


def test_a_taken_tag_is_refused_as_ecr_refuses_it(deployed: Clone) -> None:
    # ECR refuses it even if the content is the same.
    url, tag = deployed.output("registry", "repositoryUrl"), deployed.output("consumer", "imageTag")
    deployed.login(deployed.client("registry", "ecr"))
    assert deployed.docker("pull", f"{url}:{tag}").returncode == 0
    pushed = deployed.docker("push", f"{url}:{tag}")
    assert pushed.returncode != 0
    assert "already exists" in pushed.stderr
    assert "the tag is immutable" in pushed.stderr
    deployed.docker("tag", f"{url}:{tag}", f"{url}:another")
    assert deployed.docker("push", f"{url}:another").returncode == 0


def test_lambda_pulls_through_the_registry(deployed: Clone) -> None:
    # The function's container has the image name that the Lambda service pulls, not the builder's.
    deployed.get()
    label = f"label=ministack.instance=cross-account-ecr:{deployed.port}"
    container = docker("ps", "-q", "--filter", label, "--filter", "label=ministack=lambda")
    image = docker("inspect", "--format", "{{.Config.Image}}", container)
    assert image.startswith(
        f"127.0.0.1:{deployed.port}/111111111111.dkr.ecr.us-east-1.amazonaws.com/{FUNCTION}@sha256:"
    )


def test_role_has_least_rights(deployed: Clone) -> None:
    iam, role = deployed.client("consumer", "iam"), role_of(deployed)
    assert iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"] == []
    (name,) = iam.list_role_policies(RoleName=role)["PolicyNames"]
    (statement,) = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]["Statement"]
    assert statement["Action"] == ["logs:CreateLogStream", "logs:PutLogEvents"]
    group = f"arn:aws:logs:us-east-1:222222222222:log-group:/aws/lambda/{FUNCTION}"
    assert statement["Resource"] == f"{group}:*"


def test_log_group_has_a_retention(deployed: Clone) -> None:
    logs, name = deployed.client("consumer", "logs"), f"/aws/lambda/{FUNCTION}"
    groups = logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"]
    assert {group["logGroupName"]: group.get("retentionInDays") for group in groups}[name] == 30


def test_api_may_call_exactly_its_method(deployed: Clone) -> None:
    api = deployed.client("consumer", "apigateway").get_rest_api(restApiId=api_of(deployed))
    assert api["endpointConfiguration"]["types"] == ["REGIONAL"]
    policy = json.loads(deployed.client("consumer", "lambda").get_policy(FunctionName=FUNCTION)["Policy"])
    (statement,) = policy["Statement"]
    expected = f"arn:aws:execute-api:us-east-1:222222222222:{api['id']}/Prod/GET/hello"
    assert statement["Condition"]["ArnLike"] == {"AWS:SourceArn": expected}


def test_an_image_is_pushed_exactly_if_the_repository_lacks_it(deployed: Clone) -> None:
    lambda_, ecr = deployed.client("consumer", "lambda"), deployed.client("registry", "ecr")

    def tags() -> set[str]:
        images = ecr.describe_images(repositoryName=FUNCTION)["imageDetails"]
        return {tag for image in images for tag in image.get("imageTags", [])}

    deployed.edit("app/app.py", "hello world!", "hello before!")
    deployed.up("consumer")
    known = tags()
    ecr.batch_delete_image(repositoryName=FUNCTION, imageIds=[{"imageTag": deployed.output("consumer", "imageTag")}])
    deployed.up("consumer")
    assert tags() == known
    assert deployed.get() == (200, {"message": "hello before!"})
    assert deployed.planned("consumer") == {}

    # The push succeeds, but the function to update does not exist.
    deployed.edit("app/app.py", "hello before!", "hello after!")
    lambda_.delete_function(FunctionName=FUNCTION)
    assert deployed.shell("pulumi up --yes --skip-preview -s consumer").returncode != 0
    assert len(pushed := tags()) == len(known) + 1
    deployed.edit("app/app.py", "hello after!", "hello before!")
    assert deployed.shell("pulumi refresh --yes --skip-preview -s consumer").returncode == 0
    assert "delete" in deployed.last_update("consumer")
    deployed.up("consumer")
    assert deployed.get() == (200, {"message": "hello before!"})

    deployed.restore()
    deployed.up("consumer")
    assert deployed.output("consumer", "imageSource") == "reused"
    assert deployed.get() == (200, {"message": "hello world!"})
    assert deployed.planned("consumer") == {}
    assert tags() == pushed
    deployed.remember()


def test_every_resource_can_be_imported_by_the_id_that_aws_knows(deployed: Clone) -> None:
    gateway, iam = deployed.client("consumer", "apigateway"), deployed.client("consumer", "iam")
    api, role = api_of(deployed), role_of(deployed)
    (resource,) = [part for part in gateway.get_resources(restApiId=api)["items"] if part["path"] == "/hello"]
    deployment = gateway.get_stage(restApiId=api, stageName="Prod")["deploymentId"]
    (policy,) = iam.list_role_policies(RoleName=role)["PolicyNames"]
    grants = json.loads(deployed.client("consumer", "lambda").get_policy(FunctionName=FUNCTION)["Policy"])
    method = f"{api}/{resource['id']}/GET"
    ids = {
        "consumer": {
            "aws:lambda/function:Function": FUNCTION,
            "aws:lambda/permission:Permission": f"{FUNCTION}/{grants['Statement'][0]['Sid']}",
            "aws:cloudwatch/logGroup:LogGroup": f"/aws/lambda/{FUNCTION}",
            "aws:iam/role:Role": role,
            "aws:iam/rolePolicy:RolePolicy": f"{role}:{policy}",
            "aws:apigateway/restApi:RestApi": api,
            "aws:apigateway/resource:Resource": f"{api}/{resource['id']}",
            "aws:apigateway/method:Method": method,
            "aws:apigateway/integration:Integration": method,
            "aws:apigateway/deployment:Deployment": f"{api}/{deployment}",
            "aws:apigateway/stage:Stage": f"{api}/Prod",
        },
        "registry": {
            "aws:ecr/repository:Repository": FUNCTION,
            "aws:ecr/repositoryPolicy:RepositoryPolicy": FUNCTION,
            "aws:ecr/lifecyclePolicy:LifecyclePolicy": FUNCTION,
        },
    }
    ecr = deployed.client("registry", "ecr")
    selection = {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 7}
    rule = {"rulePriority": 1, "selection": selection, "action": {"type": "expire"}}
    ecr.put_lifecycle_policy(repositoryName=FUNCTION, lifecyclePolicyText=json.dumps({"rules": [rule]}))
    try:
        for profile, wanted in ids.items():
            listed = {"resources": [{"type": kind, "name": "it", "id": identity} for kind, identity in wanted.items()]}
            shown = deployed.shell(
                f"cd $(mktemp -d) && echo '{json.dumps(listed)}' > ids.json && touch __main__.py && "
                "printf 'name: other\\nruntime: python\\n' > Pulumi.yaml && "
                f"printf 'config: {{aws:profile: {profile}, aws:region: us-east-1}}\\n' > Pulumi.import.yaml && "
                "pulumi stack init import && "
                "pulumi import --yes --generate-code=false --protect=false --file ids.json; "
                "pulumi stack rm --force --yes import"
            )
            assert f"{len(wanted)} imported" in shown.stdout, shown.stdout
    finally:
        ecr.delete_lifecycle_policy(repositoryName=FUNCTION)


def test_a_second_consumer_is_refused_until_the_registry_allows_its_account(deployed: Clone) -> None:
    deployed.edit("Pulumi.registry.yaml", '"222222222222"}]', '"222222222222"}, {account: "333333333333"}]')
    deployed.add_profile("production", "333333333333", "us-east-1")
    stack = (deployed.root / "Pulumi.consumer.yaml").read_text()
    stack = stack.replace("profile: consumer", "profile: production").replace("2" * 12, "3" * 12)
    stack = stack.replace("{context: app, args: {LAMBDA_BASE_IMAGE: null}}", "{promote: consumer}")
    (deployed.root / "Pulumi.production.yaml").write_text(stack)
    try:
        # The pull request adds the account and its stack.
        both = "--consumer consumer --consumer production"
        comment = deployed.shell(f"python -m deployment preview {both} --comment - 2>/dev/null")
        assert comment.returncode == 0, comment.stdout
        assert "| `production`, after the registry |" in comment.stdout
        assert "| `consumer` |" in comment.stdout
        assert "The planned update of the stack registry allows account 333333333333 to use" in comment.stdout
        alone = deployed.shell("pulumi preview -s production")
        assert alone.returncode == 0, alone.stdout
        assert "warning: Update the registry first. Account 333333333333 may not use the repository" in alone.stdout
        refused = deployed.shell("pulumi up --yes --skip-preview -s production")
        assert refused.returncode != 0
        assert "only 222222222222 may. In the registry's stack file, set" in refused.stdout
    finally:
        deployed.shell("pulumi stack rm --force --yes production")
        (deployed.root / "Pulumi.production.yaml").unlink(missing_ok=True)


def test_options_of_function_and_api_take_effect(updatable: Clone) -> None:
    function = (
        "storage: 1024, description: Says hello, environment: {STAGE: test}, command: [app.handler], "
        "reservedConcurrency: 5, tracing: true, jsonLogs: true, tags: {team: orders}, alarms: {}"
    )
    api = (
        "throttle: {rate: 100, burst: 50}, accessLogRetention: 7, tracing: true, apiKey: true, "
        "requestParameters: [querystring.name], corsOrigin: https://example.com"
    )
    updatable.edit("Pulumi.consumer.yaml", "architecture: x86_64", f"architecture: x86_64, {function}")
    updatable.edit(
        "Pulumi.consumer.yaml",
        "path: hello, stage: Prod, public: true}",
        f"path: v1/bye, stage: Prod, public: true, {api}}}",
    )
    updatable.set_logging_role("")
    refused = updatable.shell("pulumi up --yes --skip-preview -s consumer")
    assert "API Gateway has no role for logs in this account" in refused.stdout
    assert tracebacks(refused.stdout) == []
    assert updatable.last_update("consumer") == {}
    updatable.set_logging_role()
    updatable.up("consumer")

    found = updatable.client("consumer", "lambda").get_function(FunctionName=FUNCTION)
    configuration = found["Configuration"]
    assert configuration["EphemeralStorage"] == {"Size": 1024}
    assert configuration["Environment"] == {"Variables": {"STAGE": "test"}}
    assert configuration["TracingConfig"] == {"Mode": "Active"}
    assert configuration["LoggingConfig"]["LogFormat"] == "JSON"
    assert found["Concurrency"] == {"ReservedConcurrentExecutions": 5}
    assert found["Tags"] == {"team": "orders"}
    alarms = updatable.client("consumer", "cloudwatch").describe_alarms()["MetricAlarms"]
    assert sorted(alarm["MetricName"] for alarm in alarms) == ["Duration", "Errors", "Throttles"]

    gateway = updatable.client("consumer", "apigateway")
    stage = gateway.get_stage(restApiId=api_of(updatable), stageName="Prod")
    assert stage["tracingEnabled"] is True
    assert json.loads(stage["accessLogSettings"]["format"])["status"] == "$context.status"
    assert stage["methodSettings"]["*/*"]["throttlingRateLimit"] == 100

    url = updatable.output("consumer", "endpointUrl")
    assert url.endswith("/Prod/v1/bye")
    key = updatable.shell("pulumi stack output apiKey --show-secrets -s consumer").stdout.strip()
    assert key not in updatable.shell("pulumi stack output -s consumer").stdout
    named = f"{url}?name=you"
    assert updatable.get_url(named)[0] == 403
    assert updatable.get({"x-api-key": key})[0] == 400
    assert updatable.get_url(named, {"x-api-key": key}) == (200, {"message": "hello world!"})
    preflight = urllib.request.Request(url, method="OPTIONS")  # noqa: S310
    with updatable.opener.open(preflight, timeout=60) as answer:
        assert answer.status == 204
        assert answer.headers["Access-Control-Allow-Origin"] == "https://example.com"
    assert updatable.planned("consumer", refresh=True) == {}


def test_a_release_tests_a_version_before_calls_and_a_canary_moves_a_share_of_them(updatable: Clone) -> None:
    release = "testEvent: {httpMethod: GET}"
    updatable.edit("Pulumi.consumer.yaml", "architecture: x86_64", f"architecture: x86_64, release: {{{release}}}")
    updatable.edit("app/app.py", "hello world!", "hello one!")
    updatable.up("consumer")
    assert updatable.get() == (200, {"message": "hello one!"})
    first = updatable.output("consumer", "functionVersion")

    # A version that fails its test gets no call.
    updatable.edit("app/app.py", "    return {", "    raise RuntimeError(event)\n    return {")
    failed = updatable.shell("pulumi up --yes --skip-preview -s consumer")
    assert failed.returncode != 0
    assert "RuntimeError" in failed.stdout
    assert updatable.get() == (200, {"message": "hello one!"})
    updatable.edit("app/app.py", "    raise RuntimeError(event)\n", "")
    updatable.edit("app/app.py", "hello one!", "hello two!")
    updatable.up("consumer")
    lambda_ = updatable.client("consumer", "lambda")
    alias = lambda_.get_alias(FunctionName=FUNCTION, Name="live")
    second = updatable.output("consumer", "functionVersion")
    assert alias["FunctionVersion"] == second != first
    assert updatable.get() == (200, {"message": "hello two!"})

    # A canary keeps its share of the calls on the previous version.
    updatable.edit("Pulumi.consumer.yaml", release, f"{release}, previousShare: 0.9")
    updatable.edit("app/app.py", "hello two!", "hello canary!")
    updatable.up("consumer")
    alias = lambda_.get_alias(FunctionName=FUNCTION, Name="live")
    assert alias["FunctionVersion"] == updatable.output("consumer", "functionVersion") != second
    assert alias["RoutingConfig"] == {"AdditionalVersionWeights": {second: 0.9}}
    assert updatable.planned("consumer") == {}
    # Lambda keeps instances warm only for an alias without weights.
    updatable.edit("Pulumi.consumer.yaml", "previousShare: 0.9", "provisionedConcurrency: 1")
    assert updatable.up("consumer") == {"create": 1, "update": 1}
    assert not lambda_.get_alias(FunctionName=FUNCTION, Name="live").get("RoutingConfig")
    warm = lambda_.get_provisioned_concurrency_config(FunctionName=FUNCTION, Qualifier="live")
    assert warm["RequestedProvisionedConcurrentExecutions"] == 1
    assert updatable.get() == (200, {"message": "hello canary!"})
    assert updatable.planned("consumer") == {}


def test_a_function_url_instead_of_an_api(updatable: Clone) -> None:
    updatable.edit("Pulumi.consumer.yaml", "{path: hello, stage: Prod, public: true}", "{type: url, public: true}")
    updatable.up("consumer")
    url = updatable.output("consumer", "endpointUrl")
    assert url.startswith("https://")
    assert url.endswith(".lambda-url.us-east-1.on.aws/")
    assert updatable.get_url(url) == (200, {"message": "hello world!"})
    policy = json.loads(updatable.client("consumer", "lambda").get_policy(FunctionName=FUNCTION)["Policy"])
    actions = {statement["Action"] for statement in policy["Statement"]}
    assert actions == {"lambda:InvokeFunctionUrl", "lambda:InvokeFunction"}
    assert updatable.client("consumer", "apigateway").get_rest_apis()["items"] == []
    assert updatable.planned("consumer") == {}


def test_the_registrys_own_account_is_added_by_one_list_entry(updatable: Clone) -> None:
    ecr = updatable.client("registry", "ecr")
    updatable.edit("Pulumi.registry.yaml", '"222222222222"}]', '"222222222222"}, {account: "111111111111"}]')
    assert updatable.planned("registry") == {"aws:ecr/repositoryPolicy:RepositoryPolicy": "update"}
    updatable.up("registry")
    assert set(json.loads(updatable.output("registry", "deployerPolicies"))) == {"111111111111", "222222222222"}
    assert json.loads(updatable.output("registry", "consumerAccounts")) == ["111111111111", "222222222222"]
    policy = ecr.get_repository_policy(repositoryName=FUNCTION)["policyText"]
    stack = (updatable.root / "Pulumi.consumer.yaml").read_text()
    stack = stack.replace("profile: consumer", "profile: registry").replace("2" * 12, "1" * 12)
    stack = stack.replace("{context: app, args: {LAMBDA_BASE_IMAGE: null}}", "{promote: consumer}")
    (updatable.root / "Pulumi.own.yaml").write_text(stack)
    try:
        made = updatable.shell("pulumi stack init own && pulumi up --yes --skip-preview -s own")
        assert made.returncode == 0, made.stdout
        assert updatable.output("own", "functionArn").split(":")[4] == "111111111111"
        assert updatable.get(stack="own") == (200, {"message": "hello world!"})
        # Lambda did not change the repository's policy, although the deployer may set it.
        assert ecr.get_repository_policy(repositoryName=FUNCTION)["policyText"] == policy
    finally:
        updatable.shell("pulumi destroy --yes --skip-preview -s own && pulumi stack rm --yes own")
        (updatable.root / "Pulumi.own.yaml").unlink(missing_ok=True)
