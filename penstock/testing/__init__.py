"""Checks that every implementation of a port passes, and points to kill a process at."""
