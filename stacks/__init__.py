"""One module for each stack: its providers, its components, its outputs."""
