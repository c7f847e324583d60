"""The local run: tools, a Docker engine and a local cloud on one machine, instead of two AWS accounts.

The Pulumi program imports nothing from this package. `python3 -m local --help` lists the commands.
"""
