"""The Pulumi program: one stack of the two, whichever this is."""

import atexit
import gc
import signal

# The language host ends the program with SIGINT when the engine gives up. Python's own handler would print a traceback
# behind the error that the user has to read.
signal.signal(signal.SIGINT, signal.SIG_DFL)

import pulumi  # noqa: E402

from settings import RegistrySettings, load  # noqa: E402

settings = load(pulumi.Config())

# Looking for garbage takes a third of the processor time of the imports below, 0.6 of 1.8 s (tests/unit/test_main.py).
gc.disable()
atexit.register(gc.freeze)

# Only the module of this stack is imported, and with it only the providers that it uses.
if isinstance(settings, RegistrySettings):
    from stacks import registry

    registry_settings = settings
    pulumi.run(lambda: registry.deploy(registry_settings))
else:
    from stacks import consumer

    consumer_settings = settings
    pulumi.run(lambda: consumer.deploy(consumer_settings))
