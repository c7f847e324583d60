"""Serve the local cloud on loopback. Run as `python -m local.cloud.server`."""

import asyncio
import os
import signal
import sys
from typing import Any

from local.cloud.loopback import NotLoopback, allow_engine, stay_on_loopback
from local.workspace import CLOUD_STATE

# MiniStack reads its settings at import.
PORT = os.environ["LOCAL_CLOUD_PORT"]
HOST = os.environ.setdefault("BIND_HOST", "127.0.0.1")
os.environ.update(
    AUTH="true",
    LAMBDA_EXECUTOR="docker",
    GATEWAY_PORT=PORT,
    IOT_MTLS_ENABLED="0",
    PERSIST_STATE="1",
    STATE_DIR=str(CLOUD_STATE),
    # A proxy would call other machines for it.
    NO_PROXY="*",
    no_proxy="*",
)
# Tests set a shorter lifetime of registry tokens.
TOKEN_SECONDS = float(os.environ.get("LOCAL_CLOUD_TOKEN_SECONDS", "43200"))
GATE_IMAGE = os.environ.get("LOCAL_CLOUD_GATE_IMAGE", "")


async def main() -> None:
    """Serve until SIGTERM or SIGINT. Then MiniStack removes the containers of its functions."""
    from hypercorn.asyncio import serve
    from hypercorn.config import Config
    from hypercorn.logging import Logger

    from local import credentials
    from local.cloud import corrections, proxy
    from local.cloud.faults import Faults
    from local.cloud.front import Front
    from local.cloud.guard import Guard
    from local.cloud.kept import Kept

    class WithoutSignatures(Logger):
        """The access log, without the queries of presigned URLs, which are secret."""

        async def access(self, request: Any, response: Any, request_time: float) -> None:
            if b"x-amz-" in request["query_string"].lower():
                request = {**request, "query_string": b"..."}
            await super().access(request, response, request_time)

    corrections.apply()
    config = Config()
    config.bind = [f"{HOST}:{PORT}"]
    config.keep_alive_timeout = 75
    # One line for each call, in `.local/logs/cloud.log`.
    config.accesslog = "-"
    config.logger_class = WithoutSignatures
    config.access_log_format = "%(m)s %(Uq)s %({x-amz-target}i)s %(s)s"
    stopped = asyncio.Event()
    for sign in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(sign, stopped.set)
    front = Front(int(PORT), TOKEN_SECONDS, GATE_IMAGE)
    guarded: Any = Guard(Faults(Kept(front)), int(PORT), credentials.secret())
    await proxy.start(int(PORT))
    await serve(guarded, config, shutdown_trigger=stopped.wait)


if __name__ == "__main__":
    allow_engine(os.environ.get("DOCKER_HOST", ""))
    sys.addaudithook(stay_on_loopback)
    try:
        asyncio.run(main())
    except NotLoopback as error:
        sys.exit(str(error))
