"""The files that a topology includes: rules, segments, measures and lists, which count as if they stood in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.grammar.reader import Reader
from pipeline.topology.grammar import SECTIONS, part

_PACKAGE = Path(__file__).parents[1]
_SHIPPED = (_PACKAGE / "_data", _PACKAGE.parent)  # in a wheel, in a checkout


def include(values: dict[str, Any], reader: Reader) -> list[str]:
    """Put into `values` what the files hold that it includes; all that is wrong with them is reported to `reader`,
    where it stands. Gives their names.

    A file that isn't beside the topology, but comes with the package, is the package's: whoever copies the shipped
    topology need not copy these.
    """
    files: list[str] = []
    for index, name in enumerate(values.get("include", ())):
        at = ("include", index)
        path = _found(Path(reader.file).parent, name)
        if str(path) in files:
            reader.report(at, "duplicate-value", f"{name} is there twice", "remove one of them")
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            what = f"can't be read: {error.strerror}" if isinstance(error, OSError) else "is not UTF-8"
            hint = "its path begins at the folder of this file"
            reader.report(at, "no-file", f"the file {name} {what}", hint)
            continue
        files.append(str(path))
        inner = Reader(str(path), reader.findings)
        found = inner.read(text, part()) or {}
        for section in SECTIONS:
            _take(section, found.get(section, {}), values, inner, reader)
    return files


def _found(folder: Path, name: str) -> Path:
    path = folder / name
    if path.is_file() or Path(name).is_absolute():
        return path
    return next((shipped / name for shipped in _SHIPPED if (shipped / name).is_file()), path)


def _take(section: str, found: dict[str, Any], values: dict[str, Any], inner: Reader, reader: Reader) -> None:
    for name, value in found.items():
        at = (section, name)
        if reader.has(at):
            message = f"{name} is there twice; the first is {reader.place(at)}"
            inner.report(at, "duplicate-key", message, "rename or remove one of them", key=True)
            continue
        reader.graft(at, inner)
        values.setdefault(section, {})[name] = value
