"""The workflows have the least rights, run pinned code, and keep one comment on a pull request."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from deployment.comment import MARKER

FOLDER = Path(".github")
WORKFLOWS = sorted((FOLDER / "workflows").glob("*.yml"))
PINNED = re.compile(r"uses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")

# Stands in for GitHub: keeps comments in a file, and lets jq answer the query.
GH = """\
#!/bin/bash
store=comments.json
[ -f "$store" ] || echo '[]' > "$store"
echo "$*" >> calls
case "$*" in
  *PATCH*) body=$(cat comment.md) ; jq --arg body "$body" '.[0].body = $body' "$store" > new && mv new "$store" ;;
  *POST*) body=$(cat comment.md)
    jq --arg body "$body" '. += [{url: "u/1", body: $body, user: {login: "github-actions[bot]"}}]' "$store" > new
    mv new "$store" ;;
  *) jq -r "${@: -1}" "$store" ;;
esac
"""


def jobs(workflow: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(workflow.read_text())["jobs"])


def steps() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every step of every workflow and action, with the file it is in."""
    for workflow in WORKFLOWS:
        for job in jobs(workflow).values():
            yield from ((workflow.name, step) for step in job.get("steps", []))
    for action in FOLDER.glob("actions/*/action.yml"):
        yield from ((action.name, step) for step in yaml.safe_load(action.read_text())["runs"]["steps"])


def test_every_action_is_pinned_to_a_commit_and_says_which_version_that_is() -> None:
    lines = [
        line.strip().removeprefix("- ") for file in FOLDER.rglob("*.yml") for line in file.read_text().splitlines()
    ]
    used = [line for line in lines if line.startswith("uses: ") and not line.startswith("uses: ./")]
    assert used
    assert [line for line in used if not PINNED.fullmatch(line)] == []


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_rights_are_given_to_single_jobs_and_none_may_write_the_repository(workflow: Path) -> None:
    whole = yaml.safe_load(workflow.read_text())
    assert whole["permissions"] == {}
    for job in whole["jobs"].values():
        assert set(job["permissions"].items()) <= {
            ("contents", "read"),
            ("id-token", "write"),
            ("pull-requests", "write"),
        }


SUBJECTS = {"pull_request": "pull_request", "push": "ref:refs/heads/main", "schedule": "ref:refs/heads/main"}


@pytest.mark.parametrize("name", ["deploy", "drift", "preview"])
def test_each_workflow_that_logs_in_names_the_subject_that_its_roles_trust_in_both_forms(name: str) -> None:
    """New repositories have IDs in it: https://docs.github.com/en/actions/reference/security/oidc."""
    text = (FOLDER / "workflows" / f"{name}.yml").read_text()
    events = yaml.safe_load(text)[True]
    [subject] = {SUBJECTS[event] for event in ([events] if isinstance(events, str) else events) if event in SUBJECTS}
    assert f"repo:OWNER/NAME:{subject}" in text
    assert f"repo:OWNER@OWNER_ID/NAME@REPOSITORY_ID:{subject}" in text
    others = set(SUBJECTS.values()) - {subject}
    assert not any(f":{other}" in text for other in others)


def test_each_run_logs_in_once_to_a_role_and_names_no_profile() -> None:
    logins = [step["with"] for _, step in steps() if step.get("uses", "").startswith("aws-actions/")]
    assert logins == [{"role-to-assume": "${{ inputs.role }}", "aws-region": "${{ inputs.region }}"}]
    assert "profile" not in "".join(file.read_text() for file in FOLDER.rglob("*.yml"))


@pytest.mark.parametrize(("name", "kind"), [("deploy", "DEPLOY"), ("drift", "READ"), ("preview", "READ")])
def test_every_command_assumes_the_role_of_the_registrys_account_and_reading_ones_only_reading_roles(
    name: str, kind: str
) -> None:
    for job in jobs(FOLDER / "workflows" / f"{name}.yml").values():
        for step in job.get("steps", ()):
            if step.get("uses") == "./.github/actions/set-up":
                assert step["with"]["role"] == f"${{{{ vars.CONSUMER_{kind}_ROLE }}}}"
            if step.get("run", "").startswith("python -m deployment"):
                assert '--assume-role "$REGISTRY_ROLE"' in step["run"]
                assert step["env"]["REGISTRY_ROLE"] == f"${{{{ vars.REGISTRY_{kind}_ROLE }}}}"


def test_no_event_of_a_stranger_gets_credentials() -> None:
    text = "".join(workflow.read_text() for workflow in WORKFLOWS)
    assert "pull_request_target" not in text
    for job in jobs(FOLDER / "workflows" / "preview.yml").values():
        if "id-token" in job["permissions"]:
            assert job["if"] == "github.event.pull_request.head.repo.full_name == github.repository"


def test_no_value_of_an_event_is_expanded_in_a_script() -> None:
    assert [step["run"] for _, step in steps() if "${{" in step.get("run", "")] == []


def test_tests_registry_and_consumers_follow_one_another_and_each_stack_has_one_run_at_a_time() -> None:
    deploy = jobs(FOLDER / "workflows" / "deploy.yml")
    assert (deploy["registry"]["needs"], deploy["consumer"]["needs"]) == ("test", "registry")
    groups = {name: job["concurrency"] for name, job in deploy.items() if "steps" in job}
    assert groups == {"registry": {"group": "stack-registry"}, "consumer": {"group": "stack-${{ matrix.stack }}"}}
    # An older commit, with slower tests, is never deployed after a newer one.
    assert yaml.safe_load((FOLDER / "workflows" / "deploy.yml").read_text())["concurrency"] == {"group": "deploy"}


def test_pull_requests_and_deployments_run_the_same_tests_without_credentials() -> None:
    tests = FOLDER / "workflows" / "test.yml"
    called = jobs(FOLDER / "workflows" / "deploy.yml")["test"]
    assert called == {"uses": f"./{tests}", "permissions": {"contents": "read"}}
    assert set(yaml.safe_load(tests.read_text())[True]) == {"pull_request", "workflow_call"}
    assert "make test" in tests.read_text()


@pytest.mark.skipif(not shutil.which("jq"), reason="the stand-in of gh asks jq")
def test_a_pull_request_has_one_comment_whose_text_is_replaced(tmp_path: Path) -> None:
    [script] = [step["run"] for _, step in steps() if step.get("name") == "Comment"]
    gh = tmp_path / "gh"
    gh.write_text(GH)
    gh.chmod(0o755)
    stranger = {"url": "u/0", "body": f"{MARKER}\nnot mine", "user": {"login": "stranger"}}
    (tmp_path / "comments.json").write_text("[]")
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "COMMENTS": "repos/o/n/issues/1/comments"}

    def comment(text: str) -> list[dict[str, Any]]:
        (tmp_path / "comment.md").write_text(f"{MARKER}\n{text}\n")
        subprocess.run(["bash", "-eo", "pipefail", "-c", script], cwd=tmp_path, env=env, check=True)
        return list(json.loads((tmp_path / "comments.json").read_text()))

    assert [item["body"] for item in comment("one")] == [f"{MARKER}\none"]
    assert [item["body"] for item in comment("two")] == [f"{MARKER}\ntwo"]
    (tmp_path / "comments.json").write_text(json.dumps([stranger]))
    assert [item["body"] for item in comment("three")] == [stranger["body"], f"{MARKER}\nthree"]
