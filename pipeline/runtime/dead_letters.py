"""What a dead letter says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.errors import InvalidEvent


def headers(
    topic: str, partition: int, offset: int, stage: str, error: InvalidEvent, schema_id: int | None
) -> list[tuple[str, bytes]]:
    """Kafka Connect's `DeadLetterQueueReporter` names; values are strings."""
    context: dict[str, Any] = {
        "topic": topic,
        "partition": partition,
        "offset": offset,
        "connector.name": "pipeline",
        "task.id": partition,
        "stage": stage,
        "class.name": "pipeline.flow",
        "exception.class.name": "pipeline.errors.InvalidEvent",
        "exception.message": str(error),
    }
    made = [(f"__connect.errors.{name}", str(value).encode()) for name, value in context.items()]
    made.append(("pipeline.reason", error.reason.encode()))
    if schema_id is not None:
        made.append(("pipeline.schema.id", str(schema_id).encode()))
    return made


def made(stage: str, error: InvalidEvent, where: str, told: Mapping[str, object]) -> list[tuple[str, bytes]]:
    """Of what was never a record: a line of a file, or a part of a request. `told`: where it stood (`pipeline.*`)."""
    found: dict[str, object] = {
        "__connect.errors.stage": stage,
        "__connect.errors.connector.name": "pipeline",
        "__connect.errors.class.name": where,
        "__connect.errors.exception.class.name": "pipeline.errors.InvalidEvent",
        "__connect.errors.exception.message": error,
        "pipeline.reason": error.reason,
        **{f"pipeline.{name}": value for name, value in told.items()},
    }
    return [(name, str(value).encode("utf-8", "surrogateescape")) for name, value in found.items()]
