"""Serve the local cloud on loopback. Run as `python -m local.cloud.server`."""

import asyncio
import os
import signal

# MiniStack reads its settings when it is imported.
PORT = os.environ["LOCAL_CLOUD_PORT"]
os.environ.update(AUTH="true", LAMBDA_EXECUTOR="docker", GATEWAY_PORT=PORT, BIND_HOST="127.0.0.1")

from hypercorn.asyncio import serve  # noqa: E402
from hypercorn.config import Config  # noqa: E402

from local.cloud.front import Front  # noqa: E402


async def main() -> None:
    """Serve until SIGTERM or SIGINT, then let MiniStack remove the containers of its functions."""
    config = Config()
    config.bind = [f"127.0.0.1:{PORT}"]
    config.keep_alive_timeout = 75
    # One line a call, in `.local/logs/cloud.log`: what a deployment asked for can be read, and counted.
    config.accesslog = "-"
    config.access_log_format = "%(m)s %(Uq)s %({x-amz-target}i)s %(s)s"
    stopped = asyncio.Event()
    for sign in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(sign, stopped.set)
    await serve(Front(int(PORT)), config, shutdown_trigger=stopped.wait)


if __name__ == "__main__":
    asyncio.run(main())
