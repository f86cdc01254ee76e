"""The stream stages: thin shells over `online`."""
