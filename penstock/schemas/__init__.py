"""What is generated from the code for people and other programs: contracts, AsyncAPI, and reference pages.

``python -m penstock.schemas`` writes the files under ``docs/``; with ``--check`` it names those that are stale.
"""
