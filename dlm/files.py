"""Files that are whole or absent, and manifests that say what a folder holds and what made it.

A manifest is ``manifest.json`` beside the files it lists. Rules of the workflow depend on manifests; whoever reads the
files behind one checks them first, so a truncated or altered file is named instead of being used.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from dlm.errors import CheckpointError, DataError, DlmError, SettingsError, SetupError

MANIFEST = "manifest.json"
MANIFEST_FORMAT = "dlm-manifest/1"
SCORES_FORMAT = "dlm-scores/1"


def is_no_room(error: OSError) -> bool:
    """Return whether a write failed for want of room: a full disk, a quota, a limit on the size of files."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def no_room(path: Path, error: OSError) -> SetupError:
    """Return what to tell a person whose disk is full."""
    return SetupError(f"{path}: {str(error.strerror).lower()}; make room and run the same command again")


_UMASK = os.umask(0o022)
os.umask(_UMASK)  # which cannot be asked for otherwise; while this module is imported, nobody else writes files


def give_usual_rights(path: Path) -> None:
    """Let those read and write a file who may by the process's umask: libraries leave some to their owner alone."""
    os.chmod(path, (path.stat().st_mode | 0o666) & ~_UMASK)


@contextlib.contextmanager
def atomic_open(path: str | Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside ``path`` for writing bytes; rename it to ``path`` on success, remove it on failure.

    Raises:
        SetupError: the disk is full; ``path`` is then as it was before.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        give_usual_rights(Path(temporary))
        os.replace(temporary, path)
        sync_directory(path.parent)
    except OSError as error:
        if is_no_room(error):
            raise no_room(path, error) from error
        raise
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def remove_unfinished(folder: Path) -> None:
    """Remove what killed writers of files left in a folder, from where nobody else can be writing there."""
    for path in folder.glob(".*.part"):
        if path.is_file():
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing_folder(folder: str | Path) -> Iterator[Path]:
    """Yield an empty folder beside ``folder`` to fill; put it in its place on success, remove it on failure.

    A kill leaves ``folder`` as it was or absent, never in part; what else it leaves is removed by the next call. When
    this returns, the folder is on the disk: what it was made from may be deleted.

    Raises:
        SetupError: the disk is full.
    """
    folder = Path(folder)
    part, old = (folder.with_name(f".{folder.name}.{role}") for role in ("part", "old"))
    for left in (part, old):
        shutil.rmtree(left, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
        _put_in_place(part, folder, old)
    finally:
        for left in (part, old):
            shutil.rmtree(left, ignore_errors=True)


def _put_in_place(part: Path, folder: Path, old: Path) -> None:
    """Bring ``part`` onto the disk and rename it to ``folder``, what stood there to ``old``."""
    for path in part.rglob("*"):
        if path.is_file() and not path.is_symlink() and path.stat().st_nlink == 1:  # a link's file is a cache's too
            give_usual_rights(path)
    try:
        sync_folder(part)
    except OSError as error:  # some file systems tell of a full disk only now
        if is_no_room(error):
            raise no_room(folder, error) from error
        raise
    if folder.exists():
        folder.rename(old)
    part.rename(folder)
    sync_directory(folder.parent)


def write_text(path: str | Path, text: str) -> None:
    """Write ``text`` to ``path`` in UTF-8, atomically."""
    with atomic_open(path) as stream:
        stream.write(text.encode())


def write_json(path: str | Path, value: Any) -> None:
    """Write ``value`` to ``path`` as indented JSON, atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_jsonl(path: str | Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write ``rows`` to ``path``, one JSON object a line, atomically; return their number."""
    count = 0
    with atomic_open(path) as stream:
        for row in rows:
            stream.write(jsonl_line(row))
            count += 1
    return count


def jsonl_line(row: Mapping[str, Any]) -> bytes:
    """Return ``row`` as a line of a JSON-lines file."""
    return (json.dumps(row, ensure_ascii=False) + "\n").encode()


_MAKE_IT = "run the rule that makes it (snakemake -n shows which)"
_DELETE_IT = "delete it and run again"


def read_json(path: str | Path, *, absent: str = _MAKE_IT, damaged: str = _DELETE_IT) -> Any:
    """Read a JSON file; a damaged one is named with its line.

    Args:
        path: of the file.
        absent, damaged: what mends it. Unless said, it is a product of the workflow.

    Raises:
        DataError: no such file, or it is no JSON.
    """
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; {absent}") from error
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}: not valid JSON ({error.msg}); {damaged}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text (byte {error.start}); {damaged}") from error


def read_jsonl(path: str | Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSON-lines file; a damaged line is named with its path and number."""
    path = Path(path)
    try:
        stream = path.open("rb")
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; {_MAKE_IT}") from error
    with stream:
        for number, line in enumerate(stream, start=1):
            try:
                row = json.loads(line)
            except (json.JSONDecodeError, UnicodeDecodeError) as error:
                raise DataError(f"{path}:{number}: damaged line ({error}); delete the file and run again") from error
            if not isinstance(row, dict):
                raise DataError(f"{path}:{number}: expected a JSON object, found {type(row).__name__}")
            yield row


def sha256_file(path: str | Path) -> str:
    """Return the hexadecimal sha256 of a file's bytes."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest(value: Any) -> str:
    """Return the hexadecimal sha256 of ``value`` as canonical JSON (sorted keys, no blanks)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def write_manifest(folder: str | Path, *, kind: str, name: str, made_from: Mapping[str, Any]) -> dict[str, Any]:
    """List every file of ``folder`` (hidden ones and the manifest itself aside) and write its manifest.

    ``digest`` covers the files' names and contents only, so equal content has an equal digest wherever it was made.
    """
    folder = Path(folder)
    files = {
        str(path.relative_to(folder)): {"bytes": path.stat().st_size, "sha256": sha256_file(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST and not path.name.startswith(".")
    }
    manifest = {
        "format": MANIFEST_FORMAT,
        "kind": kind,
        "name": name,
        "digest": digest({file: entry["sha256"] for file, entry in files.items()}),
        "files": files,
        "made_from": dict(made_from),
    }
    write_json(folder / MANIFEST, manifest)
    return manifest


def read_manifest(folder: str | Path, *, verify: bool = True) -> dict[str, Any]:
    """Read the manifest of ``folder``; with ``verify``, check size and sha256 of every file it lists.

    Raises:
        CheckpointError, DataError: a file is missing, truncated or altered (by the manifest's kind).
    """
    folder = Path(folder)
    manifest = read_json(folder / MANIFEST)
    whole = isinstance(manifest, dict) and {"kind", "digest", "files", "made_from"} <= set(manifest)
    if not whole or manifest.get("format") != MANIFEST_FORMAT:
        raise DataError(f"{folder / MANIFEST}: not a {MANIFEST_FORMAT} manifest; delete it and run again")
    if verify:
        fault = CheckpointError if manifest["kind"] == "checkpoint" else DataError
        for file, entry in manifest["files"].items():
            _check_file(folder / file, entry, fault)
    return manifest


def check_destination(source: Path, dest: Path, *, empty: bool = False, own: bool = False) -> None:
    """Refuse a destination whose content would be lost.

    Args:
        source: folder that is read.
        dest: folder to be written.
        empty: whether a checkpoint there is refused too.
        own: whether the folder is there for what is written, so that nothing in it is anybody's.

    Raises:
        SettingsError: it holds anything but a converted checkpoint, is the source, or one lies in the other.
    """
    here, there = source.resolve(), dest.resolve()
    if here == there or here in there.parents or there in here.parents:
        raise SettingsError(f"{dest}: is the source, or one lies inside the other; choose another folder to write")
    if dest.is_file():
        raise SettingsError(f"{dest}: is a file; choose another folder to write")
    if dest.is_dir() and any(dest.iterdir()) and (empty or not (own or _is_converted(dest))):
        raise SettingsError(f"{dest}: is not empty, and what it holds would be lost; choose another folder to write")
    if dest.is_dir() and not own and (foreign := _foreign_file(dest)):
        raise SettingsError(
            f"{foreign}: would be lost with the checkpoint beside it; move it, or choose another folder"
        )


def _foreign_file(folder: Path) -> Path | None:
    """Return a file in a checkpoint's folder that is not of the checkpoint; hidden ones are not looked at."""
    manifest = own_manifest(folder)
    known = {MANIFEST, *(manifest["files"] if manifest else ())}
    inside = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    foreign = sorted(path for path in inside if str(path) not in known and not str(path).startswith("."))
    return folder / foreign[0] if foreign else None


def _is_converted(folder: Path) -> bool:
    """Whether a folder is a checkpoint that was converted and not trained since, so that little is lost with it."""
    manifest = own_manifest(folder)
    # Of a training the source is a digest.
    return manifest is not None and isinstance(manifest["made_from"].get("source"), dict)


def own_manifest(folder: Path) -> dict[str, Any] | None:
    """Return the manifest of a checkpoint of this project, its files unchecked; None where there is none."""
    try:
        manifest = read_manifest(folder, verify=False)
    except DataError:
        return None
    return manifest if manifest["kind"] == "checkpoint" else None


def is_made_from(folder: str | Path, made_from: Mapping[str, Any], *, aside: Collection[str] = ()) -> bool:
    """Return whether ``folder`` is whole and its manifest's ``made_from`` is this, some keys of both aside."""
    try:
        found = read_manifest(folder)["made_from"]
    except DlmError:
        return False
    one, other = ({key: made[key] for key in made if key not in aside} for made in (found, made_from))
    return digest(one) == digest(other)


def sync_folder(folder: str | Path) -> dict[str, int]:
    """Bring a folder and all below it onto the disk, so that a power cut keeps it; return the files' sizes, in bytes.

    Raises:
        OSError: a file cannot be written out.
    """
    folder = Path(folder)
    sizes = {}
    for path in (folder, *sorted(folder.rglob("*"))):
        _sync(path)
        if path.is_file():
            sizes[str(path.relative_to(folder))] = path.stat().st_size
    return sizes


def sync_directory(folder: Path) -> None:
    """Bring the names in a folder onto the disk: after a rename, which a power cut could undo."""
    with contextlib.suppress(OSError):  # some file systems of networks cannot, and keep names by themselves
        _sync(folder)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _check_file(path: Path, entry: Mapping[str, Any], fault: type[Exception]) -> None:
    remedy = f"copy it here again, or, if a rule makes it, delete {path.parent / MANIFEST} and run snakemake again"
    if not path.is_file():
        raise fault(f"{path}: listed in the manifest but missing; {remedy}")
    if (size := path.stat().st_size) != entry["bytes"]:
        raise fault(f"{path}: {size} bytes, the manifest says {entry['bytes']} (truncated?); {remedy}")
    if sha256_file(path) != entry["sha256"]:
        raise fault(f"{path}: content differs from the manifest's sha256 (damaged or edited); {remedy}")
