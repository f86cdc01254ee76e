"""Model artifacts, the served slots and the registry."""
