"""The secrets of a local run: random, and in files that only their owner reads."""

import base64
import hashlib
import hmac
import json
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any

from local.workspace import ACCOUNTS, AWS, LOCAL, REGION, RUN, port

# Of the local cloud, from its first start until `make down`.
SECRET = RUN / "secret"
# Of this folder: what Pulumi has encrypted with it outlives the local cloud.
PASSPHRASE = LOCAL / "passphrase"


def secret() -> str:
    """The secret of the local cloud: the bearer token of its own calls, and what every account's key comes from."""
    return _kept(SECRET)


def secret_access_key(account: str) -> str:
    """The secret access key of an account's root; the access key ID is the account ID itself."""
    code = hmac.digest(secret().encode(), account.encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(code).decode()[:40]


def web_identity_token(claims: dict[str, Any], key: str) -> str:
    """A token as an OIDC provider issues it, such as GitHub to a workflow. The local cloud takes no others.

    Args:
        claims: `iss`, `aud`, `sub` and `exp`, among others.
        key: the secret of the local cloud.
    """
    parts = [json.dumps(part).encode() for part in ({"alg": "HS256", "typ": "JWT"}, claims)]
    text = ".".join(map(_encoded, parts))
    return f"{text}.{_signature(text, key)}"


def claims(token: str, key: str) -> dict[str, Any] | None:
    """What a token says, or None if it is not signed with this key."""
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
    """The profiles `registry` and `consumer`: the roots of these accounts in the local cloud."""
    config, keys = [], []
    for profile, account in ACCOUNTS.items():
        config.append(f"[profile {profile}]\nregion = {REGION}\nendpoint_url = http://127.0.0.1:{port()}\n")
        key = f"aws_access_key_id = {account}\naws_secret_access_key = {secret_access_key(account)}\n"
        keys.append(f"[{profile}]\n{key}")
    (AWS / "config").write_text("\n".join(config))
    write(AWS / "credentials", "\n".join(keys))


def write(path: Path, text: str) -> None:
    """Write a file that only its owner reads, whatever it was before."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def _kept(path: Path) -> str:
    """What is in a file; a random text if there is none yet. Of two that create it at once, the first one wins."""
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        mine = path.with_name(f"{path.name}.{os.getpid()}")
        write(mine, secrets.token_urlsafe(32))
        with suppress(FileExistsError):
            os.link(mine, path)
        mine.unlink()
    return path.read_text()
