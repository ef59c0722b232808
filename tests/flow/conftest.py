"""What the flows share: a schema registry, and a deployment of one's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deployment import Deployment
from tests.registry import RegistryServer
from tests.servers import KafkaServer


@pytest.fixture(scope="session")
def registry() -> Iterator[RegistryServer]:
    """One registry for all flows. Don't stop it: start your own for that."""
    with RegistryServer() as server:
        yield server


@pytest.fixture
def deployment(
    tmp_path: Path, kafka: KafkaServer, redis_url: str, registry: RegistryServer, prefix: str
) -> Iterator[Deployment]:
    """Its topics aren't made yet: `deployment.run("topics")`."""
    with Deployment(tmp_path, prefix.rstrip("."), kafka.bootstrap, redis_url, registry) as made:
        yield made
