"""`pipeline` on a machine whose clock is wrong: python -m tests.shifted worker ...

SHIFTED_BY: seconds by which it is ahead (negative: behind) from the start. SHIFTED_TO: the same from SIGUSR1 on, when
somebody sets the clock. What measures durations goes on as ever, as it does on such a machine.
"""

from __future__ import annotations

import os
import signal
import time

_time, _time_ns = time.time, time.time_ns
shift = float(os.environ.get("SHIFTED_BY", "0"))


def _jump(signum: int, frame: object) -> None:
    global shift
    shift = float(os.environ["SHIFTED_TO"])


def main() -> None:
    """Before anything of the pipeline is imported: who imports the functions by name gets these."""
    time.time = lambda: _time() + shift
    time.time_ns = lambda: _time_ns() + int(shift * 1e9)
    signal.signal(signal.SIGUSR1, _jump)
    from pipeline.cli import main as pipeline

    pipeline()


if __name__ == "__main__":
    main()
