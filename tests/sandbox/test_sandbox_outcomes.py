"""How a program ended is said of it truly, and is no matter of the other programs."""

from __future__ import annotations

from pathlib import Path

import pytest
from namespaces import isolation_or_skip
from sandbox_examples import HURRIED, LIMITS, outcome

from dlm.errors import SetupError
from dlm.sandbox import PASSED, require_isolation, run_programs, running

pytestmark = pytest.mark.usefixtures("isolation")

JUNK = r"import os; os.write(3, b'x' * 4000 + b'\nstatus -abc' * 50)"
# What a program that looks for the word's secret can do: it stands in the frame that runs it.
SAYING = r"""
import os, sys
os.write(3, (sys._getframe(1).f_globals["secret"] + " {word}\n").encode())
os._exit(0)
"""


@pytest.mark.parametrize(
    ("program", "ends"),
    [
        ("import os, time; os.kill(os.getpid(), 35); time.sleep(9)", "killed by signal 35"),
        (JUNK, PASSED),
        (f"{JUNK}; os._exit(7)", "ended early with status 7"),
        (f"{JUNK}; 1 / 0", "failed: ZeroDivisionError"),
        (SAYING.format(word="no start: nothing is wrong"), "no start: nothing is wrong"),
        ("x = 1\n" + "#" * (5 << 20), PASSED),
    ],
    ids=["a signal without a name", "junk", "junk and leaving", "junk and failing", "a refusal", "a long program"],
)
def test_a_program_cannot_end_the_scoring(program, ends):
    assert run_programs([program, "x = 1"], LIMITS) == [ends, PASSED]


@pytest.mark.parametrize(
    ("program", "ends"),
    [
        ("if os.fork():\n    os.wait()\n    raise AssertionError", "failed: AssertionError"),
        ("if os.fork():\n    os.wait()\n    os._exit(0)", "ended early with status 0"),
        ("if os.fork():\n    os.wait()\n    while True: pass", "timed out"),
        ("if not os.fork(): raise AssertionError\nassert os.waitstatus_to_exitcode(os.wait()[1]) == 1", PASSED),
        ("if os.fork(): assert os.waitstatus_to_exitcode(os.wait()[1]) == 0", PASSED),
    ],
    ids=["failing", "leaving", "never ending", "passing, the child not", "passing"],
)
def test_a_child_that_comes_to_the_end_does_not_speak_for_its_parent(program, ends):
    assert outcome(f"import os\n{program}", HURRIED if ends == "timed out" else LIMITS) == ends


def test_a_launcher_that_fails_concerns_its_program_alone_but_not_when_asked_for_isolation(monkeypatch, tmp_path):
    real = running._LAUNCHER.read_text()
    monkeypatch.setattr(running, "_LAUNCHER", tmp_path / "launcher.py")
    running._LAUNCHER.write_text(
        real.replace('    _call("prctl"', '    if "broken" in asked["program"]: sys.exit(9)\n    _call("prctl"', 1)
    )
    assert run_programs(["broken = 1", "x = 1"], LIMITS) == ["launcher ended with status 9", PASSED]
    running._LAUNCHER.write_text("raise SystemExit(9)")
    with pytest.raises(SetupError, match=r"does not hold on this machine \(launcher ended with status 9\)$"):
        require_isolation(LIMITS)


def test_a_sandbox_that_does_not_hold_fails_these_tests_and_skips_none(monkeypatch):
    monkeypatch.setattr(running, "_LAUNCHER", Path("/no/such/launcher.py"))
    try:
        isolation_or_skip(LIMITS)
    except pytest.skip.Exception as skipped:
        pytest.fail(f"skipped: {skipped}")
    except SetupError as error:
        assert "does not hold on this machine" in str(error)
    else:
        pytest.fail("nothing was wrong")
