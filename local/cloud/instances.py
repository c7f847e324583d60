"""Instances of functions: containers with the limits of a function on AWS, called through their Runtime API.

https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html
"""

import json
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import docker
from docker.models.containers import Container, ContainerCollection
from ministack.core.responses import request_scope
from ministack.services import cloudwatch_logs, lambda_svc

from local.cloud import access, partition
from local.cloud.access import Key
from local.cloud.gate import CONFINED, USER, Gate, Gates
from local.cloud.runtime import Result

Document = dict[str, Any]

# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
PROCESSES = 1024
# https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html#configuration-envvars-runtime
VARIABLES = {
    "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
    "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
    "LAMBDA_RUNTIME_DIR": "/var/runtime",
    "LAMBDA_TASK_ROOT": "/var/task",
    "TZ": ":UTC",
}
# By then Docker has what a function wrote during a call.
LATE_SECONDS = 1
# Variables that MiniStack sets for its own runtimes and for an emulator in the image.
FOREIGN = ("_", "AWS_LAMBDA_FUNCTION_TIMEOUT")
# Configuration of the function that is called in this context, and its ARN as it was called.
CALLED: ContextVar[Document] = ContextVar("CALLED")
CALLED_ARN: ContextVar[str] = ContextVar("CALLED_ARN", default="")


class Instance(Container):  # type: ignore[misc]  # docker has no types
    """A function's container, which ends with its gate."""

    gate: Gate
    configuration: Document
    environment: dict[str, str]
    is_cold = True
    read_until = 0.0
    read: frozenset[tuple[str, str]] = frozenset()
    request = ""
    reading: threading.Lock

    def reload(self) -> None:
        """Read its state again."""
        super().reload()
        if not self.gate.serves:
            self.attrs["State"]["Status"] = "dead"  # and replaced with the next call

    def remove(self, **options: Any) -> None:
        """Remove it, with its gate."""
        self.write_late()
        try:
            super().remove(**options)
        finally:
            self.gate.close()

    def lines(self) -> list[tuple[int, str]]:
        """The lines that it wrote since the last call: time in milliseconds, and text."""
        with self.reading:
            # A line of one stream may come after one of the other with a later time.
            since = {"since": self.read_until - 1} if self.read_until else {}
            told = self.logs(stdout=True, stderr=True, timestamps=True, **since).decode(errors="replace")
            lines = [(when, text) for when, _, text in (line.partition(" ") for line in told.split("\n")) if when]
            new = [line for line in lines if line not in self.read]
            if lines:
                self.read, self.read_until = frozenset(lines), datetime.fromisoformat(max(lines)[0]).timestamp()
        return [(int(datetime.fromisoformat(when).timestamp() * 1000), text) for when, text in new]

    def write_late(self, request: str | None = None) -> None:
        """Write what came after the end of a call, unless there is another one. Lambda also writes it later."""
        if request in (self.request, None):
            with suppress(docker.errors.DockerException, OSError):
                if lines := self.lines():
                    _write(self, lines)

    def await_end(self) -> None:
        """Wait until it ends, and report its exit code to the gate."""
        with suppress(docker.errors.DockerException, OSError):
            self.gate.ended(self.wait(timeout=None)["StatusCode"])

    @property
    def peak_mb(self) -> int:
        """Peak memory of its process in MB; the function's memory size if this machine does not report it."""
        size = int(self.configuration["MemorySize"])
        with suppress(OSError, StopIteration, KeyError, ValueError):
            status = Path(f"/proc/{self.attrs['State']['Pid']}/status").read_text()
            line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
            return min(-(-int(line.split()[1]) // 1024), size)
        return size


def install(gates: Gates, cloud: str) -> None:
    """Let MiniStack start and call instances of this kind.

    Args:
        gates: of the functions.
        cloud: URL of the local cloud.
    """
    ContainerCollection.run = _confined(ContainerCollection.run, gates, cloud)
    lambda_svc._invoke_rie = invoke
    lambda_svc._execute_function_docker = _naming(lambda_svc._execute_function_docker)
    lambda_svc._emit_lambda_logs = _unless_written(lambda_svc._emit_lambda_logs)
    lambda_svc._warm_pool_key = _by_revision(lambda_svc._warm_pool_key)


def _naming(execute: Callable[..., Document]) -> Callable[..., Document]:
    def execute_named(function: Document, *rest: Any) -> Document:
        CALLED.set(function.get("config") or function)
        return execute(function, *rest)

    return execute_named


def _unless_written(emit: Callable[..., None]) -> Callable[..., None]:
    def emit_lambda_logs(*arguments: Any, log_source: str | None = None) -> None:
        if log_source != "rie":
            emit(*arguments, log_source=log_source)

    return emit_lambda_logs


def _by_revision(key: Callable[..., str]) -> Callable[..., str]:
    """Versions of a function have the same image and other options, and any update starts new instances."""
    return lambda name, found: f"{key(name, found)}:{found.get('Version')}:{found.get('RevisionId')}"


def _confined(run: Callable[..., Any], gates: Gates, cloud: str) -> Callable[..., Any]:
    """Start a function's container with the limits of Lambda. MiniStack starts it with Docker's defaults."""

    def run_confined(
        containers: ContainerCollection, image: str, *, environment: dict[str, str], **options: Any
    ) -> Container:
        configuration = CALLED.get()
        memory, storage = f"{configuration['MemorySize']}m", configuration["EphemeralStorage"]["Size"]
        for name in ("network", "ports", "extra_hosts"):
            options.pop(name, None)
        taken = gates.take(containers.client)
        variables = {**_variables(configuration, environment), "AWS_LAMBDA_RUNTIME_API": taken.address}
        taken.runtime.started = time.monotonic()
        try:
            started = run(
                containers, image, environment={**variables, "AWS_ENDPOINT_URL": cloud},
                network_mode=f"container:{taken.id}",
                tmpfs={"/tmp": f"size={storage}m,mode=1777,exec"},  # noqa: S108  # the function's own
                user=USER, mem_limit=memory, memswap_limit=memory, pids_limit=PROCESSES, **CONFINED, **options,
            )  # fmt: skip
        except BaseException:
            taken.close()
            raise
        finally:
            gates.prepare(containers.client)
        instance = Instance(started.attrs, started.client, started.collection)
        instance.gate, instance.configuration, instance.environment = taken, configuration, variables
        instance.reading = threading.Lock()
        threading.Thread(target=instance.await_end, name="instance", daemon=True).start()
        return instance

    return run_confined


def _variables(configuration: Document, environment: dict[str, str]) -> dict[str, str]:
    words = partition.of(_region(configuration))
    today, version = datetime.now(UTC), configuration["Version"]
    logging = configuration.get("LoggingConfig") or {}
    is_json = logging.get("LogFormat") == "JSON"
    return {
        **{name: words.text(value) for name, value in environment.items() if not name.startswith(FOREIGN)},
        **VARIABLES,
        "AWS_ACCESS_KEY": environment["AWS_ACCESS_KEY_ID"],
        "AWS_LAMBDA_LOG_GROUP_NAME": logging.get("LogGroup") or f"/aws/lambda/{configuration['FunctionName']}",
        "AWS_LAMBDA_LOG_STREAM_NAME": f"{today:%Y/%m/%d}/[{version}]{secrets.token_hex(16)}",
        **({"AWS_LAMBDA_LOG_FORMAT": "JSON"} if is_json else {}),
    }


def _region(configuration: Document) -> str:
    return str(configuration["FunctionArn"].split(":")[3])


def invoke(instance: Instance, event: Any, seconds: int, request: str) -> Document:
    """Call an instance, and write its log. Returns what MiniStack's own call of an emulator returns."""
    called, payload = CALLED.get(), json.dumps(event).encode()
    instance.request = request
    arn = partition.of(_region(called)).text(CALLED_ARN.get() or called["FunctionArn"])
    trace = f"Root=1-{int(time.time()):08x}-{secrets.token_hex(12)};Parent={secrets.token_hex(8)};Sampled=0"
    began = _now()
    result = instance.gate.call(request, payload, arn=arn, trace=trace, seconds=seconds)
    ended = _now()
    if instance.is_cold:
        instance.reload()  # its process was not known before it was started
    lines = _framed(instance, request, result, [(began, ""), *instance.lines(), (ended, "")])
    instance.is_cold = False
    _write(instance, lines)
    late = threading.Timer(LATE_SECONDS, instance.write_late, (request,))
    late.daemon = True
    late.start()
    text = result.payload.decode(errors="replace")
    answer: Document = {"log": "\n".join(line for _, line in lines), "log_source": "rie"}
    try:
        answer["body"] = json.loads(text)
    except ValueError:
        answer |= {"body": text, "raw_payload": True}
    if result.failed:
        answer |= {"error": True, "function_error": "Unhandled"}
    return {**answer, "timeout": result.is_over}


def _now() -> int:
    return int(time.time() * 1000)


def _framed(instance: Instance, request: str, result: Result, lines: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """The lines of a call between those that Lambda writes itself.

    https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-view.html
    """
    (began, _), *own, (ended, _) = lines
    configuration, milliseconds = instance.configuration, result.seconds * 1000
    version, billed = configuration["Version"], -(-milliseconds // 1)
    metrics = {
        "durationMs": round(milliseconds, 2), "billedDurationMs": int(billed),
        "memorySizeMB": configuration["MemorySize"], "maxMemoryUsedMB": instance.peak_mb,
        **({"initDurationMs": round(instance.gate.runtime.init_seconds * 1000, 2)} if instance.is_cold else {}),
    }  # fmt: skip
    kind = json.loads(result.payload).get("errorType", "") if result.is_over and result.failed else ""
    status = {"": "success", "Sandbox.Timedout": "timeout"}.get(kind, "error")
    if kind == "Sandbox.Timedout":
        reason = json.loads(result.payload)["errorMessage"].partition("Error: ")[2]
        own.append(
            (ended, f"{datetime.fromtimestamp(ended / 1000, UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + f"Z {request} {reason}")
        )
    if (configuration.get("LoggingConfig") or {}).get("LogFormat") == "JSON":
        start = _event(began, "platform.start", {"requestId": request, "version": version})
        record = {"requestId": request, "metrics": metrics, "status": status}
        return [(began, start), *own, (ended, _event(ended, "platform.report", record))]
    init = f"Init Duration: {metrics['initDurationMs']:.2f} ms\t" if instance.is_cold else ""
    report = (
        f"REPORT RequestId: {request}\tDuration: {milliseconds:.2f} ms\tBilled Duration: {billed:.0f} ms\t"
        f"Memory Size: {metrics['memorySizeMB']} MB\tMax Memory Used: {metrics['maxMemoryUsedMB']} MB\t{init}"
        + (f"Status: {status}" if kind else "")
    )
    return [
        (began, f"START RequestId: {request} Version: {version}"), *own,
        (ended, f"END RequestId: {request}"), (ended, report),
    ]  # fmt: skip


def _event(when: int, kind: str, record: Document) -> str:
    told = f"{datetime.fromtimestamp(when / 1000, UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"
    return json.dumps({"time": told, "type": kind, "record": record})


def _write(instance: Instance, lines: list[tuple[int, str]]) -> None:
    """Write lines to the function's log group, as far as its role may.

    https://docs.aws.amazon.com/lambda/latest/dg/lambda-intro-execution-role.html
    """
    region, account = instance.configuration["FunctionArn"].split(":")[3:5]
    variables, words = instance.environment, partition.of(region)
    group, stream = variables["AWS_LAMBDA_LOG_GROUP_NAME"], variables["AWS_LAMBDA_LOG_STREAM_NAME"]
    role, arn = Key(variables["AWS_ACCESS_KEY_ID"], account), f"arn:aws:logs:{region}:{account}:log-group:{group}"

    def may(action: str, resource: str) -> bool:
        return access.denial(role, f"logs:{action}", resource) is None

    with request_scope(account, region):
        if group not in cloudwatch_logs._log_groups and may("CreateLogGroup", arn):
            cloudwatch_logs._create_log_group({"logGroupName": group})
        if may("CreateLogStream", f"{arn}:log-stream:{stream}"):
            cloudwatch_logs._create_log_stream({"logGroupName": group, "logStreamName": stream})
        if may("PutLogEvents", f"{arn}:log-stream:{stream}"):
            events = [{"timestamp": when, "message": words.text(text)} for when, text in lines]
            cloudwatch_logs._put_log_events({"logGroupName": group, "logStreamName": stream, "logEvents": events})
