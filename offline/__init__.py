"""For machines without downloads: builds of the CLI and of buildx, stand-in plugins, and a base image."""
