"""Every configuration on docs/credentials.md can be pasted into a committed stack file."""

import json
import re
from pathlib import Path

import pytest
import yaml

from settings import parse

PROJECT = "cross-account-ecr"
PAGE = Path("docs/credentials.md").read_text()
BLOCKS = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
CREDENTIALS = ("profile", "assumeRoles", "assumeRoleWithWebIdentity")


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.splitlines()[0])
def test_a_configuration_of_the_page_is_valid_in_place_of_the_committed_credentials(block: str) -> None:
    pasted = yaml.safe_load(block)
    stack = "registry" if "Pulumi.registry.yaml" in block else "consumer"
    committed = yaml.safe_load(Path(f"Pulumi.{stack}.yaml").read_text())["config"]
    without = {key: value for key, value in committed.items() if key.rpartition(":")[2] not in CREDENTIALS}
    values = {key.removeprefix(f"{PROJECT}:"): value for key, value in {**without, **pasted}.items()}
    parse({key: value if isinstance(value, str) else json.dumps(value) for key, value in values.items()}, PROJECT)


def test_each_kind_of_credentials_has_its_configuration() -> None:
    assert len(BLOCKS) >= 7
    for option in (*CREDENTIALS, "externalId", "sessionName", "duration", "webIdentityTokenFile", "publishers"):
        assert any(option in block for block in BLOCKS), option
