"""The AWS profiles of the local run."""

import configparser
from pathlib import Path

import pytest

from local import credentials

PRODUCTION = """config:
  cross-account-ecr:stackType: consumer
  cross-account-ecr:account: "333333333333"
  cross-account-ecr:region: eu-west-1
  cross-account-ecr:profile: production
  cross-account-ecr:registry: {stack: registry, profile: registry}
"""


def test_a_new_stack_file_gets_its_profile_and_others_stay(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS", "ROOT"):
        monkeypatch.setattr(credentials, name, tmp_path)
    monkeypatch.setattr(credentials, "port", lambda: 4567)
    monkeypatch.setattr(credentials, "secret_access_key", lambda account: f"key of {account}")
    credentials.write_aws_profiles()
    before = (tmp_path / "credentials").read_text()
    (tmp_path / "Pulumi.production.yaml").write_text(PRODUCTION)
    (tmp_path / "Pulumi.without.yaml").write_text("config: {}")
    for _ in range(2):
        credentials.add_profiles_of_stacks()
    assert (tmp_path / "credentials").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "credentials").read_text().startswith(before)
    keys, config = configparser.ConfigParser(), configparser.ConfigParser()
    keys.read(tmp_path / "credentials")
    config.read(tmp_path / "config")
    assert keys.sections() == ["registry", "consumer", "production"]
    assert dict(keys["production"]) == {
        "aws_access_key_id": "333333333333", "aws_secret_access_key": "key of 333333333333",
    }  # fmt: skip
    assert dict(config["profile production"]) == {"region": "eu-west-1", "endpoint_url": "http://127.0.0.1:4567"}
