"""What clients ask beside sending events: answered so that they go on with what they can do here, and ask no more."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import msgspec

from pipeline.edge.families import CALM_POSTS

KEY = r"[A-Za-z0-9._\-]{1,200}"
_SETTINGS = re.compile(rf"/v1/projects/({KEY})/settings")
_REMOTE_CONFIG = re.compile(rf"/array/({KEY})/config(\.js)?")
CALM_GETS = ("/v1/projects/{key}/settings", "/array/{key}/config", "/array/{key}/config.js")
_FLAGS = {
    "config": {"enable_collect_everything": False},
    "flags": {},
    "featureFlags": {},
    "featureFlagPayloads": {},
    "errorsWhileComputingFlags": False,
    "toolbarParams": {},
    "isAuthenticated": False,
    "supportedCompression": ["gzip", "gzip-js"],
    "sessionRecording": False,
    "autocapture_opt_out": True,
    "capturePerformance": False,
    "captureDeadClicks": False,
    "heatmaps": False,
    "surveys": False,
    "siteApps": [],
}
_json = msgspec.json.Encoder().encode
Answer = tuple[str, str]
"""Content type and text."""


def calm_get(path: str, base: str) -> Answer | None:
    """`base`: the address by which the client reached us. None: nothing of theirs."""
    if (found := _SETTINGS.fullmatch(path)) is not None:
        return "application/json", _text(_settings(found[1], base))
    if (found := _REMOTE_CONFIG.fullmatch(path)) is not None:
        config = _text({"token": found[1], "hasFeatureFlags": False, **_FLAGS})
        if found[2]:
            name = f'window._POSTHOG_REMOTE_CONFIG["{found[1]}"]'
            return "application/javascript", (
                "window._POSTHOG_REMOTE_CONFIG=window._POSTHOG_REMOTE_CONFIG||{};"
                f"{name}={{config:{config},siteApps:[]}};"
            )
        return "application/json", config
    return calm_post(path)


def calm_post(path: str) -> Answer | None:
    """None: nothing of theirs."""
    if path in ("/decide", "/flags"):
        return "application/json", _text(_FLAGS)
    if path in CALM_POSTS:
        return "application/json", '{"success":true,"status":1}'
    return None


def _settings(key: str, base: str) -> dict[str, object]:
    """As Segment's CDN tells analytics-next: where events go, and that there is nothing else to load."""
    address = urlsplit(base)
    return {
        "integrations": {
            "Segment.io": {
                "apiKey": key,
                "apiHost": f"{address.netloc}/v1",
                "protocol": address.scheme,
                "unbundledIntegrations": [],
                "addBundledMetadata": True,
                "maybeBundledConfigIds": {},
                "versionSettings": {"version": "4.4.7", "componentTypes": ["browser"]},
            }
        },
        "plan": {"track": {"__default": {"enabled": True, "integrations": {}}}},
        "edgeFunction": {},
        "analyticsNextEnabled": True,
        "middlewareSettings": {},
        "enabledMiddleware": {},
        "metrics": {"sampleRate": 0},
        "legacyVideoPluginsEnabled": False,
        "remotePlugins": [],
    }


def _text(told: object) -> str:
    return _json(told).decode()
