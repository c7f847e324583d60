"""The gRPC server of the stand-in plugins. It listens on loopback and ends with the engine."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import grpc

# The engine sends large states in one message.
OPTIONS = [("grpc.max_receive_message_length", 400 * 1024 * 1024)]
THREADS = 32


def serve(add_to: Callable[[grpc.Server], None], at_end: Callable[[], None] = lambda: None) -> None:
    """Serve until the engine ends this process or ends itself.

    Prints the port in the first line, where the engine reads it. The engine runs each plugin in its own process group
    and ends it with SIGINT. Ctrl-C on the terminal does not reach it.

    Args:
        add_to: adds the service to the server.
        at_end: ends the plugin's child processes.
    """

    def end() -> None:
        at_end()
        os._exit(0)

    signal.signal(signal.SIGINT, lambda number, frame: end())
    server = grpc.server(ThreadPoolExecutor(max_workers=THREADS), options=OPTIONS)
    add_to(server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    engine = os.getppid()
    threading.Thread(target=_end_with, args=(engine, end), daemon=True).start()
    server.wait_for_termination()


def engine_address() -> str:
    """The engine's address: the last argument, after options with and without values."""
    return sys.argv[-1]


def _end_with(engine: int, end: Callable[[], None]) -> None:
    while os.getppid() == engine:
        time.sleep(0.5)
    end()
