"""Combines the program's packages into the package `cross_account_ecr` for the wheel.

Pulumi runs the program in this folder, where `settings` and `components` are top-level modules. In site-packages, these
names would conflict with a user's own modules, such as the settings of a Django project.
"""

import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from setuptools import setup
from setuptools.command.build_py import build_py

PACKAGE = "cross_account_ecr"
OWN_NAME = re.compile(r"(^ *from |python -m )(?=(components|deployment|settings|stacks)\b)", re.MULTILINE)


class BuildPackage(build_py):
    """Adds the prefix `cross_account_ecr.` to the imports between the program's modules and to `python -m` commands."""

    def build_module(self, module: Any, module_file: Any, package: Any) -> Any:  # noqa: D102
        built, copied = super().build_module(module, module_file, package)
        file = Path(built)
        file.write_text(OWN_NAME.sub(rf"\1{PACKAGE}.", file.read_text("utf-8")), "utf-8")
        return built, copied


# Build in a temporary folder, so that the wheel contains no files of an earlier build.
with TemporaryDirectory() as scratch:
    setup(
        cmdclass={"build_py": BuildPackage},
        package_dir={PACKAGE: "."},
        py_modules=[f"{PACKAGE}.{name}" for name in ("__main__", "settings")],
        packages=[f"{PACKAGE}.{name}" for name in ("components", "components.image", "deployment", "stacks")],
        options={"build": {"build_base": scratch}, "egg_info": {"egg_base": scratch}},
    )
