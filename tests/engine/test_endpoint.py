"""The endpoint's URL in a local run: users' tools can call it, and it is the only outside host they can reach."""

import json

import pytest

from tests.engine.clone import Clone
from tests.pages import documented

HELLO = {"message": "hello world!"}
PYTHON = "python -c 'import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1]).read().decode())'"
REQUESTS = "python -c 'import sys, requests; print(requests.get(sys.argv[1]).text)'"


@pytest.mark.parametrize("client", ["curl -fsS", PYTHON, REQUESTS])
def test_what_the_readme_calls_answers(deployed: Clone, client: str) -> None:
    url = deployed.output("consumer", "endpointUrl")
    assert url.startswith("https://")
    assert url.split("/")[2].endswith(".execute-api.us-east-1.amazonaws.com")
    said = deployed.shell(f'{client} "$(pulumi stack output endpointUrl -s consumer)"')
    assert json.loads(said.stdout) == HELLO, said.stdout


def test_other_hosts_are_refused_with_the_way_out(updatable: Clone) -> None:
    said = updatable.shell(f"{PYTHON} https://example.com/")
    assert said.returncode != 0
    assert "example.com:443 is outside of the local run" in said.stdout
    assert "unset HTTPS_PROXY https_proxy" in said.stdout


def test_only_the_owner_reads_the_key_of_the_authority(updatable: Clone) -> None:
    folder = updatable.root / ".local" / "endpoint"
    assert (folder / "authority.key").stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700


def test_the_schema_of_the_plugin_is_printed_by_the_command_of_its_page(updatable: Clone) -> None:
    # The official language host first installs the packages of the plugin, from an index that the local run refuses.
    command = documented("pulumi package get-schema ./plugin")
    shown = updatable.shell(f"unset HTTPS_PROXY https_proxy; {command} 2>/dev/null")
    assert shown.returncode == 0, shown.stdout
    assert "cross-account-ecr:index:ImageFunction" in json.loads(shown.stdout)["resources"]


def test_both_stacks_in_another_partition(updatable: Clone) -> None:
    region = "cn-north-1"
    owner, user = "777777777777", "888888888888"
    files = {}
    for stack, account in (("registry", owner), ("consumer", user)):
        updatable.add_profile(f"{stack}-cn", account, region)
        text = (updatable.root / f"Pulumi.{stack}.yaml").read_text().replace("us-east-1", region)
        for old, new in (("111111111111", owner), ("222222222222", user), ("stack: registry", "stack: registry-cn")):
            text = text.replace(old, new)
        for name in ("registry", "consumer"):
            text = text.replace(f"profile: {name}", f"profile: {name}-cn")
        text = text.replace(
            "{name: cross-account-function}", "{name: hello, protect: false, retainOnDelete: false, forceDelete: true}"
        )
        files[f"{stack}-cn"] = updatable.root / f"Pulumi.{stack}-cn.yaml"
        files[f"{stack}-cn"].write_text(text)
    try:
        for stack in files:
            made = updatable.shell(f"pulumi stack init {stack} && pulumi up --yes --skip-preview -s {stack}")
            assert made.returncode == 0, made.stdout
            assert updatable.planned(stack) == {}
        host = f"localhost:{updatable.port}/{owner}.dkr.ecr.{region}.amazonaws.com.cn/hello"
        assert updatable.output("registry-cn", "repositoryUrl") == host
        assert updatable.output("registry-cn", "repositoryArn").startswith(f"arn:aws-cn:ecr:{region}:{owner}:")
        assert updatable.output("consumer-cn", "functionArn").startswith(f"arn:aws-cn:lambda:{region}:{user}:")
        assert f".execute-api.{region}.amazonaws.com.cn/" in updatable.output("consumer-cn", "endpointUrl")
        assert updatable.get(stack="consumer-cn") == (200, HELLO)
        # The Lambda service pulls again, with the function's ARN that the repository's policy names.
        age = f"functions/{user}/cross-account-function/age"
        assert updatable.call_cloud("POST", age)[1]["functions"] == [updatable.output("consumer-cn", "functionArn")]
        assert updatable.get(stack="consumer-cn") == (200, HELLO)
        for stack in files:
            assert b"arn:aws:" not in updatable.state(stack)
    finally:
        updatable.shell("pulumi destroy -yf -s consumer-cn && pulumi stack rm -y consumer-cn")
        updatable.shell("pulumi stack rm -yf registry-cn")
        for file in files.values():
            file.unlink(missing_ok=True)
