"""The science: learning, joining, detection, evaluation. No I/O in here."""
