"""The secrets of a local run. They are random, and stored in files that only their owner can read."""

import base64
import hashlib
import hmac
import json
import os
import re
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any

from local.workspace import ACCOUNTS, AWS, LOCAL, REGION, ROOT, RUN, port

# Secret of the local cloud, from its first start until `make down`.
SECRET = RUN / "secret"
# Passphrase of this folder. It is kept, because it decrypts values in the copies of stack files.
PASSPHRASE = LOCAL / "passphrase"


def secret() -> str:
    """The secret of the local cloud: the bearer token of its own API. All account keys are derived from it."""
    return _kept(SECRET)


def secret_access_key(account: str) -> str:
    """The secret access key of an account's root; the access key ID is the account ID itself."""
    code = hmac.digest(secret().encode(), account.encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(code).decode()[:40]


def web_identity_token(claims: dict[str, Any], key: str) -> str:
    """A token like that of an OIDC provider, such as GitHub's for a workflow. The local cloud accepts no other tokens.

    Args:
        claims: `iss`, `aud`, `sub` and `exp`, among others.
        key: the secret of the local cloud.
    """
    parts = [json.dumps(part).encode() for part in ({"alg": "HS256", "typ": "JWT"}, claims)]
    text = ".".join(map(_encoded, parts))
    return f"{text}.{_signature(text, key)}"


def claims(token: str, key: str) -> dict[str, Any] | None:
    """The claims of a token, or None if it is not signed with this key."""
    text, _, signature = token.rpartition(".")
    if not hmac.compare_digest(signature.encode(), _signature(text, key).encode()):
        return None
    payload = text.partition(".")[2]
    return dict(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))))


def _signature(text: str, key: str) -> str:
    return _encoded(hmac.digest(key.encode(), b"web identity " + text.encode(), hashlib.sha256))


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def passphrase_file() -> Path:
    """The file with the passphrase of the local stacks."""
    _kept(PASSPHRASE)
    return PASSPHRASE


def write_aws_profiles() -> None:
    """Write the profiles `registry` and `consumer`, with the root users of these accounts."""
    (AWS / "config").write_text("")
    write(AWS / "credentials", "")
    for profile, account in ACCOUNTS.items():
        _add_profile(profile, account, REGION)


def add_profiles_of_stacks() -> None:
    """Add the profiles in stack files that are missing, each with the root user of the stack's account."""
    for file in sorted(ROOT.glob("Pulumi.*.yaml")):
        # The standard library cannot read YAML. Other spellings get no profile.
        found = dict(re.findall(r'^ +[\w-]+:(profile|account|region): "?([\w-]+)"? *$', file.read_text(), re.MULTILINE))
        if len(found) == 3 and f"[profile {found['profile']}]" not in (AWS / "config").read_text():
            _add_profile(**found)


def _add_profile(profile: str, account: str, region: str) -> None:
    with (AWS / "config").open("a") as file:
        file.write(f"[profile {profile}]\nregion = {region}\nendpoint_url = http://127.0.0.1:{port()}\n\n")
    with (AWS / "credentials").open("a") as file:
        key = secret_access_key(account)
        file.write(f"[{profile}]\naws_access_key_id = {account}\naws_secret_access_key = {key}\n\n")


def write(path: Path, text: str) -> None:
    """Write a file that only its owner can read."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def _kept(path: Path) -> str:
    """The content of a file, which is created with a random text if missing. Concurrent calls get the same text."""
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        mine = path.with_name(f"{path.name}.{os.getpid()}")
        write(mine, secrets.token_urlsafe(32))
        with suppress(FileExistsError):
            os.link(mine, path)
        mine.unlink()
    return path.read_text()
