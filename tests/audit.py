"""What is known against the packages that we pin: advisories, and releases that their makers took back.

    python -m tests.audit

The index is asked (PyPI's JSON API, https://docs.pypi.org/api/json/) for each pinned version. An index that keeps no
pages of single versions tells advisories of the newest release alone; what is pinned lower is named then as not known.
Exit code 1 where something is known against what runs (requirements.lock) and isn't among `ACCEPTED`. What only tests
use is told and ends nothing, nor does an index that doesn't answer.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

ROOT = Path(__file__).parent.parent
RUNS = "requirements.lock"
LOCKS = (RUNS, "requirements-dev.lock", "tests/clients/requirements.lock")
PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^ \\;]+)", re.MULTILINE)
INDEX = "https://pypi.org/pypi"
ANSWER_S = 20.0
AT_ONCE = 8
ACCEPTED: dict[str, str] = {}  # id of an advisory -> why it doesn't concern us

Page = dict[str, Any] | None
Ask = Callable[[str], Page]


class Pin(NamedTuple):
    """One version of one package. `lock`: the first of `LOCKS` that names it."""

    name: str
    version: str
    lock: str


class Finding(NamedTuple):
    """What is known of a pin. `known` False: its advisories are not."""

    pin: Pin
    known: bool
    against: list[str]


def pins(root: Path = ROOT) -> list[Pin]:
    """All that is pinned, each version once."""
    found: dict[tuple[str, str], Pin] = {}
    for lock in LOCKS:
        for name, version in PIN.findall((root / lock).read_text("utf-8")):
            found.setdefault((name.lower(), version), Pin(name, version, lock))
    return list(found.values())


def ask(path: str) -> Page:
    """A page of the index; None: it has none. Raises URLError, TimeoutError where it doesn't answer."""
    try:
        with urlopen(f"{INDEX}/{path}/json", timeout=ANSWER_S) as answer:
            page: dict[str, Any] = json.load(answer)
            return page
    except HTTPError as error:
        if error.code == 404:
            return None
        raise


def look(pin: Pin, ask: Ask) -> Finding:
    """What the index knows of one."""
    try:
        page = ask(f"{pin.name}/{pin.version}")
        if page is not None:
            return Finding(pin, True, [*_advisories(page), *_taken_back(page["urls"])])
        page = ask(pin.name)
    except (URLError, TimeoutError, ValueError):
        return Finding(pin, False, [])
    if page is None:
        return Finding(pin, False, [])
    newest = page["info"]["version"] == pin.version
    against = [*(_advisories(page) if newest else ()), *_taken_back(page["releases"].get(pin.version, []))]
    return Finding(pin, newest, against)


def _advisories(page: dict[str, Any]) -> Iterator[str]:
    for each in page.get("vulnerabilities", []):
        names = {each["id"], *each.get("aliases", [])}
        if not each.get("withdrawn") and not names & ACCEPTED.keys():
            mended = ", ".join(each.get("fixed_in", [])) or "no release"
            yield f"{each['id']}: {each.get('summary') or each.get('details', '')[:200]} (mended in {mended})"


def _taken_back(files: list[dict[str, Any]]) -> Iterator[str]:
    if files and all(each["yanked"] for each in files):
        yield f"taken back by its makers: {files[0].get('yanked_reason') or 'no reason given'}"


def told(findings: list[Finding]) -> tuple[list[str], int]:
    """Lines for people, and the exit code."""
    lines, code = [], 0
    for pin, _, against in findings:
        for what in against:
            lines.append(f"{pin.lock}: {pin.name} {pin.version}: {what}")
            code = 1 if pin.lock == RUNS else code
    unknown = [f"{each.pin.name} {each.pin.version}" for each in findings if not each.known]
    lines.append(f"{len(findings) - len(unknown)} of {len(findings)} pinned packages: advisories are known")
    if unknown:
        lines.append(f"not known, as the index has no page of that version: {', '.join(unknown)}")
    return lines, code


def main() -> int:
    """See above."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        findings = list(pool.map(lambda pin: look(pin, ask), pins()))
    lines, code = told(findings)
    print("\n".join(lines))
    return code


if __name__ == "__main__":
    sys.exit(main())
