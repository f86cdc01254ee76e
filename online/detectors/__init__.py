"""Detectors of one shape: `update(batch)` gives findings."""
