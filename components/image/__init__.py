"""A function's image: what it is built from, what the registry holds, and which of the two runs."""
