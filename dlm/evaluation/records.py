"""The record store: what was asked and what came back, one JSON line a request, appended to as answers come.

A line is one of

* ``{"kind": "asked", "id": digest, "content": …}``: what the requests of one task and setting have in common
  (checkpoint, task and its version, sampler or likelihood settings, response prefix, seed);
* ``{"kind": "execution", "id": digest, "content": …}``: how requests were run (dtype, device, batch size, threads,
  versions);
* ``{"kind": "generate" | "likelihood", "what": …, "how": …, "asked": …, …}``: a request with its outcome. ``how`` and
  ``asked`` name lines above it; ``what``, the fingerprint of ``asked``, prompt, continuation, repeat and stop texts
  (``until``), is checked.
"""

from __future__ import annotations

import fcntl
import functools
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from dlm.errors import DataError, SetupError
from dlm.evaluation.request import fingerprint
from dlm.files import atomic_open, digest, is_no_room, no_room

RECORDS = "records.jsonl"
_HEADERS = ("asked", "execution")
_RECORDS = ("generate", "likelihood")


class RecordStore:
    """Records of one bundle of a checkpoint's cells, found by their *what* fingerprint.

    Args:
        path: the JSON-lines file.
        writable: make the file if it is not there, hold a lock on it, and drop a half-written last line.
        growing: another process may be appending, so half a line at the end is not there yet.
        siblings: folders of the checkpoint's other bundles, from whose records `adopt` may copy.

    Raises:
        DataError: the file is missing (when only read) or a line of it is damaged; the message names path and line.
        SetupError: another process writes to it.
    """

    def __init__(
        self, path: str | Path, *, writable: bool = False, growing: bool = False, siblings: Sequence[Path] = ()
    ) -> None:
        self.path, self.writable, self.growing, self.siblings = Path(path), writable, growing, siblings
        self._places: dict[str, tuple[int, int]] = {}
        self._headers: dict[str, dict[str, Any]] = {}
        self._stream = self._open()
        try:
            self._end = self._read()
        except BaseException:
            self._stream.close()
            raise

    def _open(self) -> Any:
        if not self.writable:
            try:
                return self.path.open("rb")
            except FileNotFoundError as error:
                raise DataError(f"{self.path}: no such file; run `dlm sample` first") from error
        self.path.parent.mkdir(parents=True, exist_ok=True)
        stream = os.fdopen(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644), "r+b")
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            stream.close()
            raise SetupError(f"{self.path}: another process is writing to it; wait for it or end it") from error
        except OSError:  # a file system without such locks
            pass
        return stream

    def _read(self) -> int:
        """Index every line; return the end of the last whole one."""
        end = 0
        for number, line in enumerate(self._stream, start=1):
            if not line.endswith(b"\n"):
                self._half(number, end)
                break
            self._take(number, end, line)
            end += len(line)
        return end

    def _half(self, number: int, end: int) -> None:
        """Deal with a last line that is half-written: by a killed process, or by one at work."""
        if self.writable:
            self._stream.truncate(end)
        elif not self.growing:
            raise DataError(f"{self.path}:{number}: half a line, left by a killed process; run `dlm sample` again")

    def _take(self, number: int, begin: int, line: bytes) -> None:
        try:
            row = json.loads(line)
            if row["kind"] in _HEADERS:
                self._take_header(row)
            elif row["kind"] in _RECORDS:
                self._take_record(row, begin, len(line))
            else:
                raise ValueError(f"unknown kind '{row['kind']}'")
        except (ValueError, TypeError, KeyError) as error:
            fault = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise DataError(
                f"{self.path}:{number}: damaged record ({fault}); delete the line and run `dlm sample` again"
            ) from error

    def _take_header(self, row: Mapping[str, Any]) -> None:
        if digest(row["content"]) != row["id"]:
            raise ValueError("the content is not what its id says")
        self._headers[row["id"]] = row["content"]

    def _take_record(self, row: Mapping[str, Any], begin: int, length: int) -> None:
        if row["asked"] not in self._headers or row["how"] not in self._headers:
            raise ValueError("the line that says what was asked, or how it was run, is not above it")
        if _fingerprint(row) != row["what"]:
            raise ValueError("the record does not fit its fingerprint")
        self._places.setdefault(row["what"], (begin, length))

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, what: str) -> bool:
        return what in self._places

    def get(self, what: str) -> dict[str, Any] | None:
        """Return the record of a request, or None."""
        return self._record(what) if what in self._places else None

    def _record(self, what: str) -> dict[str, Any]:
        begin, length = self._places[what]
        self._stream.seek(begin)
        record: dict[str, Any] = json.loads(self._stream.read(length))
        return record

    def content(self, identity: str) -> dict[str, Any]:
        """Return the content that an ``asked`` or ``how`` digest stands for."""
        return self._headers[identity]

    def declare(self, kind: str, content: Mapping[str, Any]) -> str:
        """Write an `asked` or `execution` line unless it is there; return its digest, which records then name."""
        identity = digest(content)
        if identity not in self._headers:
            self._write([{"kind": kind, "id": identity, "content": content}])
            self._headers[identity] = dict(content)
        return identity

    @functools.cached_property
    def _opened(self) -> list[RecordStore]:
        """The siblings, read when something is missing here."""
        return [RecordStore(folder / RECORDS, growing=True) for folder in self.siblings]

    def adopt(self, whats: Iterable[str]) -> None:
        """Copy those of the records that a sibling has, so that what this file lists stands on its own."""
        wanted = list(whats)
        for sibling in self._opened if wanted else ():
            records = [sibling._record(what) for what in wanted if what in sibling and what not in self]
            for record in records:
                self.declare("asked", sibling.content(record["asked"]))
                self.declare("execution", sibling.content(record["how"]))
            self.append(records)

    def append(self, records: Iterable[Mapping[str, Any]]) -> int:
        """Write the records that are not there yet, wholly on the disk when this returns; return their number."""
        new: dict[str, Mapping[str, Any]] = {}
        for record in records:
            if record["what"] not in self._places:
                new.setdefault(record["what"], record)
        for what, place in zip(new, self._write(list(new.values())), strict=True):
            self._places[what] = place
        return len(new)

    def settle(self, whats: Iterable[str]) -> None:
        """Put the records into an order that tells nothing of how they came: these, then what else is there.

        Each header stands before the first record that names it. So a run in one go, one that was interrupted and one
        whose documents were sampled in several processes leave the same lines.
        """
        lines: list[bytes] = []
        named: set[str] = set()
        for what in dict.fromkeys([*whats, *self._places]):
            record = self._record(what)
            for kind, identity in (("execution", record["how"]), ("asked", record["asked"])):
                if identity not in named:
                    named.add(identity)
                    lines.append(_line({"kind": kind, "id": identity, "content": self._headers[identity]}))
            lines.append(_line(record))
        self._stream.seek(0)
        if self._stream.read() == (settled := b"".join(lines)):
            return
        with atomic_open(self.path) as stream:
            stream.write(settled)
        self._stream.close()
        self._places, self._headers = {}, {}
        self._stream = self._open()
        self._end = self._read()

    def _write(self, rows: list[Mapping[str, Any]]) -> list[tuple[int, int]]:
        """Append lines; return where each begins and how long it is."""
        lines = [_line(row) for row in rows]
        places, begin = [], self._end
        for line in lines:
            places.append((begin, len(line)))
            begin += len(line)
        try:
            _write_at(self._stream.fileno(), self._end, b"".join(lines))
        except OSError as error:
            self._stream.truncate(self._end)
            if is_no_room(error):
                raise no_room(self.path, error) from error
            raise
        self._end = begin
        return places

    def close(self) -> None:
        """Close the file and give up the lock."""
        self._stream.close()
        for sibling in self.__dict__.get("_opened", ()):  # where any were read
            sibling.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _line(row: Mapping[str, Any]) -> bytes:
    return (json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _fingerprint(row: Mapping[str, Any]) -> str:
    return fingerprint(row["asked"], row["prompt"], row.get("continuation"), row["repeat"], row.get("until", ()))


def _write_at(file: int, at: int, data: bytes) -> None:
    """Write ``data`` onto the disk. Not through the buffer that reads: it would try again what a full disk refused."""
    rest = memoryview(data)
    while rest:
        done = os.pwrite(file, rest, at)
        rest, at = rest[done:], at + done
    os.fsync(file)
