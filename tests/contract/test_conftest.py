"""What tests/conftest.py promises of every run: a skip is a failure, a warning too, and an unexpected pass."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

CASES = {
    "skip": "def test_it():\n    pytest.skip('later')\n",
    "skip mark": "@pytest.mark.skip(reason='later')\ndef test_it():\n    pass\n",
    "skipped module": "pytest.importorskip('no_such_module')\n",
    "warning": "import warnings\ndef test_it():\n    warnings.warn('old')\n",
    "xpass": "@pytest.mark.xfail\ndef test_it():\n    pass\n",
    "unknown mark": "@pytest.mark.typo\ndef test_it():\n    pass\n",
}


def run(path: Path, text: str, strict: bool) -> int:
    (path / "test_it.py").write_text(f"import pytest\n{text}")
    options = ["-q", "-c", str(ROOT / "pyproject.toml"), "-p", "tests.conftest", "-p", "no:cacheprovider"]
    env = {key: value for key, value in os.environ.items() if key not in ("CI", "PIPELINE_TESTS_STRICT")}
    env |= {"PIPELINE_TESTS_STRICT": "1"} if strict else {}
    command = [sys.executable, "-m", "pytest", *options, str(path)]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True).returncode


@pytest.mark.parametrize("case", CASES)
def test_it_fails(case: str, tmp_path: Path) -> None:
    assert run(tmp_path, CASES[case], strict=True) in (pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED)


def test_a_plain_test_passes_and_by_hand_a_skip_does_no_harm(tmp_path: Path) -> None:
    assert run(tmp_path, "def test_it():\n    pass\n", strict=True) == pytest.ExitCode.OK
    assert run(tmp_path, CASES["skip"], strict=False) == pytest.ExitCode.OK
