"""Drift and commands become gated, recorded model changes."""
