"""Files that are whole or absent, locks, and what a folder was made from."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dlm.errors import DataError, SetupError
from dlm.files import is_made_from, read_manifest, replacing_folder, write_manifest, write_text
from dlm.locks import held

HOLD = """
import sys, time
from dlm.locks import held
with held(sys.argv[1], print):
    print("held", flush=True)
    time.sleep(1000)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Any:
    """Another process that holds the lock."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "locks" / "a")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def refuse(holder: str) -> None:
    raise AssertionError(f"waited for {holder}")


def test_a_held_lock_is_waited_for_until_its_process_dies(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    told: list[str] = []

    def tell(text: str) -> None:
        told.append(text)
        holder.kill()  # what comes next waits until the kernel has let go

    with held(tmp_path / "locks" / "a", tell) as waited:
        assert waited
    assert len(told) == 1 and told[0].startswith(f"process {holder.pid} on ")


def test_what_a_dead_process_left_is_no_obstacle(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    holder.kill()
    holder.wait()
    assert (tmp_path / "locks" / "a").read_text()
    with held(tmp_path / "locks" / "a", refuse) as waited:
        assert not waited


def test_locks_of_different_names_are_apart(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    with held(tmp_path / "locks" / "b", refuse) as waited:
        assert not waited


def test_where_there_are_no_locks_nobody_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with held(tmp_path / "a", refuse) as waited:
        assert not waited


@pytest.mark.parametrize(
    ("asked", "same"),
    [
        ({"seed": 1, "code": {"commit": "c", "edited": False}}, True),
        ({"seed": 2, "code": {"commit": "c", "edited": False}}, False),
        ({"seed": 1, "code": {"commit": "d", "edited": False}}, False),
        ({"seed": 1, "code": {"commit": "c", "edited": False}, "more": 1}, False),
        ({"seed": 1}, False),
    ],
)
def test_what_a_folder_was_made_from(tmp_path: Path, asked: dict[str, Any], same: bool) -> None:
    (tmp_path / "weights").write_text("1")
    made_from = {"seed": 1, "code": {"commit": "c", "edited": False}, "clock": {"began": 5.0}}
    write_manifest(tmp_path, kind="checkpoint", name="m", made_from=made_from)
    assert is_made_from(tmp_path, asked, aside=["clock"]) is same
    (tmp_path / "weights").write_text("2")
    assert not is_made_from(tmp_path, asked, aside=["clock"]), "altered since"


def test_nothing_there_was_made_from_nothing(tmp_path: Path) -> None:
    assert not is_made_from(tmp_path, {})


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path: Path, small_files: int) -> None:
    path = tmp_path / "text"
    write_text(path, "before")
    with pytest.raises(SetupError, match=r"text: file too large; make room and run the same command again"):
        write_text(path, "x" * 2 * small_files)
    assert path.read_text() == "before"
    assert [file.name for file in tmp_path.iterdir()] == ["text"]


def test_a_folder_is_on_the_disk_before_it_has_its_name_and_its_name_before_it_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it was made from, such as the last state of a training, is deleted afterwards: a power cut may come then."""
    done: list[tuple[str, str]] = []
    sync, rename = os.fsync, Path.rename

    def synced(handle: int) -> None:
        done.append(("sync", str(Path(f"/proc/self/fd/{handle}").resolve().relative_to(tmp_path))))
        sync(handle)

    def renamed(path: Path, target: Path) -> Path:
        done.append(("rename", path.name))
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "rename", renamed)
    with replacing_folder(tmp_path / "m") as draft:
        (draft / "inner").mkdir()
        (draft / "inner" / "weights").write_bytes(b"w")
    named = done.index(("rename", ".m.part"))
    assert set(done[:named]) == {("sync", f".m.part{below}") for below in ("", "/inner", "/inner/weights")}
    assert done[named + 1 :] == [("sync", ".")]


WRITE = """
import os, sys
os.umask(int(sys.argv[2], 8))
from pathlib import Path
from dlm.files import replacing_folder, write_text
with replacing_folder(sys.argv[1]) as part:
    os.mkdir(part / "inner")
    for name in ("weights", "inner/weights"):  # as safetensors leaves them
        os.close(os.open(part / name, os.O_CREAT | os.O_WRONLY, 0o600))
    os.link(sys.argv[3], part / "cached")
    write_text(part / "manifest", "")
"""


@pytest.mark.parametrize(("umask", "mode"), [("022", 0o644), ("002", 0o664), ("077", 0o600)])
def test_who_may_read_a_product_is_for_the_umask_to_say(tmp_path: Path, umask: str, mode: int) -> None:
    """Whatever libraries think of it; a file that is a cache's as well stays as it is there."""
    folder, cached = tmp_path / "product", tmp_path / "cached"
    cached.touch(0o400)
    subprocess.run([sys.executable, "-c", WRITE, str(folder), umask, str(cached)], check=True)
    for name in ("weights", "inner/weights", "manifest"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == mode, name
    assert stat.S_IMODE(cached.stat().st_mode) == 0o400


def test_what_mends_a_damaged_file_is_true_wherever_it_is(tmp_path: Path) -> None:
    (tmp_path / "rows").write_text("1\n2\n")
    write_manifest(tmp_path, kind="dataset", name="x", made_from={})
    (tmp_path / "rows").write_text("1\n")
    told = r"rows: 2 bytes, the manifest says 4 \(truncated\?\); copy it here again, or, if a rule .*manifest.json "
    with pytest.raises(DataError, match=told):
        read_manifest(tmp_path)
