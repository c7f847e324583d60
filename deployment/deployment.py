"""`Deployment`: manage a registry stack and its consumer stacks together, through Pulumi's Automation API.

Calls block; to run them in the background, use a thread (`asyncio.to_thread`). Deployments in one process do not share
state. https://www.pulumi.com/docs/iac/automation-api/
"""

import contextlib
import dataclasses
import functools
import getpass
import json
import math
import os
import re
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

from pulumi.automation import CommandError, EngineEvent, PulumiCommand, Stack, StackAlreadyExistsError

from deployment import errors, events
from deployment.aws import Function
from deployment.check import Check, is_success
from deployment.command import InterruptibleCommand
from deployment.errors import (
    BuildError,
    Cancelled,
    CheckFailed,
    ConfigurationError,
    ConflictError,
    DeploymentError,
    ProviderError,
    TimedOut,
)
from deployment.events import BLINDED, STACK, UNCOUNTED, UNKNOWN, Checking, Diagnostic, Ended, Event, Step
from deployment.prepared import PreparedProgram
from deployment.results import UNCHANGED, StackResult, StackStatus, Update
from deployment.workspace import Backend, Program, QuietStack, UnselectedWorkspace, Workspace

OnEvent = Callable[[Event], None]
Config = Mapping[str, Any]
Results = dict[str, StackResult]
Result = TypeVar("Result")

# The message of an operation in Pulumi's history.
MESSAGE = re.compile(r"(?P<who>\S+@[^\s,;]+(, commit \w+)?)(; (?P<image>sha256:[0-9a-f]{64}) ran before)?")

# The configuration key that passes the planned outputs of the registry to a consumer's preview.
PLANNED = "deployment:registry"
# The configuration key that excludes the build from a consumer's preview.
BUILD = "deployment:build"

HISTORY_LENGTH = 100

# URL schemes that `pulumi whoami` prints for Pulumi Cloud. For a self-hosted one the URL may be empty.
CLOUD = frozenset({"https", "http", ""})

ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+", re.ASCII)
LASTING = frozenset({"done", "planned"})
# Without the parts of a replacement, which is reported as one step.
WHOLE = frozenset({"create", "update", "replace", "delete", "import", *UNCHANGED})

# How long a cancelled operation may continue: AWS calls until they are complete; a build or push, which its provider
# does not end; the engine after its providers have ended.
POLL_SECONDS, CALL_SECONDS, IMAGE_SECONDS, ENGINE_SECONDS = 0.1, 30, 2, 20


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options for running the stacks.

    Attributes:
        backend: where the state is stored.
        environment: additional environment variables for the program and the CLI.
        timeout: time limit in seconds for one operation on one stack. Default: no limit.
        policy_packs: folders of policy packs that previews and updates must pass.
        assume_roles: ARNs of roles, at most one for each account. With roles, the environment's credentials replace
            those in the stacks' configuration, and assume the role of each account that has one.
        logs: folder for the CLI's output. Default: a temporary folder.
    """

    backend: Backend = field(default_factory=Backend)
    environment: Mapping[str, str] | None = None
    timeout: float | None = None
    policy_packs: Sequence[Path] = ()
    assume_roles: Sequence[str] = ()
    logs: Path | None = None


@dataclass(frozen=True)
class Run:
    """An operation on a stack: its working directory, its events, and its outcome."""

    folder: str
    seen: list[Event] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)
    expired: threading.Event = field(default_factory=threading.Event)
    forced: threading.Event = field(default_factory=threading.Event)
    killed: threading.Event = field(default_factory=threading.Event)


class Deployment:
    """A registry and its consumers.

    Use it in a `with` statement, or call `close` at the end.

    Args:
        folder: the program's folder, with `Pulumi.yaml`. Default the working directory.
        registry: name of the registry's stack; None excludes it.
        consumers: names of the consumers' stacks.
        settings: configuration by stack, keys without the project. Replaces `Pulumi.STACK.yaml`.
        program: an inline program that replaces the folder's `__main__.py`. Its relative paths are resolved in this
            process's working directory, those of providers in the folder.
        options: options for running the stacks.
        on_event: called with one event at a time, from threads of this package. It must not raise.

    Raises:
        ConfigurationError: the project or a policy pack does not exist, or the timeout is not above 0.
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
        self.consumers = tuple(dict.fromkeys(consumers))
        self._settings = settings or {}
        self._options = options or Options()
        _require_sensible(self._options)
        self._workspace = Workspace(folder, self._options.backend, self._options.environment or {}, program)
        self._logs = self._options.logs or Path(tempfile.mkdtemp(prefix="deployment-logs-"))
        self._packs = [str(pack) for pack in self._options.policy_packs]
        self._command = InterruptibleCommand()
        self._on_event = on_event
        # The configuration of each stack, with the content of the file it was read from.
        self._read: dict[str, tuple[bytes, Config]] = {}
        # The image that a stack ran before its last update.
        self._ran_before: dict[str, str] = {}
        self._prepared: dict[str, PreparedProgram] = {}
        self._telling = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Delete temporary files, and end prepared programs. Logs, state and resources stay."""
        for program in self._prepared.values():
            program.end()
        self._workspace.close()

    def cancel(self) -> None:
        """Cancel all operations, from any thread, and save the states. A second call does not wait for AWS."""
        self._command.interrupt()

    # ---- operations on all stacks

    def preview(self, *, build: bool = True, refresh: bool = False) -> Results:
        """Show what `up` would do. Previews need no permission to push. A stack that does not exist is created, empty.

        Consumers are previewed as if the registry were updated: accounts, Regions and repositories that its preview
        adds count as present.

        Args:
            build: False previews each consumer with the image that it runs, without Docker. The image of a consumer
                that has none is unknown.
            refresh: as for `up`.

        Raises:
            DeploymentError: of the first stack that fails; its `outcomes` have those of the others.
        """
        planned: dict[str, Any] = {}

        def preview(name: str) -> StackResult:
            result = self._preview(name, build, refresh, planned)
            if name == self.registry and result.outputs != result.outputs_before:
                known = {key: value for key, value in result.outputs.items() if _is_clear(value)}
                planned[PLANNED] = {"stack": name, "outputs": known}
            return result

        return self._in_order(preview)

    def up(self, *, check: Check | None = None, shares: Sequence[float] = (), refresh: bool = False) -> Results:
        """Deploy the registry, then the consumers in parallel.

        Args:
            check: the check that each consumer's endpoint must pass. If the check or an operation fails, the consumer
                returns to its previous image. The state is refreshed first.
            shares: shares of the calls that a new image gets before it gets all of them, such as 0.1 and 0.5. Each is
                checked. They need `function.release`. Changes other than the image apply to all calls.
            refresh: refresh the state first, and so revert changes made outside Pulumi.

        Raises:
            ConfigurationError: a consumer does not support the check or the shares. Nothing was deployed.
            CheckFailed: the endpoint failed the check.
            DeploymentError: of the first stack that fails; consumers that run in parallel continue.
        """
        for name in self.consumers:
            if name not in self._settings:
                self._workspace.file(name)
            if check or shares:
                self._require_release(name, check, shares)
        return self._in_order(
            lambda name: (
                self._up(name, refresh=refresh)
                if name == self.registry
                else self._release(name, check, shares, refresh or check is not None)
            )
        )

    def sync(
        self, stacks: Collection[str], *, check: Check | None = None, stop: Callable[[], bool] = lambda: False
    ) -> Results:
        """Update some of the stacks quickly: without a refresh, and without a rollback after a failed check.

        Args:
            stacks: their names.
            check: the check that the consumers' endpoints must pass.
            stop: ends the checks when it returns True. A consumer whose check was stopped has an empty `checked`.

        Raises:
            CheckFailed: an endpoint failed the check.
            DeploymentError: of the first stack that fails.
        """
        for name in {*stacks} & {*self.consumers} if check else ():
            self._require_release(name, check, ())
        stages = [[name for name in stage if name in stacks] for stage in self._stages]
        return self._each(
            lambda name: self._up(name) if name == self.registry else self._checked(name, check, self._up(name), stop),
            stages,
        )

    def prepare(self, stacks: Collection[str]) -> None:
        """Start the programs of the next `sync` of these stacks, so that it does not wait for their imports.

        From the second time on, they import the packages that they used before. Their own files are read at the `sync`.
        """
        if python := self._workspace.python:
            variables, logs = {**os.environ, **self._workspace.variables}, self._logs
            for name in {*stacks} - self._prepared.keys():
                program = PreparedProgram(python, self._workspace.folder, variables, logs / f"{name}-prepared")
                self._prepared[name] = program
        for program in self._prepared.values():
            _ = program.address

    def refresh(self) -> Results:
        """Update the states with changes made outside Pulumi."""
        return self._in_order(lambda name: self._run(name, "refresh"))

    def drift(self) -> Results:
        """Find changes made outside Pulumi. The states are not updated."""
        return self._in_order(lambda name: self._run(name, "preview_refresh"))

    def destroy(self, *, remove: bool = False) -> Results:
        """Destroy the consumers in parallel, then the registry.

        Args:
            remove: also delete the stacks and their history.
        """
        return self._each(lambda name: self._run(name, "destroy", remove=remove), self._stages[::-1])

    def status(self) -> dict[str, StackStatus]:
        """The status of all stacks."""
        names = [name for stage in self._stages for name in stage]
        with ThreadPoolExecutor() as pool:
            return dict(zip(names, pool.map(self._status, names), strict=True))

    def outputs(self, stack: str, *, show_secrets: bool = False) -> dict[str, Any]:
        """The outputs of a stack. Secret outputs are `[secret]` unless `show_secrets` is set."""
        known = self._stack(stack)
        if show_secrets:
            return dict(json.loads(self._cli(known, "stack", "output", "--json", "--show-secrets")))
        return _outputs(_state(_exported(known)))

    # ---- operations on one consumer

    def rollback(self, consumer: str, *, to: str = "") -> StackResult:
        """Run the previous image, or another image that still exists.

        The stack's file does not change: the next `up` deploys its image.

        Args:
            consumer: its name.
            to: digest of the image, or a prefix that is unique in `history`.

        Raises:
            ConfigurationError: there is no previous image, or no such image.
        """
        digest = self._image(consumer, to) if to else self.outputs(consumer).get("previousImageDigest")
        if not digest:
            raise ConfigurationError(
                f"{consumer} has run no other image",
                stack=consumer,
                hint="Deploy another image first: python -m deployment up",
            )
        result = self._up(consumer, image={"digest": digest}, share=1.0)
        return dataclasses.replace(result, operation="rollback")

    def builds(self) -> dict[str, tuple[str, str]]:
        """Context and Dockerfile of each consumer that builds its image, relative to the program's folder."""
        images = {name: self._config(name).get("image") or {} for name in self.consumers}
        return {
            name: (str(image["context"]), str(image.get("dockerfile") or ""))
            for name, image in images.items()
            if image.get("context")
        }

    def function(self, consumer: str) -> Function:
        """The location of a consumer's function, for `deployment.aws`.

        Raises:
            ConfigurationError: it is not deployed.
        """
        outputs = self.outputs(consumer)
        if not outputs.get("functionArn"):
            hint = "Deploy it: python -m deployment up"
            raise ConfigurationError(f"{consumer} is not deployed", stack=consumer, hint=hint)
        config = {**self._config(consumer), **self._credentials(consumer)}
        return Function(
            stack=consumer,
            arn=outputs.get("aliasArn") or outputs["functionArn"],
            log_group=outputs["logGroupName"],
            profile=str(config.get("profile") or ""),
            assume_roles=config.get("assumeRoles") or (),
            web_identity=config.get("assumeRoleWithWebIdentity") or None,
        )

    def history(self, stack: str) -> list[Update]:
        """The last 100 operations on a stack, newest first.

        User and image come from the message that this package adds to its updates.
        """
        known = self._stack(stack)
        image = _image_of(_state(_exported(known)))
        updates = []
        for item in json.loads(self._cli(known, "stack", "history", "--json", "--page-size", str(HISTORY_LENGTH))):
            message = MESSAGE.fullmatch(item.get("message") or "")
            updates.append(
                Update(
                    began=item["startTime"],
                    operation=item["kind"],
                    result=item["result"],
                    changes=item.get("resourceChanges") or {},
                    who=message["who"] if message else "",
                    image=image,
                )
            )
            image = (message["image"] or "") if message else ""
        return updates

    def promote(self, source: str, target: str) -> StackResult:
        """Run the image of one consumer in another, without a build. The next `up` deploys the stack file's image."""
        return dataclasses.replace(self._up(target, image={"promote": source}), operation="promote")

    def repair(self, stack: str, *, force: bool = False) -> StackResult:
        """Repair a stack after a run was killed: release its lock and refresh its state.

        Resources whose creation did not complete are removed from the state. If AWS did create them, the next update
        reports that they exist already; import or delete them.
        https://www.pulumi.com/docs/support/troubleshooting/#interrupted-update-recovery

        Args:
            stack: its name.
            force: also remove the lock of a process that may still run. The state misses what that process does.

        Raises:
            ConflictError: `force` is off, and such a process holds the lock or, as with Pulumi Cloud, may hold it.
        """
        # The stack of a service that embeds this package may have no file. A refresh needs no configuration.
        is_embedded = stack not in self._settings and not self._workspace.has_file(stack)
        if is_embedded:
            self._settings = {**self._settings, stack: {}}
        known = self._stack(stack, must_exist=is_embedded)
        conflict = None if force else self._conflict(known)
        if conflict and not conflict.ended:
            raise conflict
        known.cancel()
        return self._run(stack, "refresh", clear_pending_creates=True)

    # ---- implementation

    @property
    def _stages(self) -> list[tuple[str, ...]]:
        """The stacks in the order of `up`; those of one stage run in parallel."""
        return [(self.registry,) if self.registry else (), self.consumers]

    def _in_order(self, act: Callable[[str], StackResult]) -> Results:
        return self._each(act, self._stages)

    def _each(self, act: Callable[[str], StackResult], stages: Sequence[Sequence[str]]) -> Results:
        """Run an operation on all stacks. A stage starts when all stacks of the previous one have succeeded."""
        results: Results = {}
        failed: list[DeploymentError] = []
        for stage in filter(None, stages):
            with ThreadPoolExecutor(len(stage)) as pool:
                running = [pool.submit(act, name) for name in stage]
            for name, future in zip(stage, running, strict=True):
                try:
                    results[name] = future.result()
                except DeploymentError as error:
                    failed.append(error)
            if failed:
                failed[0].outcomes = {**results, **{error.stack: error for error in failed}}
                raise failed[0]
        return results

    def _preview(self, name: str, build: bool, refresh: bool = False, changed: Config | None = None) -> StackResult:
        changes, exclude = dict(changed or {}), None
        if not build and name in self.consumers:
            digest = self.outputs(name).get("imageDigest")
            changes |= {"image": {"digest": digest}} if digest else {BUILD: False}
            # Without this the preview would delete the built image from the state, for which its provider needs Docker.
            exclude = [f"**{errors.IMAGE}::**"]
        return self._run(name, "preview", changes, policy_packs=self._packs, exclude=exclude, refresh=refresh)

    def _image(self, consumer: str, beginning: str) -> str:
        """The digest of the image in a consumer's history with this prefix. A complete digest is returned as it is."""
        if re.fullmatch("sha256:[0-9a-f]{64}", beginning):
            return beginning
        known = [image for image in dict.fromkeys(update.image for update in self.history(consumer)) if image]
        found = [
            image for image in known if image.removeprefix("sha256:").startswith(beginning.removeprefix("sha256:"))
        ]
        if len(found) != 1:
            text = (
                f"the history of {consumer} has {'several images' if found else 'no image'} with the digest {beginning}"
            )
            hint = f"Its images: {', '.join(known) or 'none'}. A complete digest may name any image of the repository."
            raise ConfigurationError(text, stack=consumer, hint=hint)
        return found[0]

    def _require_release(self, name: str, check: Check | None, shares: Sequence[float]) -> None:
        """Raise an error for a check or shares that the stack does not support, before anything is deployed."""
        config = self._config(name)
        if shares and (config.get("function") or {}).get("release") is None:
            hint = f"Write in Pulumi.{name}.yaml: {self._workspace.project}:function: {{release: {{}}}}"
            raise ConfigurationError(f"{name} has no function.release, which shares require", stack=name, hint=hint)
        if shares and list(shares) != sorted(share for share in set(shares) if 0 < share < 1):
            text = f"shares {', '.join(map(str, shares))} given; allowed are rising numbers between 0 and 1"
            raise ConfigurationError(text, stack=name, hint="Example: --share 0.1 --share 0.5")
        api = config.get("api") or {}
        private = api.get("type") != "none" and not api.get("public")
        if check and private and not check.headers and check.accepts is is_success:
            hint = "Leave out --check, or check in Python with the headers that the endpoint requires: Check(headers=…)"
            raise ConfigurationError(f"the endpoint of {name} is not public", stack=name, hint=hint)

    def _release(self, name: str, check: Check | None, shares: Sequence[float], refresh: bool) -> StackResult:
        before = self.outputs(name).get("imageDigest", "") if shares else ""
        try:
            if shares and before and self._preview(name, build=True).outputs.get("imageDigest") != before:
                for share in shares:
                    self._checked(name, check, self._up(name, share=share, refresh=refresh))
            result = self._up(name, share=1.0 if shares else None, refresh=refresh)
            return self._checked(name, check, result)
        except (CheckFailed, ProviderError) as error:
            failed = error.image if isinstance(error, CheckFailed) else ""
            before = before or self._ran_before.get(name, "")
            if check is None or not before or failed == before:
                raise
            about = {"stack": name, "urn": error.urn, "image": failed}
            try:
                self._up(name, image={"digest": before}, share=1.0 if shares else None)
            except DeploymentError as second:
                text = f"{error} The rollback to {before} also failed: {second}"
                raise CheckFailed(text, **about, rolled_back_to="") from error
            raise CheckFailed(f"{error} {name} runs {before} again.", **about, rolled_back_to=before) from error

    def _checked(
        self, name: str, check: Check | None, result: StackResult, stop: Callable[[], bool] = lambda: False
    ) -> StackResult:
        url = result.outputs.get("endpointUrl")
        if check is None or not url:
            return result
        began, last = time.monotonic(), ""

        def tell(answer: str, left: float) -> None:
            nonlocal last
            last = answer
            self._tell(Checking(stack=name, url=str(url), answer=answer, seconds_left=left))

        stopped = False

        def is_over() -> bool:
            nonlocal stopped
            stopped = stopped or stop()
            return stopped or self._command.interrupted.is_set()

        problem = check.problem(str(url), is_over, tell)
        self._tell(Ended(stack=name))
        if self._command.interrupted.is_set():
            text = f"{name} was updated, but its check was cancelled"
            raise Cancelled(text, stack=name, hint="Check it: python -m deployment up --check")
        if stopped:
            return result
        if problem:
            image = str(result.outputs.get("imageDigest", ""))
            text = f"GET {url} failed its check: {problem.removesuffix('.')}."
            raise CheckFailed(text, stack=name, image=image, rolled_back_to="")
        return dataclasses.replace(result, checked=f"{last} in {time.monotonic() - began:.1f} s")

    def _up(
        self, name: str, *, image: Config | None = None, share: float | None = None, refresh: bool = False
    ) -> StackResult:
        changes: dict[str, Any] = {} if image is None else {"image": dict(image)}
        if share is not None and (self._config(name).get("function") or {}).get("release") is not None:
            changes["function.release.previousShare"] = round(1 - share, 4)
        up = functools.partial(self._run, name, "up", changes, policy_packs=self._packs, refresh=refresh)
        try:
            return up()
        except BuildError as error:
            if not errors.TAKEN_TAG.search(str(error)):
                raise
            self._tell(
                Diagnostic(stack=name, severity="info", text="Another run pushed the same image. Updating again.")
            )
        # The program now finds the image by its tag and does not build it.
        return up()

    def _config(self, name: str) -> Config:
        """A stack's configuration as Pulumi reads it, with keys without the project."""
        if name in self._settings:
            return self._settings[name]
        text = self._workspace.file(name).read_bytes()
        if name in self._read and self._read[name][0] == text:
            return self._read[name][1]
        shown = json.loads(self._cli(self._stack(name), "config", "--json", "--show-secrets"))
        prefix = f"{self._workspace.project}:"
        config = {key.removeprefix(prefix): item.get("objectValue", item.get("value")) for key, item in shown.items()}
        self._read[name] = text, config
        return config

    def _credentials(self, name: str) -> dict[str, Any]:
        """Configuration that replaces a stack's credentials with the roles of `Options.assume_roles`."""
        for arn in self._options.assume_roles:
            if not ROLE.fullmatch(arn):
                hint = "Example: --assume-role arn:aws:iam::111111111111:role/registry-preview"
                raise ConfigurationError(f"{arn!r} is not the ARN of a role", stack=name, hint=hint)
        if not self._options.assume_roles:
            return {}
        roles: dict[str, list[dict[str, str]]] = {}
        for arn in dict.fromkeys(self._options.assume_roles):
            account = arn.split(":")[4]
            if other := roles.get(account):
                text = f"there are two roles for account {account}: {other[0]['roleArn']}, {arn}"
                raise ConfigurationError(text, stack=name, hint="Give --assume-role once for each account.")
            roles[account] = [{"roleArn": arn}]
        config = self._config(name)
        named = {"profile": "", "assumeRoles": [], "assumeRoleWithWebIdentity": {}}
        changes: dict[str, Any] = {key: nothing for key, nothing in named.items() if config.get(key)}
        if own := roles.get(str(config.get("account"))):
            changes["assumeRoles"] = own
        if registry := config.get("registry"):
            changes["registry"] = {"stack": registry["stack"]}
            if owner := self._registry_account(str(registry["stack"])):
                changes["registry"] |= {"assumeRoles": roles.get(owner, [])}
        return changes

    def _registry_account(self, stack: str) -> str:
        """The account in a registry's configuration; empty for a stack of another project.

        Reads the file instead of the stack, which may not exist and which consumers would read in parallel.
        """
        *where, name = stack.split("/")
        if where and where[-1] != self._workspace.project:
            return ""
        if name in self._settings:
            return str(self._settings[name].get("account") or "")
        return self._workspace.value(name, "account")

    def _stack(self, name: str, changes: Config | None = None, must_exist: bool = False) -> QuietStack:
        config = self._settings.get(name)
        act = functools.partial(self._workspace.stack, name, self._command, config, changes or {}, must_exist)
        return self._try(name, (), threading.Event(), act)

    def _run(self, name: str, operation: str, changes: Config | None = None, **options: Any) -> StackResult:
        """Run one operation on one stack, and convert its outcome to plain values.

        Raises:
            DeploymentError: it failed.
        """
        began = time.monotonic()
        if credentials := self._credentials(name):
            changes = {**credentials, **(changes or {})}
            # Without the program, a refresh or destroy uses the credentials of the last update.
            options["run_program"] = True
        log = self._logs / f"{name}-{operation}-{time.time_ns()}.log"
        stack = self._stack(name, changes)
        run = Run(stack.workspace.work_dir)
        state = _state(_exported(stack))
        failed = _failed_updates(state)
        if operation in ("up", "preview"):
            options["refresh"] = options.get("refresh") or bool(failed)
        if operation in ("up", "refresh", "destroy"):
            self._ran_before[name] = _image_of(state)
            options["message"] = self._message(self._ran_before[name])
        program = None
        if operation == "up":
            self._try(name, (), threading.Event(), lambda: self._forget_builds(stack, _exported(stack)))
            program = self._prepared.pop(name, None)
            stack.client = program.address if program else ""
        watcher = threading.Thread(target=self._watch, args=[run])
        watcher.start()
        try:
            with log.open("w") as file:
                arguments = {
                    "color": "never",
                    "suppress_outputs": True,
                    "on_output": lambda line: file.write(f"{line}\n"),
                    "on_error": lambda line: file.write(f"{line}\n"),
                    "on_event": functools.partial(self._see, name, run.seen),
                    **({"show_secrets": False} if operation in ("up", "refresh", "destroy") else {}),
                    **options,
                }
                self._try(name, run.seen, run.expired, lambda: getattr(stack, operation)(**arguments))
        except ConfigurationError as error:
            if credentials and operation == "destroy":
                only = "--no-consumers --registry" if name == self.registry else "--no-registry --consumer"
                error.hint = (
                    "With --assume-role, destroy runs the program. Destroy the stack without --assume-role, with the "
                    f"credentials of its last update: python -m deployment destroy {only} {name}"
                )
            raise
        finally:
            run.over.set()
            watcher.join()
            if program:
                program.end()
            with contextlib.suppress(CommandError):
                if run.killed.is_set():
                    self._bare(stack, "cancel", "--yes")
                if run.forced.is_set():
                    self._forget_builds(stack, self._bare(stack, "stack", "export"))
        return StackResult(
            stack=name,
            operation="drift" if operation == "preview_refresh" else operation,
            steps=_steps(run.seen) if "refresh" not in operation else _in_accounts(_steps(run.seen)),
            diagnostics=tuple(event for event in run.seen if isinstance(event, Diagnostic)),
            failed=failed,
            seconds=time.monotonic() - began,
            log=log,
        )

    def _message(self, image: str) -> str:
        """The message that `history` reads: the user who runs the operation, and the image that ran before."""
        try:
            user = getpass.getuser()
        except (KeyError, OSError):
            # The user of a container may have no name.
            user = "unknown"
        who = f"{user}@{socket.gethostname()}"
        git = ["git", "-C", str(self._workspace.folder), "rev-parse", "--short", "HEAD"]
        try:
            commit = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
        except (OSError, subprocess.CalledProcessError):
            commit = ""
        about = f"{who}, commit {commit}" if commit else who
        return f"{about}; {image} ran before" if image else about

    def _watch(self, run: Run) -> None:
        """Interrupt an operation that is cancelled or exceeds its time limit.

        After one SIGINT the engine waits for operations in progress. A second one also ends the providers, and with
        them a build or push that does not end otherwise.
        """
        deadline = time.monotonic() + (self._options.timeout or math.inf)
        while time.monotonic() < deadline and not self._command.interrupted.is_set():
            if run.over.wait(POLL_SECONDS):
                return
        if not self._command.interrupted.is_set():
            run.expired.set()
            self._command.interrupt(run.folder)
        asked = time.monotonic()
        while time.monotonic() - asked < (IMAGE_SECONDS if _under_way(run.seen) == {errors.IMAGE} else CALL_SECONDS):
            if run.over.wait(POLL_SECONDS):
                return
        run.forced.set()
        self._command.interrupt(run.folder)
        if not run.over.wait(ENGINE_SECONDS):
            run.killed.set()
            self._command.kill(run.folder)

    def _try(self, name: str, seen: Iterable[Event], expired: threading.Event, act: Callable[[], Result]) -> Result:
        try:
            return act()
        except CommandError as error:
            if expired.is_set():
                text = f"{name} took longer than {self._options.timeout:g} s and was interrupted"
                raise TimedOut(text, stack=name, hint="Run it again to continue, with a longer timeout.") from None
            if self._command.interrupted.is_set():
                raise Cancelled(f"{name} was cancelled", stack=name, hint="Run it again to continue.") from None
            raise errors.translated(name, error, list(seen)) from None

    def _see(self, name: str, seen: list[Event], event: EngineEvent) -> None:
        if translated := events.translated(name, event):
            seen.append(translated)
            self._tell(translated)

    def _tell(self, event: Event) -> None:
        with self._telling:
            self._on_event(event)

    def _status(self, name: str) -> StackStatus:
        stack = self._stack(name)
        state = _state(_exported(stack))
        resources = [
            item
            for item in state.get("resources") or ()
            if item.get("custom") and not item.get("external") and not item["type"].startswith(UNCOUNTED)
        ]
        pending = tuple(item["resource"]["urn"] for item in state.get("pending_operations") or ())
        failed = _failed_updates(state)
        # The query takes the lock for a moment, so it runs only if its result matters or the lock is taken anyway.
        conflict = self._conflict(stack) if pending or failed or self._has_lock_file(stack) else None
        return StackStatus(
            stack=name,
            deployed=any(item["type"] != STACK for item in state.get("resources") or ()),
            resources=len(resources),
            outputs=_outputs(state),
            pending=pending,
            failed=failed,
            holder=conflict.holder if conflict else "",
            holder_ended=conflict is not None and conflict.ended,
        )

    def _backend_url(self, stack: Stack) -> str:
        command, workspace = ["whoami", "--json"], stack.workspace
        known = {**os.environ, **workspace.env_vars}.get("PULUMI_BACKEND_URL")
        return known or str(
            json.loads(self._command.run(command, workspace.work_dir, workspace.env_vars).stdout)["url"]
        )

    def _has_lock_file(self, stack: Stack) -> bool:
        """Whether a process holds the lock of a stack in a local folder. False for other backends.

        https://github.com/pulumi/pulumi/blob/v3.274.1/pkg/backend/diy/lock.go
        """
        scheme, _, folder = self._try(stack.name, (), threading.Event(), lambda: self._backend_url(stack)).partition(
            "://"
        )
        if scheme != "file":
            return False
        locks = Path(folder.partition("?")[0]).expanduser() / ".pulumi" / "locks"
        return any(locks.glob(f"**/{self._workspace.project}/{stack.name}/*.json"))

    def _conflict(self, stack: Stack) -> ConflictError | None:
        """Who holds the stack's lock. The holder is empty if it is unknown, as with Pulumi Cloud.

        `stack init` takes the lock before it finds that the stack exists, and releases it. It requires a passphrase
        even so. https://github.com/pulumi/pulumi/blob/v3.274.1/pkg/backend/diy/backend.go
        """
        environment = {"PULUMI_CONFIG_PASSPHRASE": "unused", **stack.workspace.env_vars}

        def run(*command: str) -> str:
            return self._command.run([*command], stack.workspace.work_dir, environment).stdout

        def is_free() -> bool:
            if urlsplit(self._backend_url(stack)).scheme in CLOUD:
                return False
            with contextlib.suppress(StackAlreadyExistsError):
                run("stack", "init", "--no-select", "--stack", stack.name)
            return True

        try:
            if self._try(stack.name, (), threading.Event(), is_free):
                return None
        except ConflictError as conflict:
            return conflict
        except Cancelled:
            raise
        except DeploymentError:
            pass
        text = f"another update may hold the stack {stack.name}: its backend does not report it"
        return ConflictError(text, stack=stack.name, holder="")

    def _forget_builds(self, stack: Stack, exported: str) -> None:
        """Remove pending creations of images from a state.

        A later run does not need them: it finds a pushed image by its tag.
        """
        pending = _state(exported).get("pending_operations") or []
        kept = [item for item in pending if (item["type"], item["resource"]["type"]) != ("creating", errors.IMAGE)]
        if kept != pending:
            whole = json.loads(exported)
            file = Path(stack.workspace.work_dir, "state.json")
            file.write_text(json.dumps({**whole, "deployment": {**whole["deployment"], "pending_operations": kept}}))
            self._bare(stack, "stack", "import", "--file", str(file))

    def _bare(self, stack: Stack, *arguments: str) -> str:
        """The output of a command on a stack that `cancel` does not interrupt, because it repairs the state."""
        command, workspace = [*arguments, "--stack", stack.name], stack.workspace
        return PulumiCommand.run(self._command, command, workspace.work_dir, workspace.env_vars).stdout

    def _cli(self, stack: Stack, *arguments: str) -> str:
        """The output of a command on a stack."""
        command, workspace = [*arguments, "--stack", stack.name], stack.workspace
        run = functools.partial(self._command.run, command, workspace.work_dir, workspace.env_vars)
        return self._try(stack.name, (), threading.Event(), run).stdout


def _require_sensible(options: Options) -> None:
    if options.timeout is not None and options.timeout <= 0:
        text = f"timeout {options.timeout:g} is given; allowed are seconds above 0"
        raise ConfigurationError(text, stack="", hint="Leave it out for no limit.")
    for pack in options.policy_packs:
        if not (pack / "PulumiPolicy.yaml").is_file():
            hint = "Name a folder with PulumiPolicy.yaml, such as policy_pack."
            raise ConfigurationError(f"there is no policy pack in {pack}", stack="", hint=hint)


def _steps(seen: Iterable[Event]) -> tuple[Step, ...]:
    """The last step of each resource. A step without a change does not replace one with a change."""
    last: dict[str, Step] = {}
    for step in seen:
        if isinstance(step, Step) and step.state in LASTING and step.operation in WHOLE:
            if step.urn in last and step.operation in UNCHANGED and last[step.urn].operation not in UNCHANGED:
                continue
            last[step.urn] = step
    return tuple(last.values())


def _in_accounts(steps: Sequence[Step]) -> tuple[Step, ...]:
    """The steps without providers, which only the program changes."""
    return tuple(step for step in steps if not step.type.startswith("pulumi:providers:"))


def _is_clear(output: Any) -> bool:
    """Whether an output is known and contains no secret."""
    return not any(word in json.dumps(output) for word in (UNKNOWN, BLINDED))


def _exported(stack: Stack) -> str:
    return stack.workspace.exported if isinstance(stack.workspace, UnselectedWorkspace) else ""


def _state(exported: str) -> dict[str, Any]:
    return dict(json.loads(exported)["deployment"]) if exported else {}


def _outputs(state: Mapping[str, Any]) -> dict[str, Any]:
    """The stack's outputs, with `[secret]` in place of secret ones."""
    stacks = [item for item in state.get("resources") or () if item["type"] == STACK]
    return {key: events.plain(value) for item in stacks for key, value in (item.get("outputs") or {}).items()}


def _image_of(state: Mapping[str, Any]) -> str:
    return str(_outputs(state).get("imageDigest") or "")


def _failed_updates(state: Mapping[str, Any]) -> tuple[str, ...]:
    """The resources whose update failed: the state has the new values, AWS may have the old ones.

    Without a refresh the next update finds no change. https://github.com/pulumi/pulumi/issues/21458
    """
    return tuple(item["urn"] for item in state.get("resources") or () if item.get("initErrors"))


def _under_way(seen: Sequence[Event]) -> set[str]:
    """The types of the resources that providers are working on."""
    urns = dict[str, str]()
    for step in list(seen):
        if isinstance(step, Step) and step.state == "started" and step.custom and step.operation != "same":
            urns[step.urn] = step.type
        elif isinstance(step, Step):
            urns.pop(step.urn, None)
    return set(urns.values())
