"""A small web service that deploys functions, one consumer stack each, and shows what happens while it happens.

Run it from the program's folder: `hypercorn examples.web.app:app`. It has no login: keep it on loopback, where it
answers no other page and under no other name.
"""

import asyncio
import json
import logging
import subprocess
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi import Path as InPath
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, StreamingResponse
from pydantic import BaseModel, Field, field_validator
from starlette.middleware.base import RequestResponseEndpoint
from starlette.middleware.trustedhost import TrustedHostMiddleware

from deployment import Check, CheckFailed, ConflictError, Deployment, DeploymentError, Event, Step, aws
from deployment.view import DONE, IMAGE, Row, kind

FILES = Path(__file__).parent
# What was asked for and how it ended, for the next run of the service.
RECORDS = Path(".local", "web")
PREFIX = "cross-account-ecr:"
REGISTRY = "registry"
TEMPLATE = "consumer"
FUNCTION_STACK = "function-"
HOSTS = ["127.0.0.1", "localhost"]
CHECK_SECONDS, LOG_SECONDS = 10, 3600

Name = Annotated[str, InPath(pattern=r"^[a-z][a-z0-9-]{0,40}$")]

ACTS: dict[str, Callable[[Deployment, str], object]] = {
    "deploy": lambda deployment, stack: deployment.up(check=Check()),
    "rollback": lambda deployment, stack: deployment.rollback(stack),
    "delete": lambda deployment, stack: deployment.destroy(remove=True),
}


class Settings(BaseModel):
    """What a function is.

    Attributes:
        context: folder with its Dockerfile, relative to the program's folder.
        memory: MB.
    """

    context: str = "app"
    memory: int = Field(default=128, ge=128, le=10_240)


class Wanted(Settings):
    """What a function shall be."""

    @field_validator("context")
    @classmethod
    def _in_the_project(cls, context: str) -> str:
        """A folder of the project. A caller cannot put any other folder into an image."""
        project = Path.cwd().resolve()
        folder = (project / context).resolve()
        parts = folder.relative_to(project).parts if folder.is_relative_to(project) else ()
        if not parts or any(part.startswith(".") for part in parts):
            raise ValueError(f"{context!r} is not a folder of the project; an example is app")
        if not (folder / "Dockerfile").is_file():
            raise ValueError(f"{context!r} has no Dockerfile; an example of a folder with one is app")
        return context


class Run(BaseModel):
    """An operation on a function.

    Attributes:
        operation: its name, or its kind in Pulumi's history.
        state: its state. `interrupted`: the service ended before the operation.
        began: when it began.
        seconds: how long it took; None while it runs.
        now: what it is doing.
        steps: what it has done so far, each with the seconds since it began.
        error: why it failed.
        hint: what to do.
    """

    operation: str
    state: Literal["running", "succeeded", "failed", "interrupted"] = "running"
    began: datetime = Field(default_factory=lambda: datetime.now(UTC))
    seconds: float | None = None
    now: str = "starting"
    steps: list[tuple[float, str]] = []
    error: str = ""
    hint: str = ""

    @property
    def so_far(self) -> float:
        """Seconds since it began."""
        return round((datetime.now(UTC) - self.began).total_seconds(), 1)


class Function(BaseModel):
    """What the service knows about a function.

    Attributes:
        name: the function's name; its stack's begins with `function-`.
        wanted: the settings of the last request.
        memory: its memory in MB; None if unknown.
        deployed: when what runs was deployed.
        service: what its callers get, whatever became of the last operation.
        problem: what is wrong with it.
        run: the last operation.
        outputs: the stack's.
    """

    name: str
    wanted: Settings = Settings()
    memory: int | None = None
    deployed: datetime | None = None
    service: Literal["none", "answers", "fails"] = "none"
    problem: str = ""
    run: Run | None = None
    outputs: dict[str, Any] = {}

    @property
    def stack(self) -> str:
        """Its stack."""
        return f"{FUNCTION_STACK}{self.name}"

    @property
    def record(self) -> Path:
        """Its file."""
        return RECORDS / f"{self.name}.json"

    def save(self) -> None:
        """Write its file."""
        RECORDS.mkdir(parents=True, exist_ok=True)
        self.record.write_text(self.model_dump_json(exclude={"service", "problem", "outputs"}))


class Service:
    """The functions, and who listens to what happens to them."""

    def __init__(self) -> None:
        self.functions: dict[str, Function] = {}
        self.registry: dict[str, Any] = {}
        self._listeners: set[asyncio.Queue[str]] = set()
        self._loop = asyncio.get_running_loop()
        self._registry_lock = threading.Lock()

    def load(self) -> None:
        """Take over the stacks that an earlier run has left."""
        listed = subprocess.run(["pulumi", "stack", "ls", "--json"], capture_output=True, text=True, check=True)
        stacks = [stack["name"].rpartition("/")[2] for stack in json.loads(listed.stdout)]
        names = [stack.removeprefix(FUNCTION_STACK) for stack in stacks if stack.startswith(FUNCTION_STACK)]
        with ThreadPoolExecutor() as pool:
            self.functions = dict(zip(names, pool.map(self._known, names), strict=True))
        if REGISTRY in stacks:
            with Deployment(consumers=()) as deployment:
                self.registry = deployment.outputs(REGISTRY)

    def function(self, name: str) -> Function:
        """One of the functions.

        Raises:
            HTTPException: there is no function of this name.
        """
        if name not in self.functions:
            raise HTTPException(404, f"There is no function {name}.")
        return self.functions[name]

    def begin(self, function: Function, operation: str, wanted: Settings | None = None) -> dict[str, str]:
        """Begin an operation on a function. Events report its progress.

        Raises:
            HTTPException: one is running.
        """
        if function.run and function.run.state == "running":
            raise HTTPException(409, f"{function.name} is busy ({function.run.operation}). Wait until that has ended.")
        self.functions[function.name] = function
        function.wanted = wanted or function.wanted
        function.run = Run(operation=operation)
        function.save()
        self._show(function)
        self._loop.run_in_executor(None, self._work, function, function.run)
        return {"name": function.name, "operation": operation}

    def check(self, function: Function) -> None:
        """Call the endpoint of a function, if it has one."""
        if url := function.outputs.get("endpointUrl"):
            function.problem = Check(seconds=CHECK_SECONDS).problem(url)
            function.service = "fails" if function.problem else "answers"
        # It may have been deleted meanwhile.
        if self.functions.get(function.name) is function:
            self._show(function)

    def logs(self, function: Function) -> list[dict[str, str]]:
        """What a function has written in the last hour."""
        with self._deployment(function) as deployment:
            lines = aws.logs([deployment.function(function.stack)], LOG_SECONDS)
            return [{"time": line.time.isoformat(), "text": line.text} for line in lines]

    async def listen(self) -> AsyncIterator[str]:
        """What happens from now on, as server-sent events."""
        queue: asyncio.Queue[str] = asyncio.Queue()
        self._listeners.add(queue)
        try:
            while True:
                yield f"data: {await queue.get()}\n\n"
        finally:
            self._listeners.discard(queue)

    def _known(self, name: str) -> Function:
        """A function whose stack is there."""
        function = Function(name=name)
        # There may be none, or only the beginning of one.
        with suppress(OSError, ValueError):
            function = Function.model_validate_json(function.record.read_bytes())
        if function.run and function.run.state == "running":
            text = "The service ended before the operation did."
            function.run.state, function.run.error, function.run.hint = "interrupted", text, "Deploy again."
        self._look(function)
        return function

    def _work(self, function: Function, run: Run) -> None:
        """Do what was asked, and see what has come of it."""
        try:
            self._act(function, run)
        except Exception as error:
            logging.exception("%s: %s", function.name, run.operation)
            run.error = str(error) or type(error).__name__
            run.hint = getattr(error, "hint", "See the log of the service.")
            if isinstance(error, CheckFailed) and error.rolled_back_to:
                # All but the image is as it was asked for.
                function.memory = function.wanted.memory
        if run.operation == "delete" and not run.error:
            del self.functions[function.name]
            function.record.unlink()
            self._publish({"kind": "deleted", "name": function.name})
            return
        if not run.error:
            function.deployed, function.memory = datetime.now(UTC), function.wanted.memory
        self._look(function)
        run.state, run.seconds = "failed" if run.error else "succeeded", run.so_far
        function.save()
        self._show(function)

    def _act(self, function: Function, run: Run) -> None:
        tell = partial(self._tell, function, run, {})
        if run.operation == "deploy":
            run.now = "waiting for the registry"
            with self._registry_lock:
                if not self.registry:
                    with Deployment(consumers=(), on_event=tell) as deployment:
                        self.registry = dict(deployment.up()[REGISTRY].outputs)
                    self._publish({"kind": "registry", "outputs": self.registry})
        with self._deployment(function, tell) as deployment:
            act = partial(ACTS[run.operation], deployment, function.stack)
            try:
                act()
            except ConflictError as error:
                if not error.ended:
                    raise
                deployment.repair(function.stack)
                act()

    def _look(self, function: Function) -> None:
        """See what the callers of a function get."""
        try:
            with self._deployment(function) as deployment:
                function.outputs = dict(deployment.status()[function.stack].outputs)
                history = [] if function.run else deployment.history(function.stack)
        except (DeploymentError, subprocess.CalledProcessError) as error:
            function.service, function.problem = "fails", str(error)
            return
        for update in history[:1]:
            state: Literal["succeeded", "failed"] = "failed" if update.result == "failed" else "succeeded"
            function.run = Run(operation=update.operation, state=state, began=datetime.fromisoformat(update.began))
        updated = [update for update in history if (update.operation, update.result) == ("update", "succeeded")]
        for update in updated[:1]:
            function.deployed = datetime.fromisoformat(update.began)
        function.service, function.problem = "none", ""
        self.check(function)

    def _deployment(self, function: Function, tell: Callable[[Event], None] = lambda event: None) -> Deployment:
        # Pulumi reads YAML 1.2, in which `012345678989` and `yes` are not what other readers take them for.
        command = ["pulumi", "config", "--json", "--stack", REGISTRY, "--config-file", f"Pulumi.{TEMPLATE}.yaml"]
        config = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        settings = {key.removeprefix(PREFIX): item.get("objectValue", item["value"]) for key, item in config.items()}
        settings["image"] = {**settings["image"], "context": function.wanted.context}
        # With a test event a broken image never gets a call.
        release = {"testEvent": {"httpMethod": "GET", "path": "/hello"}}
        own = {"name": function.name, "memory": function.wanted.memory, "release": release}
        settings["function"] = {**settings["function"], **own}
        stack = function.stack
        return Deployment(registry=None, consumers=[stack], settings={stack: settings}, on_event=tell)

    def _tell(self, function: Function, run: Run, rows: dict[str, Row], event: Event) -> None:
        before = run.now, len(run.steps)
        row = rows.setdefault(event.stack, Row())
        row.take(event)
        run.now = row.now
        if isinstance(event, Step) and (event.is_resource or (event.type, event.operation) == (IMAGE, "create")):
            words = {"done": DONE.get(event.operation), "failed": "failed"}
            if word := words.get(event.state):
                run.steps.append((run.so_far, f"{word} {kind(event.type)} {event.name}"))
        if before != (run.now, len(run.steps)):
            self._show(function)

    def _show(self, function: Function) -> None:
        """Tell all listeners how a function is."""
        self._publish({"kind": "function", **function.model_dump(mode="json")})

    def _publish(self, message: dict[str, Any]) -> None:
        """Give a message to all listeners, from whatever thread."""
        text = json.dumps(message)
        for queue in list(self._listeners):
            self._loop.call_soon_threadsafe(queue.put_nowait, text)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Create the service when the server starts."""
    app.state.service = Service()
    await asyncio.to_thread(app.state.service.load)
    yield


app = FastAPI(title="Functions from a registry in another account", lifespan=lifespan)
# A page elsewhere can have its own name lead to loopback, and then counts as the same origin.
app.add_middleware(TrustedHostMiddleware, allowed_hosts=HOSTS)


@app.middleware("http")
async def refuse_other_pages(request: Request, call_next: RequestResponseEndpoint) -> Response:
    """Refuse requests from pages of other origins."""
    origin = request.headers.get("origin", f"http://{request.headers.get('host')}")
    site = request.headers.get("sec-fetch-site", "none")
    if origin != f"http://{request.headers.get('host')}" or site not in ("none", "same-origin"):
        return PlainTextResponse("This service answers its own page only.", 403)
    return await call_next(request)


@app.exception_handler(DeploymentError)
async def failed(request: Request, error: DeploymentError) -> JSONResponse:
    """Report an error of AWS or Pulumi like the other errors."""
    return JSONResponse({"detail": f"{error} {error.hint}"}, 502)


@app.get("/")
async def page() -> FileResponse:
    """The page."""
    return FileResponse(FILES / "index.html")


@app.get("/page.js")
async def script() -> FileResponse:
    """Its script."""
    return FileResponse(FILES / "page.js")


@app.get("/api/state")
async def state() -> dict[str, Any]:
    """The registry and all functions. The events tell whether they answer now."""
    service: Service = app.state.service
    functions = list(service.functions.values())
    for function in functions:
        asyncio.get_running_loop().run_in_executor(None, service.check, function)
    return {"registry": service.registry, "functions": functions}


@app.put("/api/functions/{name}", status_code=202)
async def deploy(name: Name, wanted: Wanted) -> dict[str, str]:
    """Create or update a function."""
    service: Service = app.state.service
    return service.begin(service.functions.get(name) or Function(name=name), "deploy", wanted)


@app.post("/api/functions/{name}/rollback", status_code=202)
async def rollback(name: Name) -> dict[str, str]:
    """Run the previous image."""
    service: Service = app.state.service
    return service.begin(service.function(name), "rollback")


@app.delete("/api/functions/{name}", status_code=202)
async def delete(name: Name) -> dict[str, str]:
    """Delete a function and all that belongs to it; its image stays."""
    service: Service = app.state.service
    return service.begin(service.function(name), "delete")


@app.get("/api/functions/{name}/logs")
def logs(name: Name) -> list[dict[str, str]]:
    """What a function has written in the last hour."""
    service: Service = app.state.service
    return service.logs(service.function(name))


@app.get("/api/events")
async def events() -> StreamingResponse:
    """Server-sent events: functions as they change, those that are deleted, and the registry."""
    return StreamingResponse(app.state.service.listen(), media_type="text/event-stream")
