"""A real Kafka broker for tests, benchmarks and ``make kafka``."""
