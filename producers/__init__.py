"""Applications upstream of the log: the client, replay, drift injection, public data sets."""
