"""What the pages say of files, outputs, options and commands, held against the program."""

import ast
import re
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.conftest import Deploy
from tests.unit.recorder import DIGEST, PROJECT, Recorder

ROOT = Path(__file__).parents[2]
CONFIGURATION = (ROOT / "docs" / "configuration.md").read_text()
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "examples").rglob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a page."""
    found = re.findall(rf"^ *```{language}\n(.*?)^ *```", page.read_text(), re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(block) for block in found]


# ---- outputs


def outputs_of(stack: str) -> set[str]:
    """The outputs that the page lists for a stack."""
    rows = re.findall(rf"^\| {stack} \| (.+?) \|", (ROOT / "docs" / "outputs.md").read_text(), re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}


def test_the_page_of_outputs_lists_exactly_those_of_both_stacks(deploy: Deploy, app: Path) -> None:
    assert outputs_of("registry") == set(deploy("registry").outputs)
    assert outputs_of("consumer") == set(deploy("consumer").outputs)


# ---- configuration


def documented() -> list[Any]:
    """Each stack file of the page, with the stack that it is of."""
    found = []
    for block in blocks(ROOT / "docs" / "configuration.md", "yaml"):
        values = {key.removeprefix(f"{PROJECT}:"): value for key, value in yaml.safe_load(block).items()}
        found.append(pytest.param("registry" if "consumers" in values else "consumer", values, id=",".join(values)))
    return found


@pytest.mark.parametrize(("stack", "values"), documented())
def test_each_stack_file_of_the_page_deploys(
    deploy: Deploy, recorder: Recorder, app: Path, stack: str, values: dict[str, Any]
) -> None:
    recorder.tags = {"content-845108ed4fd5c66ba5e3bea903eb6bc9": DIGEST}
    recorder.stacks["organization/cross-account-ecr/consumer"] = {"imageDigest": DIGEST}
    assert deploy(stack, **values).outputs


def test_all_of_the_page_deploys_together(deploy: Deploy, app: Path) -> None:
    sections: dict[str, Any] = {}
    for parameter in documented():
        stack, values = parameter.values
        for key, value in values.items() if stack == "consumer" and "image" not in values else ():
            sections[key] = sections.get(key, {}) | value
    done = deploy("consumer", **sections)
    assert sections.keys() == {"function", "api"}
    assert done.one("aws:lambda/function:Function").inputs["memorySize"] == 512
    assert len(done.of("aws:cloudwatch/metricAlarm:MetricAlarm")) == 4
    # Two routes, a topic and events.
    assert len(done.of("aws:lambda/permission:Permission")) == 4


def test_the_base_image_of_the_page_is_named_by_digest(deploy: Deploy, app: Path) -> None:
    (line,) = re.findall(r"`image: (\{context: app, args: .*?\})`", CONFIGURATION)
    image = yaml.safe_load(line.replace("sha256:…", f"sha256:{'1' * 64}"))
    build = deploy("consumer", image=image).one("docker:index/image:Image").inputs["build"]
    assert build["args"] == {"LAMBDA_BASE_IMAGE": f"public.ecr.aws/lambda/python@sha256:{'1' * 64}"}
    # The Dockerfile accepts it. Its default is a tag that AWS moves.
    dockerfile = (ROOT / "app" / "Dockerfile").read_text()
    (default,) = re.findall(r"^ARG LAMBDA_BASE_IMAGE=(\S+)$", dockerfile, re.MULTILINE)
    assert default.startswith("public.ecr.aws/lambda/python:")
    assert re.search(r"^FROM \$\{?LAMBDA_BASE_IMAGE\}?", dockerfile, re.MULTILINE)


def test_the_repository_is_deleted_as_the_readme_says(deploy: Deploy) -> None:
    (line,) = re.findall(r"`cross-account-ecr:(repository: \{.*?\})`", (ROOT / "README.md").read_text())
    repository = yaml.safe_load(line)["repository"]
    made = deploy("registry", repository=repository).one("aws:ecr/repository:Repository")
    assert made.inputs["forceDelete"] is True
    assert not made.protect
    assert not made.retain_on_delete


# Billed for each call, each GB, or not at all: https://aws.amazon.com/pricing/.
WITHOUT_IDLE_PRICE = {
    *("aws:apigateway/deployment:Deployment", "aws:apigateway/integration:Integration"),
    *("aws:apigateway/method:Method", "aws:apigateway/resource:Resource", "aws:apigateway/restApi:RestApi"),
    *("aws:apigateway/stage:Stage", "aws:cloudwatch/logGroup:LogGroup", "aws:ecr/lifecyclePolicy:LifecyclePolicy"),
    *("aws:ecr/repository:Repository", "aws:ecr/repositoryPolicy:RepositoryPolicy", "aws:iam/role:Role"),
    *("aws:iam/rolePolicy:RolePolicy", "aws:lambda/function:Function", "aws:lambda/permission:Permission"),
    "docker:index/image:Image",
}


def test_an_idle_deployment_pays_for_images_and_logs_only(deploy: Deploy, app: Path) -> None:
    deployed = [*deploy("registry").resources, *deploy("consumer").resources]
    external = {one.type for one in deployed if one.type.startswith(("aws:", "docker:"))}
    assert external <= WITHOUT_IDLE_PRICE
    # What costs while idle by an option: a cache, provisioned concurrency.
    for stage in (one for one in deployed if one.type == "aws:apigateway/stage:Stage"):
        assert not stage.inputs.get("cacheClusterEnabled")


# ---- commands and code


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_of_the_pages_uses_what_there_is(page: Path) -> None:
    for block in blocks(page, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom):
                module = __import__(str(node.module), fromlist=["*"])
                assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []


# ---- workflows


def workflow(name: str) -> dict[Any, Any]:
    return dict(yaml.safe_load((ROOT / ".github" / "workflows" / name).read_text()))


def test_drift_is_looked_for_every_night() -> None:
    drift = workflow("drift.yml")
    (schedule,) = drift[True]["schedule"]  # YAML reads the key `on` as true
    hour, *rest = schedule["cron"].split()[1:]
    assert 0 <= int(hour) <= 5
    assert rest == ["*", "*", "*"]
    runs = [step.get("run", "") for job in drift["jobs"].values() for step in job["steps"]]
    assert any("python -m deployment drift" in run for run in runs)


def test_a_pull_request_of_a_fork_is_told_that_it_has_no_preview() -> None:
    jobs = workflow("preview.yml")["jobs"]
    (told,) = [
        job for job in jobs.values() if job.get("if", "").startswith("github.event.pull_request.head.repo.full_name !=")
    ]
    script = "\n".join(step.get("run", "") for step in told["steps"])
    assert "::notice" in script
    assert "id-token" not in told["permissions"]


@pytest.mark.parametrize("name", ["drift.yml", "deploy.yml", "preview.yml"])
def test_workflows_keep_their_state_where_the_repository_says(name: str) -> None:
    assert workflow(name)["env"]["PULUMI_BACKEND_URL"] == "${{ vars.PULUMI_BACKEND_URL }}"
