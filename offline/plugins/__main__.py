"""`python -m offline.plugins NAME`: serve a stand-in to the engine that starts this process.

Started under its own name a plugin would be compiled anew every time.
"""

import gc
import importlib
import sys

# The imports are most of a start, and none of them is garbage.
gc.disable()
plugin = importlib.import_module(f"offline.plugins.{sys.argv[1]}")
gc.freeze()
gc.enable()
plugin.main()
