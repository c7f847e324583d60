"""The layout of `--help`, and shell completion."""

import re
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from typer._completion_shared import get_completion_script
from typer.core import TyperCommand, TyperGroup

COLUMNS = 80
# The environment variable with which a shell requests completions.
COMPLETE = "_DEPLOYMENT_COMPLETE"
GROUPS = {
    "Set up": ("init", "completion"),
    "Deploy": ("up", "watch", "preview", "rollback", "promote", "destroy"),
    "Functions": ("logs", "invoke"),
    "States": ("status", "history", "drift", "refresh", "repair"),
}


class Group(TyperGroup):
    """Commands in groups, each with the first line of its docstring."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The options without Typer's own, which would install a completion for `python`."""
        return [each for each in super().get_params(ctx) if not (each.name or "").endswith("_completion")]

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the groups."""
        for group, names in GROUPS.items():
            with formatter.section(group):
                formatter.write_dl(
                    [(name, (self.commands[name].help or "").partition("\n")[0].strip()) for name in names]
                )


class Command(TyperCommand):
    """A command that lists its own options before the shared ones.

    Attributes:
        shared: names of the parameters that other commands also have.
    """

    shared: frozenset[str] = frozenset()

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments and options."""
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": [], "Common options": []}
        for parameter in self.get_params(ctx):
            if record := parameter.get_help_record(ctx):
                common = "Common options" if parameter.name in {*self.shared, "help"} else "Options"
                section = "Arguments" if parameter.param_type_name == "argument" else common
                # Typer puts a description of a default in parentheses.
                sections[section].append((record[0], re.sub(r"\[default: \((.*)\)\]", r"[default: \1]", record[1])))
        for title, records in sections.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


def stack_names(incomplete: str) -> list[str]:
    """The stacks that have a file in the working directory."""
    names = sorted(path.name.split(".")[1] for path in Path().glob("Pulumi.?*.yaml"))
    return [name for name in names if name.startswith(incomplete)]


def completion_script(shell: str) -> str:
    """A script that defines the command `deployment` and its completion: shells cannot complete `python -m`."""
    command = "python -m deployment"
    # Private, because Typer only prints scripts. The tests of completion guard it.
    script = get_completion_script(prog_name="deployment", complete_var=COMPLETE, shell=shell)
    # The command that the script calls for completions.
    script = re.sub(r"(complete_bash|complete_zsh|\(commandline -cp\)) (\$1|deployment)", rf"\1 {command}", script)
    arguments = "$argv; end" if shell == "fish" else '"$@"; }'
    return f"{'function deployment;' if shell == 'fish' else 'deployment() {'} {command} {arguments}\n{script}"


def exit_codes(meanings: Mapping[int, str]) -> str:
    """The exit codes, for the end of `--help`."""
    lines = ["\b", "Exit codes:"]
    for code, meaning in sorted(meanings.items()):
        # Typer adds an indent of two.
        lines += textwrap.wrap(f"  {code:<4} {meaning}", COLUMNS - 4, subsequent_indent=" " * 7)
    return "\n".join(lines)
