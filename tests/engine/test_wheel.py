"""The wheel alone, outside of this folder, suffices to embed both stacks and to use both components."""

import json
import re
import shutil
import subprocess
import sysconfig
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.engine.clone import ROOT, Clone
from tests.local.test_wheel import built

# Changes for the test: its own names, the base image of the local run, and a repository that can be destroyed.
CHANGES = {
    "import pulumi\n": "import os\nimport pulumi\n",
    "from components": "from cross_account_ecr.components",
    '"orders"': '"wheel"',
    'ImageBuild(context="app")':
        'ImageBuild(context="app", args={"LAMBDA_BASE_IMAGE": os.environ.get("LAMBDA_BASE_IMAGE", "")})',
    "name=\"wheel\", region": "protect=False, retain_on_delete=False, force_delete=True, name=\"wheel\", region",
}  # fmt: skip


def example() -> str:
    """The program in docs/components.md."""
    (text,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "components.md").read_text(), re.DOTALL)
    for old, new in CHANGES.items():
        assert old in text
        text = text.replace(old, new)
    return text


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with the wheel. Its dependencies come from the shared environment."""
    folder = tmp_path_factory.mktemp("wheel")
    venv.create(folder / "venv", symlinks=True)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder / "venv")}))
    (site / "shared.pth").write_text(sysconfig.get_path("purelib"))
    python = folder / "venv" / "bin" / "python"
    install = [python, "-m", "pip", "install", "--no-deps", "--no-index", built(folder)]
    subprocess.run(install, capture_output=True, check=True)
    return python


@pytest.fixture
def project(deployed: Clone, python: Path, tmp_path: Path) -> Path:
    """A folder with another project, its stack files and the image."""
    shutil.copytree(deployed.root / "app", tmp_path / "app")
    for name in ("Pulumi.yaml", "Pulumi.registry.yaml", "Pulumi.consumer.yaml"):
        shutil.copy(deployed.root / name, tmp_path)
    text = (tmp_path / "Pulumi.yaml").read_text()
    (tmp_path / "Pulumi.yaml").write_text(text.replace(".local/venv", str(python.parents[1])))
    return tmp_path


@pytest.fixture
def components(deployed: Clone, project: Path) -> Iterator[str]:
    """The start of a command line for the CLI, in a program with both components. Its stack is removed afterwards."""
    text = (project / "Pulumi.yaml").read_text()
    (project / "Pulumi.yaml").write_text(text.replace("name: cross-account-ecr", "name: wheel").partition("config:")[0])
    (project / "__main__.py").write_text(example())
    yield f"cd {project} && pulumi"
    deployed.shell(f"cd {project} && pulumi destroy --yes --skip-preview -s wheel && pulumi stack rm --yes wheel")


def test_an_embedding_script_deploys_both_stacks(deployed: Clone, project: Path, python: Path) -> None:
    (project / "__main__.py").write_text("import cross_account_ecr.__main__\n")
    (project / "embed.py").write_text((deployed.root / "examples" / "embed.py").read_text())
    file = project / "Pulumi.consumer.yaml"
    config = yaml.safe_load(file.read_text())
    config["config"].setdefault("cross-account-ecr:function", {})["memory"] = 320
    file.write_text(yaml.safe_dump(config))
    try:
        ran = deployed.shell(f"cd {project} && {python} embed.py")
        assert ran.returncode == 0, ran.stdout
        url = ran.stdout.splitlines()[-1]
        assert deployed.get_url(url) == (200, {"message": "hello world!"})
        functions = deployed.client("consumer", "lambda")
        assert functions.get_function_configuration(FunctionName="cross-account-function")["MemorySize"] == 320
    finally:
        deployed.up("consumer")


def test_a_program_uses_both_components(deployed: Clone, components: str) -> None:
    created = deployed.shell(f"{components} stack init wheel && pulumi up --yes --skip-preview -s wheel")
    assert created.returncode == 0, created.stdout
    outputs = json.loads(deployed.shell(f"{components} stack output --json -s wheel").stdout)
    assert deployed.get_url(outputs["endpointUrl"]) == (200, {"message": "hello world!"})
