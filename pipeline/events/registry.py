"""The schema registry: Confluent's client, and the two answers that must never be confused.

A registry that says "no such schema" (404 with an error code 404xx of its own) has answered: the record is bad. A
registry that doesn't answer, or answers anything else (a proxy's 404, a 500, a 401), has not: the operator must look,
and nothing may be lost meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Self

from confluent_kafka.schema_registry import Schema, SchemaRegistryClient, SchemaRegistryError

from pipeline.errors import RegistryUnavailable

FORGET_SECONDS = 10.0
"""How long "no such schema" is believed before the registry is asked again."""

_IN_PROCESS = "mock://"
_shared: dict[str, Registry] = {}


class Registry:
    """What the codec needs of a registry. Calls may block for some seconds unless said otherwise. Thread-safe."""

    def __init__(self, client: SchemaRegistryClient, url: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.client = client
        self.url = url
        self._clock = clock
        self._missing: dict[int, float] = {}

    def missing(self, schema_id: int) -> bool:
        """Whether the registry said, within the last seconds, that it has no such schema. Never blocks."""
        return self._missing.get(schema_id, 0.0) > self._clock()

    def schema(self, schema_id: int) -> str | None:
        """The schema's text; None: the registry has no such schema. Raises RegistryUnavailable."""
        if self.missing(schema_id):
            return None
        try:
            text = self.client.get_schema(schema_id).schema_str
            if text is None:
                self.client.clear_caches()  # type: ignore[no-untyped-call]  # it has remembered that answer
                raise ValueError("the answer holds no schema")
        except Exception as error:
            if not _is_own_404(error):
                raise self._unavailable(f"asked for schema {schema_id}", error) from error
            if len(self._missing) > 10_000:
                self._missing.clear()
            self._missing[schema_id] = self._clock() + FORGET_SECONDS
            return None
        return text

    def register(self, subject: str, text: str) -> int:
        """The id of an Avro schema under `subject`, registered now if it isn't yet. Raises RegistryUnavailable."""
        try:
            schema_id = int(self.client.register_schema(subject, Schema(text, "AVRO")))
        except Exception as error:
            raise self._unavailable(f"registering {subject}", error) from error
        self._missing.pop(schema_id, None)
        return schema_id

    def close(self) -> None:
        """Close its connections. A registry inside this process stays."""
        if not self.url.startswith(_IN_PROCESS):
            self.client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _unavailable(self, doing: str, error: Exception) -> RegistryUnavailable:
        said = str(error) or type(error).__name__
        return RegistryUnavailable(
            f"Schema registry {self.url}, {doing}: {said}. Check that it runs and the address in topology.yaml "
            f"(`registry`); nothing is lost, this is tried again."
        )


def connect(url: str, *, timeout: float = 5.0, retries: int = 1) -> Registry:
    """A registry client for `url`; several addresses may be separated by commas.

    `mock://NAME` is a registry inside this process: every caller with the same address shares it.
    """
    if not url.startswith(_IN_PROCESS):
        conf = {"url": url, "timeout": timeout, "max.retries": retries, "retries.wait.ms": 200}
        return Registry(SchemaRegistryClient.new_client(conf), url)
    if url not in _shared:
        _shared[url] = Registry(SchemaRegistryClient.new_client({"url": url}), url)
    return _shared[url]


def _is_own_404(error: Exception) -> bool:
    return (
        isinstance(error, SchemaRegistryError)
        and error.http_status_code == 404
        and isinstance(error.error_code, int)
        and error.error_code // 100 == 404
    )
