"""What every stand-in plugin needs to be run by the engine: a gRPC server on loopback that ends with its engine."""

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
    """Serve until the engine ends this process or is gone itself.

    Prints the port as the first line, which is how the engine finds a plugin. The engine runs plugins in process groups
    of their own and ends them with SIGINT; Ctrl-C on the terminal does not reach them.

    Args:
        add_to: adds the service to the server.
        at_end: ends what the plugin has started.
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
    """The engine's address, the plugin's last argument: behind options, some of which have a value of their own."""
    return sys.argv[-1]


def _end_with(engine: int, end: Callable[[], None]) -> None:
    while os.getppid() == engine:
        time.sleep(0.5)
    end()
