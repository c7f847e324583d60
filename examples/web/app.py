"""A small web service that deploys functions, one consumer stack each, and shows what happens while it happens.

Run it from the program's folder: `hypercorn examples.web.app:app`. It has no login: keep it on loopback, where it
answers no other page and under no other name.
"""

import asyncio
import dataclasses
import json
import subprocess
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi import Path as InPath
from fastapi.responses import FileResponse, PlainTextResponse, StreamingResponse
from pydantic import BaseModel, Field, field_validator
from starlette.middleware.base import RequestResponseEndpoint
from starlette.middleware.trustedhost import TrustedHostMiddleware

from deployment import Check, Deployment, DeploymentError, Diagnostic, Event, Progress, Step

PAGE = Path(__file__).with_name("index.html")
PREFIX = "cross-account-ecr:"
REGISTRY = "registry"
TEMPLATE = "consumer"
FUNCTION_STACK = "function-"
HOSTS = ["127.0.0.1", "localhost"]

Name = Annotated[str, InPath(pattern=r"^[a-z][a-z0-9-]{0,40}$")]


class Wanted(BaseModel):
    """What a function shall be.

    Attributes:
        context: folder with its Dockerfile, relative to the program's folder.
        memory: MB.
    """

    context: str = "app"
    memory: int = Field(default=128, ge=128, le=10_240)

    @field_validator("context")
    @classmethod
    def _in_the_project(cls, context: str) -> str:
        """A folder of the project: whoever calls the service gets no other one into an image."""
        project = Path.cwd().resolve()
        folder = (project / context).resolve()
        parts = folder.relative_to(project).parts if folder.is_relative_to(project) else ()
        if not parts or any(part.startswith(".") for part in parts):
            raise ValueError(f"{context!r} is not a folder of the project; an example is app")
        return context


@dataclasses.dataclass
class Function:
    """What the service knows of a function.

    Attributes:
        name: the function's name; its stack's begins with `function-`.
        state: what is going on, or how it ended.
        error: why it failed.
        outputs: the stack's.
    """

    name: str
    state: Literal["ready", "deploying", "deleting", "failed"] = "ready"
    error: str = ""
    outputs: dict[str, Any] = dataclasses.field(default_factory=dict)


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
        names = [stack["name"].rpartition("/")[2] for stack in json.loads(listed.stdout)]
        for stack in names:
            if stack.startswith(FUNCTION_STACK):
                name = stack.removeprefix(FUNCTION_STACK)
                with self._deployment(name, Wanted()) as deployment:
                    self.functions[name] = Function(name, outputs=deployment.outputs(stack))
        if REGISTRY in names:
            with Deployment(consumers=()) as deployment:
                self.registry = deployment.outputs(REGISTRY)

    def begin(self, name: str, state: Literal["deploying", "deleting"]) -> Function:
        """Mark a function as being worked on.

        Raises:
            HTTPException: it is already.
        """
        function = self.functions.setdefault(name, Function(name))
        if function.state in ("deploying", "deleting"):
            raise HTTPException(409, f"{name} is {function.state}; wait for it")
        function.state, function.error = state, ""
        self._show(function)
        return function

    def deploy(self, function: Function, wanted: Wanted) -> None:
        """Deploy the registry, if it is not there yet, and a function."""
        try:
            with self._registry_lock:
                if not self.registry:
                    with Deployment(consumers=(), on_event=self._tell) as deployment:
                        self.registry = dict(deployment.up()[REGISTRY].outputs)
                    self._publish({"kind": "registry", "outputs": self.registry})
            with self._deployment(function.name, wanted) as deployment:
                (result,) = deployment.up(check=Check()).values()
            function.state, function.outputs = "ready", dict(result.outputs)
        except DeploymentError as error:
            function.state, function.error = "failed", f"{error} {error.hint}"
        self._show(function)

    def delete(self, function: Function) -> None:
        """Destroy a function's stack."""
        try:
            with self._deployment(function.name, Wanted()) as deployment:
                deployment.destroy(remove=True)
            del self.functions[function.name]
            self._publish({"kind": "deleted", "name": function.name})
        except DeploymentError as error:
            function.state, function.error = "failed", f"{error} {error.hint}"
            self._show(function)

    async def listen(self) -> AsyncIterator[str]:
        """What happens from now on, as server-sent events."""
        queue: asyncio.Queue[str] = asyncio.Queue()
        self._listeners.add(queue)
        try:
            while True:
                yield f"data: {await queue.get()}\n\n"
        finally:
            self._listeners.discard(queue)

    def _deployment(self, name: str, wanted: Wanted) -> Deployment:
        stack = f"{FUNCTION_STACK}{name}"
        # Pulumi reads YAML 1.2, in which `012345678989` and `yes` are not what other readers take them for.
        command = ["pulumi", "config", "--json", "--stack", REGISTRY, "--config-file", f"Pulumi.{TEMPLATE}.yaml"]
        config = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        settings = {key.removeprefix(PREFIX): item.get("objectValue", item["value"]) for key, item in config.items()}
        settings["image"] = {**settings["image"], "context": wanted.context}
        # With a test event a broken image never gets a call.
        release = {"testEvent": {"httpMethod": "GET", "path": "/hello"}}
        settings["function"] = {**settings["function"], "name": name, "memory": wanted.memory, "release": release}
        return Deployment(registry=None, consumers=[stack], settings={stack: settings}, on_event=self._tell)

    def _tell(self, event: Event) -> None:
        name = event.stack.removeprefix(FUNCTION_STACK)
        if isinstance(event, Step) and event.operation not in ("same", "read"):
            text = f"{event.operation} {event.type} {event.name}: {event.state}"
            self._publish({"kind": "progress", "name": name, "text": text})
        elif isinstance(event, Progress) or (isinstance(event, Diagnostic) and event.severity == "error"):
            self._publish({"kind": "progress", "name": name, "text": event.text})

    def _show(self, function: Function) -> None:
        """Tell all listeners how a function is."""
        self._publish({"kind": "function", **dataclasses.asdict(function)})

    def _publish(self, message: dict[str, Any]) -> None:
        """Give a message to all listeners, from whatever thread."""
        text = json.dumps(message)
        for queue in list(self._listeners):
            self._loop.call_soon_threadsafe(queue.put_nowait, text)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Make the service when the server starts."""
    app.state.service = Service()
    await asyncio.to_thread(app.state.service.load)
    yield


app = FastAPI(title="Functions from a registry in another account", lifespan=lifespan)
# A page elsewhere can have its own name lead to loopback, and then counts as the same origin.
app.add_middleware(TrustedHostMiddleware, allowed_hosts=HOSTS)


@app.middleware("http")
async def refuse_other_pages(request: Request, call_next: RequestResponseEndpoint) -> Response:
    """Answer no request that a page of another origin makes."""
    origin = request.headers.get("origin", f"http://{request.headers.get('host')}")
    site = request.headers.get("sec-fetch-site", "none")
    if origin != f"http://{request.headers.get('host')}" or site not in ("none", "same-origin"):
        return PlainTextResponse("This service answers its own page only.", 403)
    return await call_next(request)


@app.get("/")
async def page() -> FileResponse:
    """The page."""
    return FileResponse(PAGE)


@app.get("/api/state")
async def state() -> dict[str, Any]:
    """The registry and all functions."""
    service: Service = app.state.service
    return {
        "registry": service.registry,
        "functions": [dataclasses.asdict(function) for function in service.functions.values()],
    }


@app.put("/api/functions/{name}", status_code=202)
async def deploy(name: Name, wanted: Wanted) -> dict[str, str]:
    """Create or update a function. The answer comes at once; the events tell how it goes on."""
    service: Service = app.state.service
    function = service.begin(name, "deploying")
    asyncio.get_running_loop().run_in_executor(None, service.deploy, function, wanted)
    return {"name": name, "state": function.state}


@app.delete("/api/functions/{name}", status_code=202)
async def delete(name: Name) -> dict[str, str]:
    """Delete a function and all that belongs to it; its image stays."""
    service: Service = app.state.service
    if name not in service.functions:
        raise HTTPException(404, f"there is no function {name}")
    function = service.begin(name, "deleting")
    asyncio.get_running_loop().run_in_executor(None, service.delete, function)
    return {"name": name, "state": function.state}


@app.get("/api/events")
async def events() -> StreamingResponse:
    """Server-sent events: functions, the registry, and lines of progress."""
    return StreamingResponse(app.state.service.listen(), media_type="text/event-stream")
