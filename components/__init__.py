"""The two components, usable in any Pulumi program: they know nothing of this one's configuration and stacks.

`CrossAccountRepository` is in `components.repository`, `ImageFunction` in `components.function`. Nothing is imported
here, so that a program loads only the providers that it uses.
"""
