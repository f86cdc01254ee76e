"""Drift detectors: ours, River's, Frouros' and a dummy on the same streams."""
