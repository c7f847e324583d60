"""Saves the contents of the local cloud after each change, so that they survive a killed server.

MiniStack saves its state only when it stops normally. The layers of images are saved here in one file each, once.
"""

import logging
import os
import re
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

from ministack import app as ministack
from ministack.core.persistence import load_state, save_all
from ministack.services import ecr, lambda_svc

from local.cloud import replication
from local.cloud.asgi import App, Receive, Scope, Send

FOLDER = Path(os.environ["STATE_DIR"])
LAYERS = FOLDER / "layers"
# Not MiniStack's name for ECR, so that MiniStack neither loads nor saves it.
REGISTRY = "registry"
# The methods and actions that change nothing that is saved.
READING = ("GET", "HEAD")
READS = re.compile(r"(BatchGet|Describe|Get|List)\w+")


class Kept:
    """ASGI application around another one. It saves changes before it sends the response."""

    def __init__(self, inner: App) -> None:
        self._inner = inner
        LAYERS.mkdir(parents=True, exist_ok=True)
        logging.getLogger("persistence").setLevel(logging.WARNING)
        ministack._state_map.pop("ecr")
        if registry := load_state(REGISTRY):
            layers = registry["layer_blobs"]._data
            for repository, digests in layers.items():
                layers[repository] = {digest: (LAYERS / digest).read_bytes() for digest in digests}
            replication.CONFIGURATIONS.update(registry.pop("replication"))
            ecr.load_persisted_state(registry)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on. If it may have changed something, save before the response is sent."""

        async def saving(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                save_all({**ministack._build_persistence_save_dict(), "lambda": _functions, REGISTRY: _registry})
            await send(message)

        reads = scope["type"] != "http" or scope["method"] in READING or READS.fullmatch(scope.get("action", ""))
        await self._inner(scope, receive, send if reads else saving)


def _registry() -> dict[str, Any]:
    """The state of ECR, with the digests of layers instead of their content."""
    state: dict[str, Any] = ecr.get_state()
    layers = state["layer_blobs"]._data
    for repository, contents in layers.items():
        for digest, content in contents.items():
            if not (LAYERS / digest).exists():
                partial = LAYERS / f"{digest}.partial"
                partial.write_bytes(content)
                partial.rename(LAYERS / digest)
        layers[repository] = list(contents)
    return {**state, "replication": replication.CONFIGURATIONS}


def _functions() -> dict[str, Any]:
    """The state of Lambda. Pending states of functions are complete after a restart."""
    state: dict[str, Any] = lambda_svc.get_state()
    for function in state["functions"]._data.values():
        for version in (function, *function.get("versions", {}).values()):
            if version["config"].get("State") == "Pending":
                version["config"] |= {"State": "Active", "LastUpdateStatus": "Successful"}
    return state
