"""What all tests share: one thread, no network, nothing written outside the clone, and where things are."""

from __future__ import annotations

import os
import random
import resource
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from micro_project import copy_of, make_table
from sharing import made_once

REPOSITORY = Path(__file__).resolve().parent.parent

# Before torch or a Hugging Face library is imported, here or in a process that a test starts: one thread each, since
# tests run side by side (and the count changes the bits of a result), no network, caches in the clone.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["HF_UPDATE_DOWNLOAD_COUNTS"] = "0"
os.environ["HF_HOME"] = str(REPOSITORY / ".cache" / "tests" / "huggingface")
os.environ["XDG_CACHE_HOME"] = str(REPOSITORY / ".cache" / "tests")
os.environ["MPLCONFIGDIR"] = str(REPOSITORY / ".cache" / "tests" / "matplotlib")
# Servers that tests start are asked directly, wherever else this machine's proxy is to be asked.
for variable in ("no_proxy", "NO_PROXY"):
    os.environ[variable] = ",".join(filter(None, [os.environ.get(variable), "127.0.0.1", "localhost"]))
# Started in the background of a script, this process ignores Ctrl-C, and so does all that it starts; tests send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if "torch" in sys.modules:
    sys.modules["torch"].set_num_threads(1)


@pytest.fixture(autouse=True)
def _the_same_random_numbers() -> None:
    """Begin each test with the same random numbers, whatever ran before it in its worker."""
    random.seed(0)
    for name, seed in (("numpy.random", "seed"), ("torch", "manual_seed")):
        if name in sys.modules:
            getattr(sys.modules[name], seed)(0)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference material: `shared` in the checkout or beside it, or a skip that says so."""
    for folder in (REPOSITORY / "shared", REPOSITORY.parent / "shared"):
        if folder.is_dir():
            return folder
    pytest.skip("needs the reference material: no folder `shared` in this checkout or beside it")


@pytest.fixture
def small_files() -> Iterator[int]:
    """No file may grow beyond this many bytes: the kernel refuses it in the midst of a write, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 14, before[1]))
    yield 1 << 14
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture(scope="session")
def micro_run(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    """A copy of the checkout in which the micro table has been made locally: made once, to be read or copied only."""

    def make(folder: Path) -> None:
        make_table(copy_of(repository, folder), os.environ, "--cores", "2")

    return made_once(tmp_path_factory, "micro-local", make)
