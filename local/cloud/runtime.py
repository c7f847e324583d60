"""Lambda's Runtime API: the runtime in a function's container gets events from it and sends it the responses.

Each instance of a function has its own, and reaches it through its gate.
https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

import asyncio
import json
import re
import time
from asyncio import StreamReader, StreamWriter
from dataclasses import dataclass, field
from typing import Any

import h11

PATH = re.compile(
    r"/2018-06-01/runtime/(?:init/(?P<init>error)|invocation/(?:(?P<next>next)|(?P<id>[\w-]+)/(?P<end>response|error)))"
)
ERROR_TYPE = b"lambda-runtime-function-error-type"
CHUNK = 65_536
# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
PAYLOAD_BYTES = 6 * 1024**2
RESPONSE_BYTES = PAYLOAD_BYTES + 100
TOO_LARGE = f"Response payload size exceeded maximum allowed payload size ({RESPONSE_BYTES} bytes)."
# https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html#runtimes-lifecycle-ib
INIT_SECONDS = 10
KILLED = 128

Reply = tuple[int, dict[str, str], bytes]


@dataclass
class Call:
    """A call of the function.

    Attributes:
        id: the request ID.
        event: the event, as JSON.
        arn: the function as it was called, with version or alias.
        trace: the trace header.
        seconds: how long it may take.
        began: when the runtime took the event; 0 before.
    """

    id: str
    event: bytes
    arn: str
    trace: str
    seconds: float
    began: float = 0.0
    answer: "asyncio.Future[tuple[bytes, bool]]" = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


@dataclass(frozen=True)
class Result:
    """The result of a call.

    Attributes:
        payload: what the function returned, or its error.
        failed: whether it is an error.
        seconds: how long the call took.
        is_over: whether the instance is not called again.
    """

    payload: bytes
    failed: bool
    seconds: float
    is_over: bool = False


class Runtime:
    """The Runtime API of one instance. It belongs to the event loop of the gates."""

    def __init__(self) -> None:
        self._calls: asyncio.Queue[Call] = asyncio.Queue()
        self._call: Call | None = None
        self.started = time.monotonic()
        self._asked = asyncio.Event()
        self._exit: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.init_seconds = 0.0
        # Runtimes end after an error of the start, and some after an answer that is refused.
        self._is_over = False

    def ended(self, status: int) -> None:
        """The instance's process has ended."""
        if not self._exit.done():
            self._exit.set_result(status)

    async def call(self, request: str, event: bytes, *, arn: str, trace: str, seconds: float) -> Result:
        """Let the function answer an event; one at a time."""
        call = self._call = Call(request, event, arn, trace, seconds)
        await self._calls.put(call)
        asked = asyncio.ensure_future(self._asked.wait())
        await self._any(INIT_SECONDS + seconds, asked, call.answer)
        asked.cancel()
        if not self._asked.is_set() and not call.answer.done() and not self._exit.done():
            return self._failed(call, "Sandbox.Timedout", f"Task timed out after {INIT_SECONDS + seconds:.2f} seconds")
        await self._any(seconds, call.answer)
        took = time.monotonic() - (call.began or self.started)
        if call.answer.done():
            payload, failed = call.answer.result()
            return Result(payload, failed, took, is_over=self._is_over or self._exit.done())
        if not self._exit.done():
            return self._failed(call, "Sandbox.Timedout", f"Task timed out after {seconds:.2f} seconds")
        status = self._exit.result()
        how = "signal: killed" if status == KILLED + 9 else f"exit status {status}"
        reason = f"Runtime exited with error: {how}" if status else "Runtime exited without providing a reason"
        return self._failed(call, "Runtime.ExitError", reason)

    async def _any(self, seconds: float, *futures: "asyncio.Future[Any]") -> None:
        await asyncio.wait({self._exit, *futures}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)

    def _failed(self, call: Call, kind: str, reason: str) -> Result:
        """The error of an instance that no longer answers."""
        self._call = None
        error = {"errorType": kind, "errorMessage": f"RequestId: {call.id} Error: {reason}"}
        took = time.monotonic() - (call.began or self.started)
        return Result(json.dumps(error).encode(), True, min(took, call.seconds) if call.began else took, is_over=True)

    async def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Serve a connection of the instance."""
        http = h11.Connection(h11.SERVER)
        try:
            while (request := await _request(http, reader, writer)) is not None:
                head, body = request
                status, headers, text = await self._reply(head, body)
                named = {**headers, "Content-Type": "application/json", "Content-Length": str(len(text))}
                answer = h11.Response(status_code=status, headers=list(named.items()))
                for event in (answer, h11.Data(data=text), h11.EndOfMessage()):
                    writer.write(http.send(event) or b"")
                await writer.drain()
                if http.our_state is not h11.DONE:
                    break
                http.start_next_cycle()
        except (OSError, h11.RemoteProtocolError):
            pass  # the call fails when the instance ends or the time is over
        finally:
            writer.close()

    async def _reply(self, head: h11.Request, body: bytes) -> Reply:
        match = PATH.fullmatch(head.target.decode())
        if match is None:
            return _refusal(404, "NotFound", "There is no such path.")
        if match["next"]:
            return await self._next()
        call = self._call
        if call is None or match["id"] not in (call.id, None) or call.answer.done():
            return _refusal(400, "InvalidRequestID", "Invalid request ID")
        if match["end"] == "response" and len(body) > RESPONSE_BYTES:
            error = {"errorType": "Function.ResponseSizeTooLarge", "errorMessage": TOO_LARGE}
            call.answer.set_result((json.dumps(error).encode(), True))
            self._is_over = True
            return _refusal(413, "RequestEntityTooLarge", TOO_LARGE)
        self._is_over = match["init"] is not None
        call.answer.set_result((body, match["end"] != "response"))
        return 202, {}, b'{"status":"OK"}'

    async def _next(self) -> Reply:
        if not self._asked.is_set():
            self.init_seconds = time.monotonic() - self.started
            self._asked.set()
        call = await self._calls.get()
        call.began = time.monotonic()
        headers = {
            "Lambda-Runtime-Aws-Request-Id": call.id,
            "Lambda-Runtime-Deadline-Ms": str(int((time.time() + call.seconds) * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": call.arn,
            "Lambda-Runtime-Trace-Id": call.trace,
        }
        return 200, headers, call.event


async def _request(
    http: h11.Connection, reader: StreamReader, writer: StreamWriter
) -> tuple[h11.Request, bytes] | None:
    """The next request with its body; None at the end of the connection."""
    head, body = None, bytearray()
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            if http.they_are_waiting_for_100_continue:
                writer.write(http.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
            http.receive_data(await reader.read(CHUNK))
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage) and head:
            return head, bytes(body)
        else:
            return None


def _refusal(status: int, kind: str, text: str) -> Reply:
    return status, {}, json.dumps({"errorType": kind, "errorMessage": text}).encode()
