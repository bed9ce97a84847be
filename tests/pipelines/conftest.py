"""One PostgreSQL server for all pipelines, and for each test a schema of its own in it."""

import re
from collections.abc import Iterator

import pytest

from demo.postgres_server import Postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """Return a real PostgreSQL, whose sessions are not in UTC unless they say so."""
    with Postgres(durable=False) as server:
        server.execute("alter database postgres set timezone to 'America/Chicago'")
        yield server


@pytest.fixture
def schema(request: pytest.FixtureRequest) -> str:
    """Return a name of a schema that no other test uses."""
    return re.sub(r"\W+", "_", request.node.name)[-60:].strip("_").lower()
