"""Deploy both stacks, check the endpoint, print its URL. Run `python examples/embed.py` in the program's folder."""

import sys
from pathlib import Path

try:
    from cross_account_ecr.deployment import Check, Deployment, DeploymentError, Event, Step
except ModuleNotFoundError:
    # `pip install .` was not run: the package is the folder above.
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from deployment import Check, Deployment, DeploymentError, Event, Step


def tell(event: Event) -> None:
    """Print a line for each resource that is created, updated or deleted."""
    if isinstance(event, Step) and event.state == "done" and event.operation in ("create", "update", "delete"):
        print(f"{event.stack:10} {event.operation:8} {event.name}")


def main() -> None:
    """Deploy the registry and the consumer."""
    try:
        with Deployment(consumers=["consumer"], on_event=tell) as deployment:
            results = deployment.up(check=Check(seconds=60))
    except DeploymentError as error:
        print(f"{error.stack}: {error}\n{error.hint}")
        sys.exit(error.exit_code)
    print(results["consumer"].outputs["endpointUrl"])


if __name__ == "__main__":
    main()
