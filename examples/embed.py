"""Deploy both stacks, check the endpoint, print its URL. Run `pip install .`, then `python examples/embed.py` here."""

from cross_account_ecr.deployment import Check, CheckFailed, Deployment, DeploymentError, Event, Step


def tell(event: Event) -> None:
    """Print a line for each resource that is created, updated or deleted."""
    if isinstance(event, Step) and event.state == "done" and event.operation != "same":
        print(f"{event.stack:10} {event.operation:8} {event.name}")


def main() -> int:
    """Deploy the registry and the consumer. Returns an exit code."""
    try:
        with Deployment(consumers=["consumer"], on_event=tell) as deployment:
            results = deployment.up(check=Check(seconds=60))
    except CheckFailed as error:
        print(f"{error} Now it runs {error.rolled_back_to or 'nothing'}.")
        return error.exit_code
    except DeploymentError as error:
        print(f"{error.stack}: {error}\n{error.hint}")
        return error.exit_code
    print(results["consumer"].outputs["endpointUrl"])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
