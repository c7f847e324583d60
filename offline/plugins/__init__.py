"""Stand-ins for Pulumi plugins, used if the official ones cannot be downloaded.

They are at least as strict as the official ones. `make setup` and `make shell` report that they are used.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

# The SDK's gRPC stubs, as `proto`: importing `pulumi.runtime.proto` imports the whole SDK, which slows down the start.
if sdk := find_spec("pulumi"):
    sys.path.append(str(Path(str(sdk.origin)).with_name("runtime")))
