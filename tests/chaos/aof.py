"""Redis loses its last writes: what a power cut under `appendfsync everysec`, or a fail-over, leaves behind."""

from __future__ import annotations

from pathlib import Path

from tests.servers import RedisServer


def fall_back(server: RedisServer, writes: int) -> int:
    """Kill the server, cut the last `writes` transactions off its append-only file, start it; returns how many went.

    A transaction is one script call: it is cut as a whole, as Redis itself loads it.
    """
    server.kill()
    try:
        log = _log(server)
        content = log.read_bytes()
        starts = transactions(content)
        gone = min(writes, len(starts))
        if gone:
            log.write_bytes(content[: starts[-gone]])
        return gone
    finally:
        server.start()


def written(server: RedisServer) -> int:
    """Transactions in its append-only file by now, as far as they are on disk."""
    try:
        return len(transactions(_log(server).read_bytes()))
    except ValueError:  # the last one is being written
        return 0


def _log(server: RedisServer) -> Path:
    folder = server.dir / "data" / "appendonlydir"
    return max(folder.glob("*.incr.aof"), key=lambda path: int(path.name.split(".")[-3]))


def transactions(content: bytes) -> list[int]:
    """Where each transaction, or command outside of one, begins in an append-only file; SELECT is part of the next."""
    starts: list[int] = []
    at, inside, begun = 0, False, -1
    while at < len(content):
        name, end = _command(content, at)
        if begun < 0:
            begun = at
        if name == b"MULTI":
            inside = True
        elif name == b"EXEC":
            inside = False
        if not inside and name != b"SELECT":
            starts.append(begun)
            begun = -1
        at = end
    return starts


def _command(content: bytes, at: int) -> tuple[bytes, int]:
    """(its name, where it ends)."""
    end = content.index(b"\r\n", at)
    if content[at : at + 1] == b"#":  # an annotation
        return b"SELECT", end + 2
    count = int(content[at + 1 : end])
    at, first = end + 2, b""
    for n in range(count):
        end = content.index(b"\r\n", at)
        length = int(content[at + 1 : end])
        if n == 0:
            first = content[end + 2 : end + 2 + length].upper()
        at = end + 2 + length + 2
    return first, at
