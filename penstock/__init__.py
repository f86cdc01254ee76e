"""Penstock: a gated pipe from a river of events to a served model."""

from importlib.metadata import version

__version__ = version("penstock")
