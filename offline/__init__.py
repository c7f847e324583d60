"""What only a machine without downloads needs: builds of the CLI and of buildx, stand-in plugins, a base image."""
