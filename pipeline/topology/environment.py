"""Addresses from the environment: what differs between two deployments of one topology."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pipeline.grammar.findings import Finding
from pipeline.grammar.reader import Reader
from pipeline.topology.addresses import shown
from pipeline.topology.grammar import GROUP, HOST, KAFKA, PORT, REDIS, REGISTRY

VARIABLES = {
    "PIPELINE_KAFKA": "kafka",
    "PIPELINE_REDIS": "redis",
    "PIPELINE_REGISTRY": "registry",
    "PIPELINE_GROUP": "group",
    "PIPELINE_HTTP_HOST": "http.host",
    "PIPELINE_HTTP_PORT": "http.port",
}
ENVIRONMENT = "environment"
WRITE_KEY = "PIPELINE_WRITE_KEY_"
_TEXTS = {"kafka": KAFKA, "redis": REDIS, "registry": REGISTRY, "group": GROUP, "http.host": HOST}


def override(values: dict[str, Any], env: Mapping[str, str], reader: Reader) -> None:
    """Put what `env` says into `values`; what can't be used becomes a finding. An empty variable counts as unset.

    Later findings about such a value point at the environment, where it can be changed.
    """
    for variable, key in VARIABLES.items():
        given = env.get(variable)
        if not given:
            continue
        value: str | int = given
        if key == "http.port":
            usable = re.fullmatch("[0-9]{1,5}", given) and PORT.least <= int(given) <= (PORT.most or 0)
            if not usable:
                _report(reader, variable, given, "a port (1 to 65535)")
                continue
            value = int(given)
        elif not re.fullmatch(_TEXTS[key].pattern or "", given):
            _report(reader, variable, given, _TEXTS[key].what)
            continue
        *within, name = key.split(".")
        place = values.setdefault(within[0], {}) if within else values
        place[name] = value
        reader.elsewhere[(*within, name)] = ENVIRONMENT


def write_keys(values: dict[str, Any], env: Mapping[str, str], reader: Reader) -> None:
    """The same of the keys of those who may send events: PIPELINE_WRITE_KEY_<NAME>."""
    for name, value in values.get("edge", {}).get("keys", {}).items():
        if given := env.get(f"{WRITE_KEY}{name.upper()}"):
            value["key"] = given
            reader.elsewhere["edge", "keys", name, "key"] = ENVIRONMENT


def _report(reader: Reader, variable: str, given: str, what: str) -> None:
    message = f"{variable} should be {what}, but is {shown(given)!r}"
    reader.findings.append(Finding(ENVIRONMENT, 0, 0, "error", "bad-environment", message, "change or unset it"))
