"""The engine's own time: a program without resources."""

import pulumi  # noqa: F401  # every program does
