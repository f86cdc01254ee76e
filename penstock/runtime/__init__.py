"""The runtime: everything about running a stage that is not domain logic."""
