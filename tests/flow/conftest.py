"""What the flows share: a deployment of one's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deployment import Deployment
from tests.servers import KafkaServer, SchemaRegistry


@pytest.fixture
def deployment(
    tmp_path: Path, kafka: KafkaServer, redis_url: str, registry: SchemaRegistry, prefix: str
) -> Iterator[Deployment]:
    """Its topics aren't made yet: `deployment.run("topics")`."""
    with Deployment(tmp_path, prefix.rstrip("."), kafka.bootstrap, redis_url, registry) as made:
        yield made
