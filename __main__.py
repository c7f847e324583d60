"""The Pulumi program: deploys the registry stack or a consumer stack."""

import atexit
import gc
import signal
from functools import partial

# When the engine stops, the language host ends the program with SIGINT. Python's own handler would print a traceback
# after the error that the user has to read.
signal.signal(signal.SIGINT, signal.SIG_DFL)

# Garbage collection takes a third of the processor time of imports (tests/unit/test_main.py).
gc.disable()
atexit.register(gc.freeze)

import pulumi  # noqa: E402  # after the signal

from settings import RegistrySettings, load  # noqa: E402  # after the signal

settings = load(pulumi.Config())

# Only this stack's module is imported, so that only the providers that it uses are loaded.
if isinstance(settings, RegistrySettings):
    from stacks import registry

    pulumi.run(partial(registry.deploy, settings))
else:
    from stacks import consumer

    pulumi.run(partial(consumer.deploy, settings))
