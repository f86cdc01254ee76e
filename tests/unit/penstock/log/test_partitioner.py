from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.partitioner import murmur2 as kafka_python_murmur2

from penstock.log.partitioner import murmur2, partition_for

#: From Kafka's own UtilsTest.testMurmur2, as signed 32-bit numbers.
KAFKA_VECTORS = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


@pytest.mark.parametrize("data", KAFKA_VECTORS)
def test_kafkas_own_vectors(data: bytes) -> None:
    assert murmur2(data) == KAFKA_VECTORS[data] & 0xFFFFFFFF


@given(st.binary(max_size=200))
def test_equals_kafka_python(data: bytes) -> None:
    assert murmur2(data) == kafka_python_murmur2(data)


@given(st.binary(max_size=40), st.integers(1, 64))
def test_partition_is_the_positive_hash_modulo(key: bytes, partitions: int) -> None:
    assert partition_for(key, partitions) == (kafka_python_murmur2(key) & 0x7FFFFFFF) % partitions


def test_no_key_goes_to_the_first_partition() -> None:
    assert partition_for(None, 7) == 0
