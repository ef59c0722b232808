"""The schema registry: Confluent's client, and the two answers that must never be confused.

A registry that says "no such schema" (404 with an error code 404xx of its own) has answered: the record is bad. A
registry that doesn't answer, or answers anything else (a proxy's 404, a 500, a 401), has not: the operator must look,
and nothing may be lost meanwhile.

Who writes looks its schemas up; only `pipeline topics` registers (runtime/subjects.py).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Self

from confluent_kafka.schema_registry import Schema, SchemaRegistryClient, SchemaRegistryError

from pipeline.errors import RegistryUnavailable, SchemaMissing, SchemaRefused, shown

FORGET_SECONDS = 10.0
"""How long "no such schema" is believed before the registry is asked again: one of its servers may lag behind."""
REMEMBER_SECONDS = 600.0
"""The same, where it has said so before."""
MISSING_KEPT = 100_000
"""Of so many ids that is remembered."""

LARGEST_ID = (1 << 31) - 1
"""Ids are Java's ints. Asked for a larger one some registries don't say 40403 but that they don't understand."""

_IN_PROCESS = "mock://"
_shared: dict[str, Registry] = {}


class Registry:
    """What the codec needs of a registry. Calls may block for some seconds unless said otherwise. Thread-safe."""

    def __init__(self, client: SchemaRegistryClient, url: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.client = client
        self.url = url
        self.shown = shown(url)
        self._clock = clock
        self._missing: dict[int, float] = {}  # until when it is believed; the oldest first

    def missing(self, schema_id: int) -> bool:
        """Whether the registry said, within the last seconds, that it has no such schema, or no registry could. Never
        blocks.
        """
        return schema_id > LARGEST_ID or self._missing.get(schema_id, 0.0) > self._clock()

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
            again = self._missing.pop(schema_id, None) is not None
            self._missing[schema_id] = self._clock() + (REMEMBER_SECONDS if again else FORGET_SECONDS)
            if len(self._missing) > MISSING_KEPT:
                for oldest in list(self._missing)[: MISSING_KEPT // 10]:
                    self._missing.pop(oldest, None)  # another thread may do the same
            return None
        self._missing.pop(schema_id, None)
        return text

    def id_of(self, subject: str, text: str) -> int:
        """The id that an Avro schema has under `subject`. A registry inside this process learns it now.

        Raises SchemaMissing, RegistryUnavailable.
        """
        if self.url.startswith(_IN_PROCESS):
            return self.register(subject, text)
        schema_id = self.find(subject, text)
        if schema_id is None:
            raise SchemaMissing(
                f"Schema registry {self.shown} doesn't have this version of {subject}: `pipeline topics` registers it."
            )
        return schema_id

    def find(self, subject: str, text: str) -> int | None:
        """The same; None: it isn't there."""
        try:
            found = self.client.lookup_schema(subject, Schema(text, "AVRO")).schema_id
            if found is None:
                raise ValueError("the answer holds no id")
        except Exception as error:
            if not _is_own_404(error):
                raise self._unavailable(f"looking up {subject}", error) from error
            return None
        return found

    def register(self, subject: str, text: str) -> int:
        """The id of an Avro schema under `subject`, registered now if it isn't yet.

        Raises SchemaRefused where it isn't compatible with what is there, RegistryUnavailable.
        """
        try:
            schema_id = int(self.client.register_schema(subject, Schema(text, "AVRO")))
        except Exception as error:
            if isinstance(error, SchemaRegistryError) and error.http_status_code == 409:
                raise SchemaRefused(_words(error.error_message)) from error
            raise self._unavailable(f"registering {subject}", error) from error
        self._missing.pop(schema_id, None)
        return schema_id

    def has(self, subject: str) -> bool:
        """Whether there is any version of it. Raises RegistryUnavailable.

        Asked one by one: a list of all subjects may be cut (Apicurio's ends at 1,000, and says nothing).
        """
        try:
            return bool(self.client.get_versions(subject))
        except Exception as error:
            if not _is_own_404(error):
                raise self._unavailable(f"asked for the versions of {subject}", error) from error
            return False

    def compatibility(self, subject: str) -> str | None:
        """The level set for this subject itself, `FULL_TRANSITIVE` say; None: the registry's own holds.

        Raises RegistryUnavailable.
        """
        try:
            return str(self.client.get_compatibility(subject))
        except Exception as error:
            if not _is_own_404(error):
                raise self._unavailable(f"asked for the compatibility of {subject}", error) from error
            return None

    def set_compatibility(self, subject: str, level: str) -> None:
        """Raises RegistryUnavailable."""
        try:
            self.client.set_compatibility(subject, level)
        except Exception as error:
            raise self._unavailable(f"setting the compatibility of {subject}", error) from error

    def alive(self) -> None:
        """Raises RegistryUnavailable where it doesn't answer, or wants another password. Blocks."""
        try:
            self.client.get_config()
        except SchemaRegistryError as error:
            if error.http_status_code in (401, 403, 407) or error.http_status_code >= 500:
                raise self._unavailable("asked for its settings", error) from error
        except Exception as error:
            raise self._unavailable("asked for its settings", error) from error

    def close(self) -> None:
        """Close its connections. A registry inside this process stays."""
        if not self.url.startswith(_IN_PROCESS):
            self.client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _unavailable(self, doing: str, error: Exception) -> RegistryUnavailable:
        said = (str(error).rstrip(".") or type(error).__name__).replace(self.url, self.shown)
        return RegistryUnavailable(
            f"Schema registry {self.shown}, {doing}: {said}. Check that it runs, and the address: `registry` in"
            f" topology.yaml, or PIPELINE_REGISTRY."
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


def _words(message: str) -> str:
    """What a registry says is wrong with a schema, without the name of the exception that said so."""
    return re.sub(r"^(?:\w+\.)+\w*(?:Exception|Error): ", "", message.strip())
