"""`Deployment`: a registry stack and its consumer stacks as one, through Pulumi's Automation API.

Calls block; run them in a thread to go on meanwhile (`asyncio.to_thread`). Several deployments in one process share
nothing. https://www.pulumi.com/docs/iac/automation-api/
"""

import functools
import json
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pulumi.automation import CommandError, EngineEvent, OutputMap, Stack

from deployment import errors, events
from deployment.check import Check
from deployment.command import InterruptibleCommand
from deployment.errors import Cancelled, CheckFailed, ConfigurationError, ProviderError, TimedOut
from deployment.events import Diagnostic, Event, Step
from deployment.results import BLINDED, StackResult, StackStatus
from deployment.workspace import Backend, Program, Workspace

OnEvent = Callable[[Event], None]
Config = Mapping[str, Any]
Results = dict[str, StackResult]

LASTING = frozenset({"done", "planned"})


@dataclass(frozen=True, kw_only=True)
class Options:
    """How the stacks are run.

    Attributes:
        backend: where their state is kept.
        environment: variables of the program and the CLI, besides those of this process.
        timeout: seconds that one operation on one stack may take. Default: no limit.
        policy_packs: folders of policy packs that previews and updates have to pass.
        logs: folder for what the CLI prints; default a temporary one.
    """

    backend: Backend = field(default_factory=Backend)
    environment: Mapping[str, str] | None = None
    timeout: float | None = None
    policy_packs: Sequence[Path] = ()
    logs: Path | None = None


class Deployment:
    """A registry and its consumers.

    Use it in a `with` statement, or call `close` at the end.

    Args:
        folder: the program's folder, with `Pulumi.yaml`. Default the working directory.
        registry: name of the registry's stack; None leaves it alone.
        consumers: names of the consumers' stacks.
        settings: configuration by stack, keys without the project, in place of `Pulumi.STACK.yaml`.
        program: a program of this process in place of the folder's; relative paths still count from the folder.
        options: how they are run.
        on_event: is told what happens, one event at a time, from threads of this package.
    """

    def __init__(
        self,
        folder: Path = Path(),
        *,
        registry: str | None = "registry",
        consumers: Sequence[str] = ("consumer",),
        settings: Mapping[str, Config] | None = None,
        program: Program | None = None,
        options: Options | None = None,
        on_event: OnEvent = lambda event: None,
    ) -> None:
        self.registry = registry
        self.consumers = tuple(consumers)
        self._settings = settings or {}
        self._options = options or Options()
        self._workspace = Workspace(folder, self._options.backend, self._options.environment or {}, program)
        self._logs = self._options.logs or Path(tempfile.mkdtemp(prefix="deployment-logs-"))
        self._command = InterruptibleCommand()
        self._on_event = on_event
        self._telling = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Delete this deployment's scratch files; logs, state and resources stay."""
        self._workspace.close()

    def cancel(self) -> None:
        """Interrupt what runs, from any thread: operations under way are ended, states saved. It is for good."""
        self._command.interrupt()

    # ---- operations on all stacks

    def preview(self) -> Results:
        """What `up` would do. Previews need no right to push.

        Raises:
            DeploymentError: of the first stack that fails.
        """
        packs = [str(pack) for pack in self._options.policy_packs]
        return self._in_order(lambda name: self._run(name, "preview", policy_packs=packs))

    def up(self, *, check: Check | None = None, shares: Sequence[float] = ()) -> Results:
        """Deploy the registry, then the consumers side by side.

        Args:
            check: what each consumer's endpoint has to pass. If it does not, or if an operation fails, the consumer
                goes back to the image it ran before.
            shares: parts of the calls that a new image gets, one after the other, each checked, before it gets all.
                They need `function.release`.

        Raises:
            CheckFailed: the endpoint failed the check.
            DeploymentError: of the first stack that fails; consumers that run side by side go on.
        """
        registry = [self.registry] if self.registry else []
        results = {name: self._up(name) for name in registry}
        return results | self._side_by_side(lambda name: self._release(name, check, shares), self.consumers)

    def refresh(self) -> Results:
        """Take over into the states what has changed in the cloud."""
        return self._in_order(lambda name: self._run(name, "refresh"))

    def drift(self) -> Results:
        """What has changed in the cloud behind the states; the states stay as they are."""
        return self._in_order(lambda name: self._run(name, "preview_refresh"))

    def destroy(self, *, remove: bool = False) -> Results:
        """Destroy the consumers side by side, then the registry.

        Args:
            remove: whether the stacks and their history are deleted as well.
        """
        act = functools.partial(self._run, operation="destroy", remove=remove)
        results = self._side_by_side(act, self.consumers)
        return results | ({self.registry: act(self.registry)} if self.registry else {})

    def status(self) -> dict[str, StackStatus]:
        """What is known of all stacks."""
        return {name: self._status(name) for name in self._names()}

    def outputs(self, stack: str, *, show_secrets: bool = False) -> dict[str, Any]:
        """The outputs of a stack; `[secret]` in place of secret ones, unless they are asked for."""
        return _outputs(self._stack(stack).outputs(), show_secrets=show_secrets)

    # ---- operations on one consumer

    def rollback(self, consumer: str) -> StackResult:
        """Run the image that ran before the one that runs now.

        Raises:
            ConfigurationError: there was none.
        """
        digest = self.outputs(consumer).get("previousImageDigest")
        if not digest:
            raise ConfigurationError(f"{consumer} has run no other image", stack=consumer)
        return self._up(consumer, image={"digest": digest}, share=1.0)

    def promote(self, source: str, target: str) -> StackResult:
        """Run, in one consumer, the image that another runs, unbuilt."""
        return self._up(target, image={"promote": source})

    def repair(self, stack: str) -> StackResult:
        """Bring a stack back in order after a run was killed: give up its lock, and look at what is in the cloud.

        Resources that were being made and are not known to exist are dropped from the state. If they were made after
        all, the next update says that they exist already; import or delete them.
        https://www.pulumi.com/docs/support/troubleshooting/#interrupted-update-recovery
        """
        self._stack(stack).cancel()
        return self._run(stack, "refresh", clear_pending_creates=True)

    # ---- how

    def _names(self) -> list[str]:
        return [*([self.registry] if self.registry else []), *self.consumers]

    def _in_order(self, act: Callable[[str], StackResult]) -> Results:
        registry = {self.registry: act(self.registry)} if self.registry else {}
        return registry | self._side_by_side(act, self.consumers)

    def _side_by_side(self, act: Callable[[str], StackResult], names: Sequence[str]) -> Results:
        if not names:
            return {}
        with ThreadPoolExecutor(len(names)) as pool:
            running = {name: pool.submit(act, name) for name in names}
        return {name: future.result() for name, future in running.items()}

    def _release(self, name: str, check: Check | None, shares: Sequence[float]) -> StackResult:
        before = self._status(name).outputs.get("imageDigest", "")
        try:
            for share in shares if before else ():
                self._checked(name, check, self._up(name, share=share))
            return self._checked(name, check, self._up(name, share=1.0 if shares else None))
        except (CheckFailed, ProviderError) as error:
            if check is None or not before:
                raise
            self._up(name, image={"digest": before}, share=1.0 if shares else None)
            text = f"{error} It runs {before} again."
            raise CheckFailed(text, stack=name, rolled_back_to=before) from error

    def _checked(self, name: str, check: Check | None, result: StackResult) -> StackResult:
        url = result.outputs.get("endpointUrl")
        if check is None or not url:
            return result
        if problem := check.problem(str(url)):
            raise CheckFailed(f"GET {url} failed its check: {problem}.", stack=name, rolled_back_to="")
        return result

    def _up(self, name: str, *, image: Config | None = None, share: float | None = None) -> StackResult:
        config = self._config(name)
        if image is not None:
            config["image"] = dict(image)
        if share is not None and (release := config.get("function", {}).get("release")) is not None:
            changed = {**release, "previousShare": round(1 - share, 4)}
            config["function"] = {**config["function"], "release": changed}
        packs = [str(pack) for pack in self._options.policy_packs]
        return self._run(name, "up", config=config, policy_packs=packs)

    def _config(self, name: str) -> dict[str, Any]:
        return dict(self._settings[name]) if name in self._settings else self._workspace.config(name)

    def _stack(self, name: str, config: Config | None = None) -> Stack:
        return self._workspace.stack(name, self._config(name) if config is None else config, self._command)

    def _run(self, name: str, operation: str, *, config: Config | None = None, **options: Any) -> StackResult:
        """Run one operation on one stack, and turn what comes of it into plain values.

        Raises:
            DeploymentError: it failed.
        """
        began = time.monotonic()
        seen: list[Event] = []
        log = self._logs / f"{name}-{operation}-{int(time.time() * 1000)}.log"
        expired = threading.Event()
        stack = self._try(name, seen, expired, functools.partial(self._stack, name, config))
        timer = threading.Timer(self._options.timeout or 0, self._expire, [expired])
        if self._options.timeout:
            timer.start()
        try:
            with log.open("w") as file:
                arguments = {
                    "color": "never",
                    "suppress_outputs": True,
                    "on_output": lambda line: file.write(f"{line}\n"),
                    "on_error": lambda line: file.write(f"{line}\n"),
                    "on_event": functools.partial(self._see, name, seen),
                    **({"show_secrets": False} if operation in ("up", "refresh", "destroy") else {}),
                    **options,
                }
                self._try(name, seen, expired, lambda: getattr(stack, operation)(**arguments))
        finally:
            timer.cancel()
        steps = _steps(seen)
        outputs = {} if operation == "destroy" else _outputs(stack.outputs(), show_secrets=False)
        diagnostics = tuple(event for event in seen if isinstance(event, Diagnostic))
        told = "drift" if operation == "preview_refresh" else operation
        return StackResult(
            stack=name, operation=told, steps=steps, outputs=outputs, diagnostics=diagnostics,
            seconds=time.monotonic() - began, log=log,
        )  # fmt: skip

    def _try(self, name: str, seen: Iterable[Event], expired: threading.Event, act: Callable[[], Any]) -> Any:
        try:
            return act()
        except CommandError as error:
            if expired.is_set():
                text = f"{name} took longer than {self._options.timeout:g} s and was interrupted"
                raise TimedOut(text, stack=name, cure="Deploy again to go on, with more time.") from None
            if self._command.interrupted:
                raise Cancelled(f"{name} was cancelled", stack=name, cure="Deploy again to go on.") from None
            raise errors.translated(name, error, [event for event in seen if isinstance(event, Diagnostic)]) from None

    def _expire(self, expired: threading.Event) -> None:
        expired.set()
        self._command.interrupt()

    def _see(self, name: str, seen: list[Event], event: EngineEvent) -> None:
        if translated := events.translated(name, event):
            with self._telling:
                seen.append(translated)
                self._on_event(translated)

    def _status(self, name: str) -> StackStatus:
        stack = self._try(name, (), threading.Event(), functools.partial(self._stack, name))
        exported = self._command.run(
            ["stack", "export", "--stack", name], stack.workspace.work_dir, dict(stack.workspace.env_vars)
        )
        state = json.loads(exported.stdout)["deployment"]
        resources = [item for item in state.get("resources") or () if item["type"] != "pulumi:pulumi:Stack"]
        pending = [item["resource"]["urn"] for item in state.get("pending_operations") or ()]
        return StackStatus(
            stack=name, deployed=bool(resources), resources=len(resources),
            outputs=_outputs(stack.outputs(), show_secrets=False), pending=tuple(pending),
        )  # fmt: skip


def _steps(seen: Iterable[Event]) -> tuple[Step, ...]:
    """Each resource's last word."""
    last = {(event.urn, event.operation): event for event in seen if isinstance(event, Step)}
    return tuple(step for step in last.values() if step.state in LASTING)


def _outputs(outputs: OutputMap, *, show_secrets: bool) -> dict[str, Any]:
    return {name: BLINDED if item.secret and not show_secrets else item.value for name, item in outputs.items()}
