"""Records answered for when this machine's disk has them: they go on to Kafka, in order, whenever it takes them.

One SQLite file a process of the collector, written ahead and synced at each commit; what waits while the disk syncs is
committed together. SQLite keeps a file whole through crashes and bounds it, not what a disk does to it later: each
record carries a checksum of its own.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec
from xxhash import xxh3_64_intdigest

from pipeline.edge.delivery import Goes
from pipeline.errors import InvalidEvent, PipelineError, RecordTooLarge, SendFailed
from pipeline.runtime import dead_letters
from pipeline.runtime.ports import Out

log = logging.getLogger(__name__)

PAGE_BYTES = 4_096
READ_BYTES = 1_000_000  # that go to Kafka at once
IN_HAND_BYTES = 64 * 1024 * 1024  # of a process, that wait for the disk
LETTER_BYTES = 10_000  # of a record that no topic takes
AGAIN_S = 1.0  # after Kafka or the disk refused
FULL_S = 5.0  # after the disk refused
LAST_S = 5.0  # for what can still go to Kafka when the collector ends

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[str, bytes | None, bytes | None, list[tuple[str, bytes | None]]]).decode


class Kept(NamedTuple):
    """One record in the file. `damaged`: its bytes, where they are no longer what was written."""

    number: int
    record: Out | None
    damaged: bytes = b""


class File:
    """The file itself. Belongs to one thread at a time.

    Opening it raises PipelineError: it can't be had, or another process has it. All else raises sqlite3.Error: the disk
    is full, the file has reached `most` bytes (sqlite3.OperationalError), or it is damaged (sqlite3.DatabaseError).
    """

    def __init__(self, path: Path, most: int) -> None:
        self.path = path
        self._begun = 0  # records up to this number are no longer to be read
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._open(most)
        except sqlite3.OperationalError as error:
            raise PipelineError(
                f"{path}: {error}. `edge: spool` says where it lies; no two collectors share it"
            ) from error
        except sqlite3.DatabaseError as error:
            self._db.close()
            aside = path.with_suffix(f".damaged-{os.getpid()}")
            for more in ("", "-wal", "-shm"):  # what was written ahead would be taken for the new file's
                with suppress(FileNotFoundError):
                    Path(f"{path}{more}").rename(f"{aside}{more}")
            log.error("%s: %s; it lies at %s now (`sqlite3 FILE .recover` reads what can be)", path, error, aside)
            self._open(most)
        except OSError as error:
            raise PipelineError(f"{path.parent}: {error.strerror}. `edge: spool: directory` names it") from error

    def _open(self, most: int) -> None:
        self._db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=1.0)
        for setting in (
            f"page_size={PAGE_BYTES}",
            "locking_mode=EXCLUSIVE",
            "journal_mode=WAL",
            "synchronous=FULL",
            f"journal_size_limit={4 * READ_BYTES}",
            f"max_page_count={max(most // PAGE_BYTES, 16)}",
        ):
            self._db.execute(f"PRAGMA {setting}")
        told = self._db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if told != "ok":
            raise sqlite3.DatabaseError(told)
        self._db.text_factory = bytes  # what is damaged may claim to be text
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS records (number INTEGER PRIMARY KEY AUTOINCREMENT, checksum, record)"
        )

    def append(self, records: Sequence[Out]) -> None:
        """All of them are on the disk, or none."""
        rows = []
        for each in records:
            raw = _encode((each.topic, each.key, each.value, list(each.headers)))
            rows.append((_checksum(raw), raw))
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.executemany("INSERT INTO records (checksum, record) VALUES (?, ?)", rows)
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def first(self) -> list[Kept]:
        """Those that wait longest."""
        found: list[Kept] = []
        size = 0
        query = "SELECT number, checksum, record FROM records WHERE number > ? ORDER BY number"
        for number, checksum, raw in self._db.execute(query, (self._begun,)):
            found.append(_kept(number, checksum, raw))
            size += len(raw) if isinstance(raw, bytes) else 0
            if size > READ_BYTES:
                break
        return found

    def forget(self, number: int) -> None:
        """Kafka has those up to that one."""
        self._begun = number
        self._db.execute("DELETE FROM records WHERE number <= ?", (number,))

    def waiting(self) -> int:
        """So many records."""
        query = "SELECT count(*) FROM records WHERE number > ?"
        return int(self._db.execute(query, (self._begun,)).fetchone()[0])

    def close(self) -> None:
        self._db.close()

    def remove(self) -> None:
        """It is closed, and there no longer."""
        self.close()
        self.path.unlink(missing_ok=True)


def _checksum(raw: bytes) -> int:
    return xxh3_64_intdigest(raw) - (1 << 63)  # SQLite's integers have a sign


def _kept(number: int, checksum: object, raw: object) -> Kept:
    if isinstance(raw, bytes) and checksum == _checksum(raw):
        with suppress(msgspec.MsgspecError):  # of another version
            topic, key, value, headers = _decode(raw)
            return Kept(number, Out(topic, None, key, value, headers))
    return Kept(number, None, raw if isinstance(raw, bytes) else repr(raw).encode("utf-8", "replace"))


class Spool:
    """A `Goes` over a file, and what brings its records to Kafka. Belongs to one event loop.

    `left`: files of processes that there are no longer; they are emptied and removed. `broken`: the file is damaged; it
    is set aside when it is opened next. `waiting`: so many records are not in Kafka yet.
    """

    def __init__(self, file: File, goes: Goes, dead_letters_topic: str, left: Sequence[File] = ()) -> None:
        self.broken = False
        self._refused_at = -FULL_S
        self.waiting = file.waiting() + sum(each.waiting() for each in left)
        self._file = file
        self._left = list(left)
        self._goes = goes
        self._dead_letters = dead_letters_topic
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="spool")
        self._asked: list[tuple[Sequence[Out], asyncio.Future[None]]] = []
        self._in_hand = 0
        self._writing: asyncio.Task[None] | None = None
        self._news, self._empty = asyncio.Event(), asyncio.Event()
        self._draining = asyncio.create_task(self._drain())

    @property
    def full(self) -> bool:
        """Whether the disk has just taken nothing. That lapses: whoever isn't ready is asked nothing more, and would
        never learn that there is room again.
        """
        return asyncio.get_running_loop().time() - self._refused_at < FULL_S

    async def send(self, records: Sequence[Out]) -> None:
        """Returns when the disk has them all. Raises SendFailed: it hasn't, or not all of them."""
        if not records:
            return
        size = sum(len(each.value or b"") + 200 for each in records)
        if self._in_hand + size > IN_HAND_BYTES:
            raise SendFailed("too much waits for the disk already")
        done = asyncio.get_running_loop().create_future()
        self._asked.append((records, done))
        self._in_hand += size
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())
        try:
            await done
        finally:
            self._in_hand -= size

    async def _write(self) -> None:
        """All that has come while the disk wrote what came before is written together."""
        loop = asyncio.get_running_loop()
        while self._asked:
            asked, self._asked = self._asked, []
            records = [record for each, _ in asked for record in each]
            problem: SendFailed | None = None
            try:
                await loop.run_in_executor(self._disk, self._file.append, records)
            except Exception as error:  # whatever it is, nobody may wait for ever
                problem = SendFailed(f"{self._file.path}: {error}")
                if not self.full:
                    log.error("%s; events are refused until it takes them again", problem)
                self.broken |= _is_damage(error)
            else:
                self.waiting += len(records)
                self._empty.clear()
                self._news.set()
            self._refused_at = -FULL_S if problem is None else loop.time()
            for _, done in asked:
                if done.done():
                    continue
                if problem is None:
                    done.set_result(None)
                else:
                    done.set_exception(SendFailed(str(problem)))
        self._writing = None

    async def _drain(self) -> None:
        """Until it is cancelled: what is there goes to Kafka."""
        said = ""
        while True:
            try:
                await self._drain_left()
                while await self._some(self._file):
                    said = ""
                self._news.clear()
                if self.waiting == 0:
                    self._empty.set()
                await self._news.wait()
            except Exception as error:  # whatever it is, the rest must not wait for ever
                if repr(error) != said:
                    log.warning("%d records wait on the disk: %r", self.waiting, error)
                said = repr(error)
                self.broken |= _is_damage(error)
                await asyncio.sleep(AGAIN_S)

    async def _drain_left(self) -> None:
        while self._left:
            while await self._some(self._left[0]):
                pass
            file = self._left.pop(0)
            await asyncio.get_running_loop().run_in_executor(self._disk, file.remove)

    async def _some(self, file: File) -> bool:
        """Some records that wait longest go to Kafka. False: there are none."""
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._disk, file.first)
        if not found:
            return False
        records = [each.record or self._damaged(file, each) for each in found]
        try:
            await self._goes.send(records)
        except RecordTooLarge:
            for each in records:
                await self._alone(each)
        self.waiting -= len(found)
        await loop.run_in_executor(self._disk, file.forget, found[-1].number)
        return True

    async def _alone(self, record: Out) -> None:
        """One that its topic refuses for its size must not hold up the others."""
        try:
            await self._goes.send([record])
        except RecordTooLarge as refused:
            error = InvalidEvent("too_large", f"{record.topic} doesn't take a record of that size: {refused}")
            headers = dead_letters.made("edge", error, __name__, {"topic": record.topic})
            await self._goes.send([Out(self._dead_letters, None, None, (record.value or b"")[:LETTER_BYTES], headers)])

    def _damaged(self, file: File, kept: Kept) -> Out:
        """What the disk has spoilt, as a dead letter."""
        error = InvalidEvent("damaged", f"record {kept.number} of {file.path} isn't what was written")
        log.error("%s", error)
        headers = dead_letters.made("edge", error, __name__, {"file": file.path, "number": kept.number})
        return Out(self._dead_letters, None, None, kept.damaged, headers)

    async def close(self) -> None:
        """What Kafka takes at once goes there; the rest lies safe until the next start."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._empty.wait(), LAST_S)
        self._draining.cancel()
        await asyncio.gather(self._draining, return_exceptions=True)
        self._disk.shutdown()
        for each in (self._file, *self._left):
            each.close()


def _is_damage(error: Exception) -> bool:
    """Of the file; not that it is full, or the disk."""
    return isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError)


def usable(directory: Path) -> None:
    """Raises PipelineError where nothing can be written."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        hint = "`edge: spool: directory` names it"
        raise PipelineError(f"{directory}: nothing can be written there ({error.strerror}); {hint}") from error


def files(directory: Path, number: int, processes: int, most: int) -> tuple[File, list[File]]:
    """The file of one process and, for the first, those of processes that there are no longer. Raises PipelineError."""
    own = File(_path(directory, number), most)
    if number:
        return own, []
    taken = {_path(directory, each) for each in range(processes)}
    return own, [File(path, most) for path in sorted(directory.glob("edge-*.sqlite")) if path not in taken]


def _path(directory: Path, number: int) -> Path:
    return directory / f"edge-{number}.sqlite"
