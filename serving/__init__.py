"""Scores, streams and the live page over HTTP."""
