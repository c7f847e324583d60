"""Stand-ins for Pulumi plugins that are released as downloads only, used where the official ones cannot be had.

They are at least as strict as what they stand in for. `make setup` and `make shell` say that they are used.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

# The SDK's gRPC stubs, as `proto`. As `pulumi.runtime.proto` they bring the whole SDK, most of a plugin's start.
if sdk := find_spec("pulumi"):
    sys.path.append(str(Path(str(sdk.origin)).with_name("runtime")))
