"""The command line: `python -m deployment --help`. Progress goes to stderr, results to stdout."""

import atexit
import gc
import inspect
import json
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer
from rich.console import Console

from deployment import (
    Backend,
    Check,
    ConflictError,
    Deployment,
    DeploymentError,
    Event,
    Options,
    StackResult,
    StackStatus,
    Update,
    aws,
    errors,
)
from deployment.comment import comment
from deployment.content_diff import content_diff, merge_base
from deployment.help import COMPLETE, Command, Group, completion_script, exit_codes, stack_names
from deployment.init import Side, checks, difference, stack_files
from deployment.view import PlainView, report, short, view
from deployment.watch import Save, saves
from deployment.workspace import Workspace

Outcomes = Mapping[str, StackResult | DeploymentError]
OnEvent = Callable[[Event], None]

DURATION = re.compile(r"\d+(\.\d+)?[smhd]")
DRIFTED, UNCERTAIN = 8, 10
EXIT_CODES = {
    0: "Success. With `drift`: no drift.",
    DRIFTED: "Drift was found.",
    UNCERTAIN: "The state may be wrong: an update failed, or a run was killed.",
    **{
        kind.exit_code: (inspect.getdoc(kind) or "").partition("\n")[0]
        for kind in (
            errors.ProviderError,
            errors.ConfigurationError,
            errors.CredentialsError,
            errors.ConflictError,
            errors.BuildError,
            errors.CheckFailed,
            errors.PolicyViolated,
            errors.TimedOut,
            errors.Cancelled,
        )
    },
}

app = typer.Typer(
    name="python -m deployment",
    cls=Group,
    help="Deploy a registry stack and its consumer stacks in order.",
    epilog=exit_codes(EXIT_CODES),
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def above_zero(value: float | None) -> float | None:
    """Refuse a time of zero or less."""
    if value is not None and value <= 0:
        raise typer.BadParameter(f"{value:g} is given; allowed are seconds above 0")
    return value


def _duration(value: str) -> str:
    if not DURATION.fullmatch(value):
        raise typer.BadParameter(f"{value!r} is given; allowed are a number and s, m, h or d, such as 10m")
    return value


def _seconds(duration: str) -> float:
    return float(duration[:-1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[duration[-1]]


@dataclass(frozen=True, kw_only=True)
class Common:
    """The options of all commands."""

    folder: Annotated[Path, typer.Option(metavar="FOLDER", help="The program's folder, with Pulumi.yaml.")] = Path()
    backend: Annotated[
        str,
        typer.Option(
            metavar="URL", help="Where the state is, such as s3://BUCKET?region=…", show_default="`pulumi login`"
        ),
    ] = ""
    secrets_provider: Annotated[
        str,
        typer.Option(metavar="URL", help="What encrypts a new stack's secrets, such as awskms://alias/NAME?region=…"),
    ] = ""
    timeout: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS", callback=above_zero, help="How long one operation on one stack may take.",
            show_default="no limit",
        ),
    ] = None  # fmt: skip
    policy_pack: Annotated[
        list[Path] | None, typer.Option(metavar="FOLDER", help="Folder of a policy pack; repeatable.")
    ] = None
    assume_role: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ARN",
            help="Assume this role for its account, with the environment's credentials in place of those in the "
            "stack files; repeatable.",
        ),
    ] = None
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document with the results on stdout.")] = False

    def deployment(self, on_event: OnEvent, registry: str | None, consumers: Sequence[str]) -> Deployment:
        """The deployment that the options describe."""
        options = Options(
            backend=Backend(url=self.backend, secrets_provider=self.secrets_provider),
            timeout=self.timeout,
            policy_packs=[pack.resolve() for pack in self.policy_pack or ()],
            assume_roles=self.assume_role or (),
        )
        return Deployment(self.folder, registry=registry, consumers=consumers, options=options, on_event=on_event)


Consumers = Annotated[
    list[str] | None,
    typer.Option(
        metavar="STACK", help="A consumer's stack; repeatable.", show_default="consumer", autocompletion=stack_names
    ),
]


@dataclass(frozen=True, kw_only=True)
class Stacks(Common):
    """The options of the commands that work on several stacks."""

    registry: Annotated[
        str | None,
        typer.Option(
            metavar="STACK", help="The registry's stack.", show_default="registry", autocompletion=stack_names
        ),
    ] = None
    no_registry: Annotated[bool, typer.Option("--no-registry", help="Skip the registry's stack.")] = False
    consumer: Consumers = None
    no_consumers: Annotated[bool, typer.Option("--no-consumers", help="Skip the consumers' stacks.")] = False

    @property
    def names(self) -> tuple[str | None, Sequence[str]]:
        """The registry, or None, and the consumers.

        Raises:
            typer.BadParameter: options exclude each other.
        """
        for one, other, given in (
            ("--no-registry", "--registry", self.no_registry and self.registry),
            ("--no-consumers", "--consumer", self.no_consumers and self.consumer),
            ("--no-registry", "--no-consumers", self.no_registry and self.no_consumers),
        ):
            if given:
                raise typer.BadParameter(f"{one} and {other} exclude each other.")
        consumers = [] if self.no_consumers else self.consumer or ["consumer"]
        return None if self.no_registry else self.registry or "registry", consumers


@dataclass(frozen=True, kw_only=True)
class Files:
    """The options of the command that writes stack files."""

    folder: Annotated[Path, typer.Option(metavar="FOLDER", help="The program's folder, with Pulumi.yaml.")] = Path()
    registry: Annotated[str, typer.Option(metavar="STACK", help="Name of the registry's stack.")] = "registry"
    consumer: Annotated[str, typer.Option(metavar="STACK", help="Name of the consumer's stack.")] = "consumer"

    @property
    def as_json(self) -> bool:
        """The command has no JSON output."""
        return False


def command(*examples: str) -> Callable[[Callable[..., int | None]], Callable[..., int | None]]:
    """Register a function as a command. The fields of its first argument, such as `Common`, become shared options."""
    epilog = "\n".join(["\b", "Examples:", *(f"  python -m deployment {example}" for example in examples)])

    def register(function: Callable[..., int | None]) -> Callable[..., int | None]:
        first, *own = inspect.signature(function).parameters.values()
        shared = inspect.signature(first.annotation).parameters

        def run(**given: Any) -> None:
            common = first.annotation(**{name: given.pop(name) for name in shared})
            try:
                code = function(common, **given)
            except DeploymentError as error:
                code = _failed(error)
                _print(common, error.outcomes or {error.stack: error})
            raise typer.Exit(code or 0)

        # Typer reads the signature (test_every_command_has_help…).
        run.__signature__ = inspect.Signature([*own, *shared.values()])  # type: ignore[attr-defined]
        run.__doc__ = function.__doc__
        app.command(function.__name__, epilog=epilog, cls=type("", (Command,), {"shared": frozenset(shared)}))(run)
        return function

    return register


@contextmanager
def running(
    common: Common, registry: str | None, consumers: Sequence[str], told: set[tuple[str, str]] | None = None
) -> Iterator[Deployment]:
    """The deployment. Shows its progress; Ctrl-C cancels its operations."""
    stacks = [*([registry] if registry else []), *consumers]
    with (
        view(Console(stderr=True), stacks, told) as shown,
        common.deployment(shown.tell, registry, consumers) as deployment,
        passed_on(deployment, shown),
    ):
        yield deployment


@contextmanager
def passed_on(deployment: Deployment, shown: PlainView) -> Iterator[threading.Event]:
    """Cancel the deployment on Ctrl-C, and on the SIGTERM that a CI runner sends. The event is set then."""
    interrupted = threading.Event()

    def interrupt(number: int, frame: FrameType | None) -> None:
        interrupted.set()
        shown.say(f"Interrupted; waiting for {shown.waits_for()}. Press Ctrl-C again to end it at once.")
        # In another thread, because this one may hold the lock that `cancel` needs.
        threading.Thread(target=deployment.cancel).start()

    with handled(interrupt):
        yield interrupted


@contextmanager
def until_interrupted() -> Iterator[None]:
    """Leave the block on Ctrl-C or SIGTERM.

    Sets the handler of SIGINT, because a shell without job control starts background commands with SIGINT ignored.
    """
    with suppress(KeyboardInterrupt), handled(signal.default_int_handler):
        yield


@contextmanager
def handled(handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """Handle SIGINT and SIGTERM."""
    previous = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, before in previous.items():
            signal.signal(number, before)


@command("init", "init --dry-run", "init --registry-profile registry --region us-east-1")
def init(
    files: Files,
    registry_account: Annotated[str | None, typer.Option(metavar="ACCOUNT", help="Account of the registry.")] = None,
    consumer_account: Annotated[str | None, typer.Option(metavar="ACCOUNT", help="Account of the function.")] = None,
    region: Annotated[str | None, typer.Option(metavar="REGION", help="Region of both.")] = None,
    registry_profile: Annotated[str | None, typer.Option(metavar="NAME", help="AWS profile for the registry.")] = None,
    registry_role: Annotated[str | None, typer.Option(metavar="ARN", help="Role to assume for the registry.")] = None,
    consumer_profile: Annotated[str | None, typer.Option(metavar="NAME", help="AWS profile for the function.")] = None,
    consumer_role: Annotated[str | None, typer.Option(metavar="ARN", help="Role to assume for the function.")] = None,
    repository: Annotated[str, typer.Option(metavar="NAME", help="Name of the repository.")] = "cross-account-function",
    verify: Annotated[
        bool, typer.Option("--verify/--no-verify", help="Check the credentials with AWS. Needs boto3.")
    ] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the files to stdout. Write no file.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Overwrite files without asking.")] = False,
) -> None:
    """Write both stack files from a few answers, and check the credentials.

    On a terminal, it asks for each value that no option sets. Without a profile and a role, the default credential
    chain is used. If a file exists, it shows the changes and asks before it overwrites the file.
    """
    needed = {"--registry-account": registry_account, "--consumer-account": consumer_account, "--region": region}
    missing = [name for name, value in needed.items() if value is None]
    if missing and not _has_terminal():
        raise typer.BadParameter(f"{', '.join(missing)} must be given, because there is no terminal to ask on.")

    def ask(question: str, given: str | None) -> str:
        if given is None and _has_terminal():
            return str(typer.prompt(question, default="", show_default=False, err=True)).strip()
        return given or ""

    registry_account = ask("Account ID of the registry", registry_account)
    consumer_account = ask("Account ID of the function", consumer_account)
    region = ask("Region", region)
    registry, consumer = (
        Side(
            stack=stack,
            account=account,
            profile=ask(f"AWS profile for {account} (empty: none)", profile),
            role=ask(f"ARN of a role to assume in {account} (empty: none)", role),
        )
        for stack, account, profile, role in (
            (files.registry, registry_account, registry_profile, registry_role),
            (files.consumer, consumer_account, consumer_profile, consumer_role),
        )
    )
    project = Workspace(files.folder, Backend(), {}).project
    texts = stack_files(project, registry, consumer, region=region, repository=repository)
    if verify:
        print("\n".join(checks(registry, consumer, region=region, repository=repository)), file=sys.stderr)
    if dry_run:
        print("".join(f"# {name}\n{text}" for name, text in texts.items()), end="")
        return
    changed = {files.folder / name: text for name, text in texts.items() if difference(files.folder / name, text)}
    if (existing := [path for path in changed if path.exists()]) and not yes:
        if not _has_terminal():
            raise typer.BadParameter(f"{', '.join(map(str, existing))} would be overwritten. Pass --yes to do so.")
        for path in existing:
            print(difference(path, changed[path]), file=sys.stderr)
            _agree(f"Overwrite {path}?")
    for path, text in changed.items():
        path.write_text(text)
        print(f"{path} is written.", file=sys.stderr)


@command(
    "up",
    "up --check --share 0.1 --share 0.5",
    "up --consumer consumer --consumer production",
    "up --no-registry --timeout 600 --json",
)
def up(
    stacks: Stacks,
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="Call each endpoint; roll back if it does not answer 2xx.")
    ] = False,
    check_seconds: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            callback=above_zero,
            help="How long --check repeats the call.",
            show_default=f"{Check.seconds:g}",
        ),
    ] = None,
    share: Annotated[
        list[float] | None,
        typer.Option(
            metavar="SHARE",
            help="Share of the calls that a new image gets before all; repeatable, in rising order.",
        ),
    ] = None,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Refresh the state first, and undo changes made outside Pulumi.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the changes only, as `preview` does.")] = False,
) -> None:
    """Deploy the registry, then the consumers in parallel (like sam deploy).

    On a terminal, it shows a preview and asks for confirmation.

    With --check, the state is refreshed first. If the endpoint does not answer 2xx in time, the consumer returns to its
    previous image, and the exit code is 6. Shares require `function.release` in the consumer's stack file.
    """
    if check_seconds is not None and not check:
        raise typer.BadParameter("--check-seconds needs --check.")
    wanted = Check(seconds=check_seconds or Check.seconds) if check else None
    told = set[tuple[str, str]]()
    if dry_run or (not yes and _has_terminal()):
        with running(stacks, *stacks.names, told) as deployment:
            planned = deployment.preview(refresh=refresh)
        if dry_run:
            _print(stacks, planned)
            return
        print(_report(planned), file=sys.stderr)
        if any(result.changed for result in planned.values()):
            _agree("Update these stacks?")
    with running(stacks, *stacks.names, told) as deployment:
        results = deployment.up(check=wanted, shares=share or (), refresh=refresh)
    _print(stacks, results)


@command("watch", "watch --no-registry --consumer consumer", "watch --no-check")
def watch(
    stacks: Stacks,
    check: Annotated[bool, typer.Option("--check/--no-check", help="Call each endpoint after an update.")] = True,
    check_seconds: Annotated[
        float, typer.Option(metavar="SECONDS", callback=above_zero, help="How long --check repeats the call.")
    ] = 10,
) -> None:
    """Deploy when a context or stack file is saved (like sam sync).

    It runs until Ctrl-C and needs watchfiles. It does not ask. An image that fails its check stays until the next
    save, which ends a running check. Only the stacks whose files were saved are updated. Files that .dockerignore
    excludes are not watched.
    """
    registry, consumers = stacks.names
    names = [*([registry] if registry else []), *dict.fromkeys(consumers)]
    wanted = Check(seconds=check_seconds) if check else None
    told = set[tuple[str, str]]()
    shown: PlainView

    def sync(save: Save) -> None:
        nonlocal shown
        updated = [name for name in names if name in save.stacks]
        with view(Console(stderr=True), updated, told) as shown, passed_on(deployment, shown) as interrupted:
            try:
                outcomes: Outcomes = deployment.sync(updated, check=wanted, stop=save.is_outdated)
            except errors.Cancelled:
                raise
            except DeploymentError as error:
                outcomes = error.outcomes or {error.stack: error}
        _print_save(stacks, save, outcomes, time.time() - save.time)
        if interrupted.is_set():
            raise KeyboardInterrupt

    def tell(event: Event) -> None:
        shown.tell(event)

    with (
        until_interrupted(),
        stacks.deployment(tell, registry, consumers) as deployment,
        closing(saves(stacks.folder, names, deployment.builds)) as followed,
    ):
        deployment.prepare(consumers)
        for save in followed:
            sync(save)
            deployment.prepare(consumers)
            print("Watching the build contexts and stack files. Ctrl-C ends it.", file=sys.stderr, flush=True)


@command("preview", "preview --no-build", "preview --comment comment.md --base origin/main")
def preview(
    stacks: Stacks,
    build: Annotated[
        bool, typer.Option("--build/--no-build", help="--no-build previews with the images that run; needs no Docker.")
    ] = True,
    write_comment: Annotated[
        str, typer.Option("--comment", metavar="FILE", help="Write it as a pull-request comment; - is stdout.")
    ] = "",
    base: Annotated[
        str, typer.Option(metavar="REF", help="Base of the pull request: list the image's files that differ from it.")
    ] = "",
) -> int:
    """Show what `up` would change. Nothing is built or pushed.

    For the same commit, the comment is the same on every machine. It shows no value that could be secret. Its first
    line identifies it, so that a workflow can update it.
    """
    commit = merge_base(stacks.folder, base) if base else ""
    failed: DeploymentError | None = None
    outcomes: Outcomes = {}
    with running(stacks, *stacks.names) as deployment:
        try:
            outcomes = deployment.preview(build=build)
        except DeploymentError as error:
            failed, outcomes = error, error.outcomes or {error.stack: error}
    if write_comment:
        results = {name: outcome for name, outcome in outcomes.items() if isinstance(outcome, StackResult)}
        diffs = {name: content_diff(stacks.folder, result, commit) for name, result in results.items()}
        text = comment(outcomes, diffs, built=build, environment=os.environ)
        if write_comment == "-":
            print(text, end="")
        else:
            Path(write_comment).write_text(text)
    if write_comment != "-":
        _print(stacks, outcomes)
    return _failed(failed) if failed else 0


@command("refresh --consumer production")
def refresh(stacks: Stacks) -> None:
    """Update the states with what was changed outside Pulumi."""
    with running(stacks, *stacks.names) as deployment:
        results = deployment.refresh()
    _print(stacks, results)


@command("drift --json")
def drift(stacks: Stacks) -> int:
    """Show what was changed outside Pulumi, with old and new values.

    The states stay as they are. The exit code is 8 if there is drift.
    """
    with running(stacks, *stacks.names) as deployment:
        results = deployment.drift()
    _print(stacks, results)
    return DRIFTED if any(result.changes or result.failed for result in results.values()) else 0


@command("destroy --no-registry", "destroy --yes")
def destroy(
    stacks: Stacks,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
) -> None:
    """Destroy the consumers, then the registry (like sam delete).

    A repository that is protected, or not empty, is refused.
    """
    if not yes:
        registry, consumers = stacks.names
        _agree(f"Destroy {', '.join([*consumers, *([registry] if registry else [])])}?")
    with running(stacks, *stacks.names) as deployment:
        results = deployment.destroy()
    _print(stacks, results)


@command("status --json")
def status(stacks: Stacks) -> int:
    """Show the image and address of each stack, and who updates it now.

    It reads the states and does not call AWS. The exit code is 10 if a state may be wrong.
    """
    with running(stacks, *stacks.names) as deployment:
        known = deployment.status()
    if stacks.as_json:
        _print_json({name: asdict(stack) for name, stack in known.items()})
    else:
        print("\n".join(_described(stack) for stack in known.values()))
    return UNCERTAIN if any(_is_uncertain(stack) for stack in known.values()) else 0


@command("logs", "logs --follow --consumer consumer --consumer production", "logs --since 2h")
def logs(
    common: Common,
    consumer: Consumers = None,
    since: Annotated[
        str, typer.Option(metavar="TIME", help="How far back: a number and s, m, h or d.", callback=_duration)
    ] = "10m",
    follow: Annotated[bool, typer.Option("--follow", help="Follow new lines, until Ctrl-C.")] = False,
) -> None:
    """Show the logs of functions (like sam logs).

    It needs boto3.
    """
    names = list(dict.fromkeys(consumer or ["consumer"]))
    with running(common, None, names) as deployment:
        functions = [deployment.function(name) for name in names]
    width = max(map(len, names)) if len(names) > 1 else 0
    with until_interrupted():
        for line in aws.logs(functions, _seconds(since), follow=follow):
            if common.as_json:
                print(json.dumps(asdict(line), default=str, ensure_ascii=False), flush=True)
            else:
                stack = f"{line.stack:<{width}}  " if width else ""
                print(f"{line.time.astimezone():%H:%M:%S}  {stack}{line.text}", flush=True)


@command("invoke consumer", "invoke consumer --event event.json", "invoke consumer --event - < event.json")
def invoke(
    common: Common,
    consumer_stack: Annotated[str, typer.Argument(metavar="CONSUMER", autocompletion=stack_names)],
    event: Annotated[
        str, typer.Option(metavar="FILE", help="Event as JSON; - reads standard input.", show_default="{}")
    ] = "",
) -> int:
    """Call a function (like sam remote invoke and sam local invoke).

    It calls the alias if there is one. The response is on stdout, the log on stderr. It needs boto3.
    """
    try:
        payload = sys.stdin.buffer.read() if event == "-" else Path(event).read_bytes() if event else b"{}"
        json.loads(payload)
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"{event} is no file with JSON: {error}", param_hint="--event") from None
    with running(common, None, [consumer_stack]) as deployment:
        called = deployment.function(consumer_stack)
    answer = aws.invoke(called, payload)
    if common.as_json:
        _print_json({consumer_stack: asdict(answer)})
    else:
        print("\n".join(answer.log), file=sys.stderr)
        print(answer.body)
    return errors.ProviderError.exit_code if answer.failed else 0


@command("history consumer", "history consumer --json")
def history(common: Common, stack: Annotated[str, typer.Argument(metavar="STACK", autocompletion=stack_names)]) -> None:
    """List the updates of a stack: when, by whom, and which image ran."""
    with running(common, None, [stack]) as deployment:
        updates = deployment.history(stack)
    if common.as_json:
        _print_json({stack: [asdict(update) for update in updates]})
    else:
        print("\n".join(_told_update(update) for update in updates))


@command("promote consumer production")
def promote(
    common: Common,
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="The consumer whose image is promoted.", autocompletion=stack_names)
    ],
    target: Annotated[
        str, typer.Argument(metavar="TARGET", help="The consumer that then runs it.", autocompletion=stack_names)
    ],
) -> None:
    """Run the image of one consumer in another.

    Nothing is built. The next `up` runs what the stack's file says.
    """
    with running(common, None, [target]) as deployment:
        result = deployment.promote(source, target)
    _print(common, {target: result})


@command("rollback consumer", "rollback consumer --to sha256:2f6d1b0c9a4e")
def rollback(
    common: Common,
    consumer_stack: Annotated[str, typer.Argument(metavar="CONSUMER", autocompletion=stack_names)],
    to: Annotated[
        str, typer.Option(metavar="DIGEST", help="Digest of an image in its history, or its beginning.")
    ] = "",
) -> None:
    """Run the previous image, or another one of the history.

    The next `up` runs what the stack's file says.
    """
    with running(common, None, [consumer_stack]) as deployment:
        result = deployment.rollback(consumer_stack, to=to)
    _print(common, {consumer_stack: result})


@command("repair consumer")
def repair(
    common: Common,
    stack: Annotated[str, typer.Argument(metavar="STACK", autocompletion=stack_names)],
    yes: Annotated[bool, typer.Option("--yes", help="Remove the lock even if its process may still run.")] = False,
) -> None:
    """Remove the lock of a killed run, and refresh the state.

    It asks for confirmation before it removes the lock of a process that may still run, because the state would miss
    the changes of that process.
    """
    try:
        with running(common, None, [stack]) as deployment:
            result = deployment.repair(stack, force=yes)
    except ConflictError as conflict:
        if not (_has_terminal() and typer.confirm(f"{conflict}. Remove its lock?", err=True)):
            conflict.hint = f"Wait for it. If its process has ended: python -m deployment repair {stack} --yes"
            raise
        with running(common, None, [stack]) as deployment:
            result = deployment.repair(stack, force=True)
    _print(common, {stack: result})


def _print(common: Common, outcomes: Outcomes) -> None:
    if common.as_json:
        _print_json({name: _plain(outcome) for name, outcome in outcomes.items()})
    else:
        shown = _report(outcomes)
        print(shown, end="\n" if shown else "")


def _report(outcomes: Outcomes) -> str:
    console = Console()
    results = {name: outcome for name, outcome in outcomes.items() if isinstance(outcome, StackResult)}
    return report(results, console.width if console.is_terminal else 0)


def _print_save(common: Common, save: Save, outcomes: Outcomes, seconds: float) -> None:
    """Print the result of a save, and how long it took."""
    files = save.files
    if common.as_json:
        plain = {name: _plain(outcome) for name, outcome in outcomes.items()}
        print(json.dumps({"saved": files, "seconds": round(seconds, 1), "stacks": plain}, default=str), flush=True)
        return
    shown = _report(outcomes)
    failed = [outcome for outcome in outcomes.values() if isinstance(outcome, DeploymentError)]
    for error in failed:
        print(_told(error), file=sys.stderr)
    answered = any(isinstance(outcome, StackResult) and outcome.checked for outcome in outcomes.values())
    until = "error" if failed else "answer" if answered else "next save" if save.is_outdated() else "end of the update"
    line = f"{', '.join(files)}: {seconds:.1f} s from save to {until}" if files else ""
    print("\n".join(filter(None, [shown, line])), flush=True)


def _has_terminal() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _agree(question: str) -> None:
    """Ask for confirmation. Without it the command ends."""
    if not typer.confirm(question, err=True):
        raise errors.Cancelled("nothing was changed", stack="")


def _print_json(stacks: dict[str, Any]) -> None:
    print(json.dumps({"stacks": stacks}, indent=2, ensure_ascii=False, default=str))


def _plain(outcome: StackResult | DeploymentError) -> dict[str, Any]:
    """An outcome for JSON. Leaves out the inputs of resources, which may hold secrets in environment variables."""
    if isinstance(outcome, DeploymentError):
        about = {"text": str(outcome), "urn": outcome.urn, "hint": outcome.hint, "exitCode": outcome.exit_code}
        return {"error": type(outcome).__name__, **about}
    return {
        "operation": outcome.operation,
        "changes": outcome.changes,
        "steps": [
            {"operation": step.operation, "urn": step.urn, "changed": step.changed, "forcing": step.forcing}
            for step in outcome.steps
        ],
        "outputs": dict(outcome.outputs),
        "diagnostics": [asdict(line) for line in outcome.diagnostics],
        "failed": list(outcome.failed),
        "seconds": round(outcome.seconds, 1),
        "checked": outcome.checked,
        "log": str(outcome.log),
    }


def _failed(error: DeploymentError) -> int:
    """Print what failed. Returns the exit code."""
    for outcome in (error.outcomes or {error.stack: error}).values():
        if isinstance(outcome, DeploymentError):
            print(_told(outcome), file=sys.stderr)
    return error.exit_code


def _told(error: DeploymentError) -> str:
    """An error with its resource and its fix."""
    lines = [f"{error.stack or 'deployment'}: {error}"]
    lines += [f"  resource  {error.urn}"] if error.urn else []
    lines += [f"  fix       {error.hint}"] if error.hint else []
    return "\n".join(lines)


def _told_update(update: Update) -> str:
    changes = ", ".join(f"{count} {name}" for name, count in update.changes.items() if name != "same") or "no changes"
    line = f"{update.began[:19]}  {update.operation:<8} {update.result:<10} {short(update.image):<19}  {update.who}"
    return f"{line.rstrip()}\n  {changes}"


def _is_uncertain(stack: StackStatus) -> bool:
    """Whether a state may be wrong. A running update is not an error."""
    return stack.holder_ended or (not stack.holder and bool(stack.pending or stack.failed))


def _described(stack: StackStatus) -> str:
    count = f"{stack.resources} resource{'' if stack.resources == 1 else 's'}"
    state = count if stack.deployed else "not deployed"
    lines = [f"{stack.stack:<12} {state}"]
    facts = {"image": short(str(stack.outputs.get("imageDigest", ""))), "address": stack.outputs.get("endpointUrl")}
    lines += [f"  {word:<8}  {text}" for word, text in facts.items() if text]
    if stack.holder and not stack.holder_ended:
        return "\n".join([*lines, f"  updating  {stack.holder}"])
    lines += [f"  left lock        {stack.holder}: it has ended"] if stack.holder else []
    lines += [f"  unknown outcome  {urn}" for urn in stack.pending]
    repair = stack.pending or stack.holder
    lines += [f"  fix              python -m deployment repair {stack.stack}"] if repair else []
    lines += [f"  failed update    {urn}; AWS may have the previous values" for urn in stack.failed]
    lines += ["  fix              python -m deployment up, or pulumi up --refresh"] if stack.failed else []
    return "\n".join(lines)


@app.command("completion", cls=Command, epilog='\b\nExample:\n  eval "$(python -m deployment completion bash)"')
def completion(shell: Annotated[str, typer.Argument(metavar="SHELL", help="bash, zsh or fish.")]) -> None:
    """Print a script that defines the command `deployment` with completion.

    It completes commands, options and the names of stacks.
    """
    print(completion_script(shell))


if __name__ == "__main__":
    # The collection at exit takes a quarter of the processor time of `--help` and of a completion.
    atexit.register(gc.freeze)
    app(complete_var=COMPLETE)
