"""The deployed clone, and deployments of it in the process of the test."""

import shutil
import subprocess
import sys
from typing import Any

import yaml

from deployment import Deployment, Options
from tests.engine.clone import STACKS, Clone

NAME = "cross-account-function"


class Program:
    """The deployed clone, and deployments of it in this process.

    Attributes:
        clone: the clone with the program.
        environment: the environment of a shell in the local run.
        config: configuration of both stacks, initially as committed. If it is changed, it replaces the files.
    """

    def __init__(self, clone: Clone) -> None:
        self.clone = clone
        lines = clone.shell("env -0").stdout.split("\0")
        self.environment = dict(line.split("=", 1) for line in lines if "=" in line)
        self.config = {name: self.committed(name) for name in STACKS}

    def committed(self, stack: str) -> dict[str, Any]:
        """The configuration in a stack's file."""
        config = yaml.safe_load((self.clone.root / f"Pulumi.{stack}.yaml").read_text())["config"]
        return {key.partition(":")[2]: value for key, value in config.items()}

    def deployment(
        self, *, registry: str | None = None, consumers: tuple[str, ...] = ("consumer",), **options: Any
    ) -> Deployment:
        """A deployment, by default without the registry."""
        given = {name: options.pop(name) for name in ("on_event", "program") if name in options}
        environment = {**self.environment, **options.pop("environment", {})}
        return Deployment(
            self.clone.root, registry=registry, consumers=consumers, settings=self.config,
            options=Options(environment=environment, **options), **given,
        )  # fmt: skip

    def build(self, name: str, dockerfile: str | None = None, code: str | None = None) -> dict[str, Any]:
        """The configuration of an image with another Dockerfile or other code."""
        context = self.clone.root / ".local" / "contexts" / name
        shutil.copytree(self.clone.root / "app", context, dirs_exist_ok=True)
        if dockerfile:
            (context / "Dockerfile").write_text(dockerfile)
        if code:
            (context / "app.py").write_text(code)
        return {"context": str(context.relative_to(self.clone.root)), "args": {"LAMBDA_BASE_IMAGE": None}}

    def answering(self, message: str) -> dict[str, Any]:
        """The configuration of an image whose function returns a message."""
        code = (self.clone.root / "app" / "app.py").read_text()
        return self.build(message, code=code.replace("hello world!", message))

    def command(self, *arguments: str, **changed: str) -> subprocess.CompletedProcess[str]:
        """Run `python -m deployment` as a person does."""
        return subprocess.run(
            [sys.executable, "-m", "deployment", *arguments], cwd=self.clone.root, text=True, capture_output=True,
            env={**self.environment, **changed},
        )  # fmt: skip

    def image(self) -> str:
        """The digest of the image that the function runs."""
        function = self.clone.client("consumer", "lambda").get_function(FunctionName=NAME)
        return str(function["Code"]["ImageUri"]).partition("@")[2]

    def alias(self) -> tuple[str, dict[str, float]]:
        """The version of the alias, and other versions with a share of the calls."""
        alias = self.clone.client("consumer", "lambda").get_alias(FunctionName=NAME, Name="live")
        return alias["FunctionVersion"], alias.get("RoutingConfig", {}).get("AdditionalVersionWeights", {})
