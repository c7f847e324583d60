"""The two components, for any Pulumi program. They do not depend on the configuration or the stacks of this one.

`CrossAccountRepository` is in `components.repository`, `ImageFunction` in `components.function`. Nothing is imported
here, so that a program loads only the providers that it uses.
"""
