"""Measurements: one command each, the figures last on stdout as one JSON object, the machine stated with them."""
