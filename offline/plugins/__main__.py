"""`python -m offline.plugins NAME`: serve a stand-in to the engine that starts this process.

A plugin that runs as the main module would be compiled at each start.
"""

import gc
import importlib
import sys

# Imports take most of the start-up time and create no garbage.
gc.disable()
plugin = importlib.import_module(f"offline.plugins.{sys.argv[1]}")
gc.freeze()
gc.enable()
plugin.main()
