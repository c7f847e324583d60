"""One machine in place of two AWS accounts: the tools, a Docker engine and a local cloud.

Nothing here is imported by the Pulumi program. `python3 -m local --help` lists the commands.
"""
