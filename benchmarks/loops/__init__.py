"""What contestants run: each module one way to get from a topic through the same learner or scorer."""
