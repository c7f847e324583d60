"""A program without resources, for the time of the engine alone."""

import pulumi  # noqa: F401  # every program does
