"""A function's image: the build, the checks in the registry, and the plan which image runs."""
