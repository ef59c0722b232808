"""Addresses from the environment: what differs between two deployments of one topology."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pipeline.topology.findings import Finding
from pipeline.topology.grammar import GROUP, KAFKA, PORT, REDIS, REGISTRY
from pipeline.topology.reader import Reader

VARIABLES = {
    "PIPELINE_KAFKA": "kafka",
    "PIPELINE_REDIS": "redis",
    "PIPELINE_REGISTRY": "registry",
    "PIPELINE_GROUP": "group",
    "PIPELINE_HTTP_PORT": "http.port",
}
ENVIRONMENT = "environment"
_TEXTS = {"kafka": KAFKA, "redis": REDIS, "registry": REGISTRY, "group": GROUP}


def override(values: dict[str, Any], env: Mapping[str, str], reader: Reader) -> None:
    """Put what `env` says into `values`; what can't be used becomes a finding. An empty variable counts as unset.

    Later findings about such a value point at the environment, where it can be changed.
    """
    for variable, key in VARIABLES.items():
        given = env.get(variable)
        if not given:
            continue
        if key == "http.port":
            if re.fullmatch("[0-9]{1,5}", given) and PORT.least <= int(given) <= (PORT.most or 0):
                values.setdefault("http", {})["port"] = int(given)
                reader.elsewhere[("http", "port")] = ENVIRONMENT
            else:
                _report(reader, variable, given, "a port (1 to 65535)")
        elif re.fullmatch(_TEXTS[key].pattern or "", given):
            values[key] = given
            reader.elsewhere[(key,)] = ENVIRONMENT
        else:
            _report(reader, variable, given, _TEXTS[key].what)


def _report(reader: Reader, variable: str, given: str, what: str) -> None:
    message = f"{variable} should be {what}, but is {given!r}"
    reader.findings.append(Finding(ENVIRONMENT, 0, 0, "error", "bad-environment", message, "change or unset it"))
