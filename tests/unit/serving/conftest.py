from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from tests.unit.serving.stand import Stand


@pytest.fixture
def stand() -> Stand:
    return Stand()


@pytest.fixture
def client(stand: Stand) -> Iterator[TestClient]:
    with TestClient(stand.app(), raise_server_exceptions=False) as client:
        yield client
