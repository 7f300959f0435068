"""Programs that misbehave: each is contained, each counts as a failure, and none of them leaves anything behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from namespaces import ASK
from sandbox_examples import HURRIED, LIMITS, outcome

from dlm.sandbox import PASSED, run_programs
from dlm.sandbox.launcher import NO_ROOM
from dlm.settings import SandboxSettings

pytestmark = pytest.mark.usefixtures("isolation")
# Found in the list of processes, wherever a program has hidden it: of these tests' processes, and of no other run's.
MARK = f"98765.{os.getpid():08}"
REFUSED = "this kernel refuses an ordinary user namespaces: "
LEAVING_SOMETHING = f"""
import os, time
if not os.fork():
    os.setsid()
    if not os.fork():
        os.execv("/bin/sleep", ["sleep", "{MARK}"])
    os._exit(0)
time.sleep(0.3)
"""
FORK_BOMB = """
import os
while True:
    try:
        os.fork()
    except OSError:
        pass
"""


def running(mark: str) -> list[str]:
    """Command lines on this machine that hold a text."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        found += [line] if mark in line else []
    return found


@pytest.mark.parametrize(
    ("name", "program", "ends"),
    [
        ("an endless loop", "while True: pass", "timed out"),
        ("an endless sleep", "import time; time.sleep(1000)", "timed out"),
        ("a fork bomb", FORK_BOMB, "timed out"),
        ("forks without end", "import os\nwhile True: os.fork()", "failed: BlockingIOError"),
        ("10 GB at once", "bytearray(10 << 30)", "failed: MemoryError"),
        ("10 GB bit by bit", "kept = []\nwhile True: kept.append(bytearray(1 << 20))", "failed: MemoryError"),
        ("a deep recursion", "def f(): f()\nf()", "failed: RecursionError"),
        ("a large file", "open('a', 'wb').write(bytes(2 << 20))", "failed: OSError"),
        ("an exception of a telling name", "class passed(Exception): pass\nraise passed", "failed: passed"),
        ("leaving early", "exit()", "failed: SystemExit"),
        ("leaving at once", "import os; os._exit(0)", "ended early with status 0"),
        ("a crash", "import ctypes; ctypes.string_at(0)", "killed by SIGSEGV"),
        ("reading its input", "input()", "failed: EOFError"),
        ("no Python", "def f(:", "failed: SyntaxError"),
        ("no text", "\udcff", "failed: UnicodeDecodeError"),
        (
            "words everywhere",
            "import os\nfor n in range(4): os.write(n, b'passed')\n1 / 0",
            "failed: ZeroDivisionError",
        ),
    ],
)
def test_a_program_that_misbehaves_fails(name, program, ends):
    before = time.monotonic()
    assert outcome(program, HURRIED if ends == "timed out" else LIMITS) == ends, name
    assert time.monotonic() - before < 60


def test_a_recursion_without_a_limit_fails():
    program = "import sys\nsys.setrecursionlimit(1 << 30)\ndef f(): f()\nf()"
    # as its Python does it, and as far as it comes
    assert outcome(program) in ("timed out", "failed: MemoryError", "failed: SystemError", "killed by SIGSEGV")


def test_files_many_and_small_are_limited_too():
    program = "for number in range(100000):\n    open(str(number), 'wb').write(bytes(4096))"
    assert outcome(program) == "failed: OSError"


def test_nothing_outside_can_be_written_or_seen(tmp_path):
    tmp_path.chmod(0o777)
    target = tmp_path / "written"
    (tmp_path / "seen").write_text("x")
    for place in (
        target,
        Path("/tmp/dlm-written"),
        Path("/dev/shm/dlm-written"),
        Path("/dlm-written"),
        Path.home() / "w",
    ):
        assert outcome(f"open({str(place)!r}, 'w')").startswith("failed: "), place
        assert not place.exists()
    assert outcome(f"open({str(tmp_path / 'seen')!r})") == "failed: FileNotFoundError"
    assert outcome(f"open({sys.executable!r} + 'x', 'w')") in ("failed: OSError", "failed: PermissionError")
    assert outcome("assert open('/etc/passwd').read()") == "failed: FileNotFoundError"


def test_a_folder_of_its_own_is_empty_and_can_be_written():
    assert (
        outcome("import os\nassert os.listdir() == []\nopen('a', 'w').write('b')\nassert open('a').read() == 'b'")
        == PASSED
    )


def test_the_network_cannot_be_reached():
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        socket.create_connection(("127.0.0.1", port), timeout=5).close()  # it listens
        for host in ("127.0.0.1", "192.0.2.1"):
            program = f"import socket; socket.create_connection(({host!r}, {port}), timeout=2)"
            assert outcome(program) in ("failed: OSError", "failed: ConnectionRefusedError")
    assert outcome("import socket; assert [n for _, n in socket.if_nameindex()] in ([], ['lo'])") == PASSED
    # Names are not resolved either, nor is another program's socket of the machine there.
    assert outcome("import socket; socket.getaddrinfo('localhost.example', 80)") == "failed: gaierror"


def test_nothing_is_left_running(tmp_path):
    assert outcome(LEAVING_SOMETHING) == PASSED
    assert outcome(LEAVING_SOMETHING + "while True: pass", HURRIED) == "timed out"
    assert running(MARK) == []


def test_a_program_started_by_one_that_is_killed_ends_too():
    """Whoever runs programs may be killed itself: what it has started goes with it."""
    code = f"""
from dlm.sandbox import run_programs
from dlm.settings import SandboxSettings
run_programs(['import os; os.execv("/bin/sleep", ["sleep", "{MARK}5"])'], SandboxSettings(seconds=100))
"""
    runner = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 200
    while not any(line.startswith("sleep") for line in running(f"{MARK}5")) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert any(line.startswith("sleep") for line in running(f"{MARK}5"))
    runner.kill()
    runner.wait()
    while running(f"{MARK}5") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert running(f"{MARK}5") == []


def test_it_is_never_root_and_cannot_become_it():
    wanted = "not in (0, 1)" if os.geteuid() == 0 else f"== {os.geteuid()}"
    assert outcome(f"import os; assert os.getuid() {wanted} and os.geteuid() == os.getuid()") == PASSED
    assert outcome("import os; os.setuid(0)") == "failed: PermissionError"


def test_its_own_namespaces_mounts_and_rights_are_refused():
    call = "import ctypes; assert ctypes.CDLL(None).{}"
    for attempt in ("unshare(0x10000000) == 0", "unshare(0x20000) == 0", "mount(b'none', b'.', b'tmpfs', 0, 0) == 0"):
        assert outcome(call.format(attempt)) == "failed: AssertionError", attempt


def test_outcomes_stand_in_the_order_of_the_programs_and_are_counted():
    programs = ["x = 1", "assert False", "import time; time.sleep(0.2)", "1 / 0", ""]
    counted: list[int] = []
    assert run_programs(programs, LIMITS, counted.append) == [
        PASSED,
        "failed: AssertionError",
        PASSED,
        "failed: ZeroDivisionError",
        PASSED,
    ]
    assert sum(counted) == len(programs)


def test_no_more_programs_run_at_a_time_than_asked_for():
    started = time.monotonic()
    run_programs(["import time; time.sleep(0.5)"] * 4, SandboxSettings(workers=1))
    assert time.monotonic() - started > 2.0


def test_chance_of_hashes_is_the_same_each_time():
    named_by_a_hash = "raise type('Hash' + str(hash('a') % 100000), (Exception,), {})"
    first, second = run_programs([named_by_a_hash] * 2, LIMITS)
    assert first == second and first.startswith("failed: Hash")


def test_packages_of_this_python_can_be_used():
    assert outcome("import numpy; assert numpy.ones(3).sum() == 3", SandboxSettings()) == PASSED


@pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("setpriv"), reason="needs root and setpriv, to take rights away"
)
def test_without_the_right_to_isolate_nothing_is_run(tmp_path):
    code = """
from dlm.errors import SetupError
from dlm.sandbox import require_isolation, run_programs
from dlm.settings import SandboxSettings
for ask in (require_isolation, lambda settings: run_programs(["open('/tmp/ran', 'w')"], settings)):
    try:
        ask(SandboxSettings())
    except SetupError as error:
        print(error)
"""
    command = ["setpriv", "--bounding-set", "-sys_admin", "--inh-caps", "-all", sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    for line in lines:
        assert line.startswith("programs that models write cannot be isolated on this machine (")
        assert "Operation not permitted" in line and line.endswith("with the capability SYS_ADMIN")


@pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("setpriv"), reason="needs root and setpriv, to become another"
)
def test_an_ordinary_user_is_isolated_as_well(tmp_path, repository):
    """Without rights, by user namespaces: with a copy of the code, and Python where such a user can read it."""
    if any(path.stat().st_mode & 0o5 != 0o5 for path in (Path(sys.base_prefix), repository, repository / "dlm")):
        pytest.skip("other users cannot read this Python, or this checkout")
    code = f"""
import subprocess, sys
refused = subprocess.run([sys.executable, "-c", {ASK!r}], capture_output=True, text=True, check=True).stdout
if refused:
    sys.exit({REFUSED!r} + refused)
from dlm.sandbox import require_isolation, run_programs
from dlm.settings import SandboxSettings
limits, hurried = [SandboxSettings(seconds=seconds, memory=256, processes=4, files=1) for seconds in (30, 1)]
require_isolation(limits)
asked = ["x = 1", "import socket; socket.create_connection(('192.0.2.1', 80))"]
print(run_programs(asked, limits) + run_programs([{FORK_BOMB!r}], hurried))
"""
    script = (
        'mount --bind "$1" "$2" && mount --bind "$3" "$4" && cd / && exec setpriv --reuid 54321 --regid 54321 '
        '--clear-groups --inh-caps -all --bounding-set -all env PYTHONPATH="$4" "$2/bin/python3" -c "$5"'
    )
    tmp = Path("/tmp") / f"dlm-user-{os.getpid()}"
    places = [tmp / "python", tmp / "code"]
    try:
        for place in places:
            place.mkdir(parents=True)
        arguments = [sys.base_prefix, str(places[0]), str(repository), str(places[1]), code]
        command = ["unshare", "--mount", "sh", "-c", script, "sh", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    finally:
        shutil.rmtree(tmp)
    if done.stderr.startswith(REFUSED):
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str([PASSED, "failed: OSError", "timed out"])


def test_the_launcher_alone_says_what_it_lacks(tmp_path):
    asked = '{"room": "/no/such/folder", "paths": [], "program": "", "secret": "s", "files": 1}'
    launcher = Path(sys.modules["dlm.sandbox.launcher"].__file__ or "")
    done = subprocess.run([sys.executable, "-I", launcher], input=asked, capture_output=True, text=True, check=False)
    assert done.returncode == NO_ROOM and "No such file" in done.stderr and not done.stdout
