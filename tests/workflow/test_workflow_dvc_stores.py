"""What DVC shows; how its stores fare when transfers are cut, and a cache that two clones share."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
from dvc_project import commit, run, surroundings, table, try_run, with_outputs, write
from micro_project import twin

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]
RESPONSES = 120
OBJECTS = RESPONSES + 16
"""Of everything that the clone stores, no fewer: a kill after a few of them falls in the midst."""


@pytest.fixture(scope="module")
def stored(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone with outputs that DVC has stored."""
    folder = tmp_path_factory.mktemp("stores")
    return with_outputs(repository, folder / "first", responses=RESPONSES, weights=3_000_000)


class Remote(Protocol):
    """A store, and what happens to it."""

    def configure(self, project: Path) -> None:
        """Have a clone push to it and pull from it."""

    def objects(self) -> dict[str, bytes]:
        """What it holds, by name."""

    def cut(self, after: int) -> contextlib.AbstractContextManager[Callable[[], Any]]:
        """Within, the store takes ``after`` more objects and then stands still; the function waits for that."""


class Folder:
    """A folder, which takes the objects as fast as it can."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def configure(self, project: Path) -> None:
        run(project, "dvc", "remote", "add", "--default", "--force", "store", str(self.path))
        run(project, "dvc", "remote", "modify", "store", "jobs", "1")

    def objects(self) -> dict[str, bytes]:
        return objects_in(self.path)

    @contextlib.contextmanager
    def cut(self, after: int) -> Iterator[Callable[[], Any]]:
        yield lambda: until(lambda: len(list(self.path.glob("files/md5/??/*"))) >= after)


class Bucket:
    """A bucket of an S3 server on loopback: moto's."""

    def __init__(self) -> None:
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
        from werkzeug.serving import make_server

        self._s3 = DomainDispatcherApplication(create_backend_app)
        self._left: int | None = None
        self._still, self._go_on = threading.Event(), threading.Event()
        self.fails = False
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self._server.port}"
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        direct.open(
            f"{self.address}/moto-api/reset", data=b"", timeout=60
        )  # what an earlier server of this process held
        self._client().create_bucket(Bucket="results")

    def close(self) -> None:
        self._go_on.set()
        self._server.shutdown()

    def _client(self) -> Any:
        import boto3

        return boto3.client(
            "s3", endpoint_url=self.address, aws_access_key_id="a", aws_secret_access_key="b", region_name="us-east-1"
        )

    def _answer(self, environment: dict[str, Any], start_response: Any) -> Any:
        """Answer; a request to store something, after the last that is still taken, waits or fails for want of room."""
        if self._left is not None and environment["REQUEST_METHOD"] == "PUT":
            self._left -= 1
            if self._left < 0:
                self._still.set()
                if self.fails:
                    start_response("507 Insufficient Storage", [("Content-Length", "0")])
                    return [b""]
                self._go_on.wait()
        return self._s3(environment, start_response)

    def configure(self, project: Path) -> None:
        run(project, "dvc", "remote", "add", "--default", "--force", "store", "s3://results/ours")
        options = {"endpointurl": self.address, "access_key_id": "a", "secret_access_key": "b", "region": "us-east-1"}
        for name, value in options.items():
            run(project, "dvc", "remote", "modify", "--local", "store", name, value)

    def objects(self) -> dict[str, bytes]:
        client = self._client()
        pages = client.get_paginator("list_objects_v2").paginate(Bucket="results")
        names = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
        found = {name: client.get_object(Bucket="results", Key=name)["Body"].read() for name in names}
        return {"".join(name.split("/")[-2:]): content for name, content in found.items()}

    @contextlib.contextmanager
    def cut(self, after: int) -> Iterator[Callable[[], Any]]:
        self._left = after
        self._still.clear()
        self._go_on.clear()
        try:
            yield lambda: until(self._still.is_set)
        finally:
            self._left = None
            self._go_on.set()


@pytest.fixture(params=["folder", "s3"])
def remote(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Remote]:
    """An empty store."""
    if request.param == "folder":
        yield Folder(tmp_path / "store")
        return
    bucket = Bucket()
    yield bucket
    bucket.close()


def objects_in(store: Path) -> dict[str, bytes]:
    """What a cache or a folder's store holds under the names of contents."""
    paths = [path for path in store.glob("files/md5/??/*") if len(path.name.removesuffix(".dir")) == 30]
    return {path.parent.name + path.name: path.read_bytes() for path in paths}


def begun(objects: dict[str, bytes]) -> dict[str, bytes]:
    """Those with a content: a killed transfer to a folder may leave an empty file, which DVC reads again and refuses.

    Before it copies, DVC tries whether files can share their blocks there, under the name of the first of them.
    """
    return {name: content for name, content in objects.items() if content}


def whole(objects: dict[str, bytes]) -> bool:
    """Whether everything is what its name says."""
    return all(hashlib.md5(content).hexdigest() == name.removesuffix(".dir") for name, content in objects.items())


def leave_an_empty_one(source: Path, store: Path) -> None:
    """Leave in ``store`` what a transfer from ``source`` leaves that is killed as it tries to share blocks."""
    missing = sorted(objects_in(source).keys() - objects_in(store).keys())[0]
    path = store / "files" / "md5" / missing[:2] / missing[2:]
    path.parent.mkdir(exist_ok=True)
    path.touch()


def until(condition: Callable[[], Any], seconds: float = 900) -> None:
    """Wait for what another process does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.001)


def killed(project: Path, wait: Callable[[], Any], *command: str) -> None:
    """Start a command in a clone and kill it, with all that it started, after ``wait``.

    It runs when nobody else wants to: however busy the machine is, who waits is quicker. A session of its own would be
    scheduled as a group of its own, within which alone its niceness counted (sched(7)); so it gets a process group.
    """
    process = subprocess.Popen(
        ["nice", "-n", "19", *command], cwd=project, env=surroundings(project), stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, process_group=0,
    )  # fmt: skip
    wait()
    assert process.poll() is None, "the command was over before it could be killed"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def clone_of(project: Path, folder: Path) -> Path:
    """What git carries, and how its store is reached."""
    (folder.parent / "home").mkdir(exist_ok=True)
    run(folder.parent, "git", "clone", "-q", str(project), folder.name)
    local = project / ".dvc" / "config.local"
    if local.exists():
        (folder / ".dvc" / "config.local").write_bytes(local.read_bytes())
    return folder


def contents(project: Path) -> dict[str, bytes]:
    """Every file under results/."""
    base = project / "results"
    return {str(path.relative_to(base)): path.read_bytes() for path in base.rglob("*") if path.is_file()}


def test_scores_curves_and_params_are_shown_and_compared(stored: Path, tmp_path: Path) -> None:
    project = twin(stored, tmp_path / "clone")
    table(project, {"value": 0.75, "stderr": 0.05})
    assert "model.sudoku.answer48.value" in run(project, "dvc", "metrics", "show")
    [told] = [line for line in run(project, "dvc", "metrics", "diff").splitlines() if "answer48.value" in line]
    assert told.split()[1:] == ["model.sudoku.answer48.value", "0.5", "0.75", "0.25"]
    params = project / "params" / "paper" / "training.yaml"
    params.write_text(params.read_text().replace("held_out_share: 0.01", "held_out_share: 0.02", 1))
    [told] = [line for line in run(project, "dvc", "params", "diff").splitlines() if "held_out_share" in line]
    assert told.split() == ["params/paper/training.yaml", "data.s1k.held_out_share", "0.01", "0.02"]
    curve = project / "results/tiny/curves/held_out/model.csv"
    assert curve.read_text() == "step,loss\n1,5.0\n2,2.5\n"
    curve.write_text("step,loss\n1,4.0\n2,2.25\n")
    run(project, "dvc", "plots", "diff")
    page = (project / "dvc_plots" / "index.html").read_text()
    assert "loss on held-out rows (lower is better)" in page and "loss on training rows (lower is better)" in page
    assert '"loss": "2.25"' in page and '"loss": "2.5"' in page, "both revisions' values"
    assert "dvc_plots" not in run(project, "git", "status", "--porcelain")


def test_a_push_that_is_killed_leaves_nothing_that_passes_for_whole_and_goes_on(
    stored: Path, remote: Remote, tmp_path: Path
) -> None:
    project = twin(stored, tmp_path / "pushing")
    remote.configure(project)
    commit(project)
    with remote.cut(after=8) as wait:
        killed(project, wait, "dvc", "push")
    assert 0 < len(remote.objects()) < OBJECTS and whole(begun(remote.objects()))
    if isinstance(remote, Folder):
        leave_an_empty_one(project / ".dvc" / "cache", remote.path)
    clone = clone_of(project, tmp_path / "clone")
    code, printed = try_run(clone, "dvc", "pull")
    assert code != 0 and ("failed to pull" in printed or "missing" in printed.lower())
    assert "up to date" not in run(clone, "dvc", "status")
    run(project, "dvc", "push")
    assert whole(remote.objects()) and len(remote.objects()) >= OBJECTS
    run(clone, "dvc", "pull")
    assert contents(clone) == contents(project)
    assert "up to date" in run(clone, "dvc", "status")


def test_a_pull_that_is_killed_goes_on(stored: Path, tmp_path: Path) -> None:
    project = twin(stored, tmp_path / "pushing")
    Folder(tmp_path / "store").configure(project)
    commit(project)
    run(project, "dvc", "push")
    clone = clone_of(project, tmp_path / "clone")
    cache = clone / ".dvc" / "cache"
    killed(clone, lambda: until(lambda: len(list(cache.glob("files/md5/??/*"))) >= 8), "dvc", "pull")
    assert 0 < len(objects_in(cache)) < OBJECTS and whole(begun(objects_in(cache)))
    leave_an_empty_one(tmp_path / "store", cache)
    run(clone, "dvc", "pull")
    assert contents(clone) == contents(project)


def test_a_server_that_fails_in_the_midst_is_told_and_gone_on_with(stored: Path, tmp_path: Path) -> None:
    project = twin(stored, tmp_path / "pushing")
    bucket = Bucket()
    bucket.configure(project)
    bucket.fails = True
    with bucket.cut(after=8), pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_MAX_ATTEMPTS", "1")
        code, printed = try_run(project, "dvc", "push")
    assert code != 0 and "failed" in printed.lower() and "Traceback" not in printed
    assert 0 < len(bucket.objects()) < OBJECTS and whole(bucket.objects())
    run(project, "dvc", "push")
    assert whole(bucket.objects()) and len(bucket.objects()) >= OBJECTS
    bucket.close()


def test_two_clones_that_share_a_cache_work_at_once(stored: Path, tmp_path: Path) -> None:
    """Each stores, at the same time, what both have and what it alone has; then each gets its own back."""
    projects = [twin(stored, tmp_path / name) for name in ("one", "other")]
    for project in projects:
        run(project, "dvc", "cache", "dir", "--local", str(tmp_path / "cache"))
        for number in range(40):
            write(project / "results/tiny/responses/model/own" / f"{number}.jsonl", 2000)
        shared = project / "results/tiny/responses/model/both"
        shared.mkdir()
        for number in range(200):
            (shared / f"{number}.jsonl").write_text(f"{number}\n" * 2000)
    before = [contents(project) for project in projects]
    at_once(projects, "dvc", "commit", "--force", "--quiet")
    assert whole(objects_in(tmp_path / "cache"))
    for project in projects:
        for path in (project / "results").rglob("*.jsonl"):
            path.unlink()
    at_once(projects, "dvc", "checkout", "--force")
    assert [contents(project) for project in projects] == before


def test_a_command_that_runs_in_one_clone_does_not_hold_up_another_with_the_same_cache(tmp_path: Path) -> None:
    """Each clone's stage ends when the other's has begun."""
    (tmp_path / "home").mkdir()
    projects = [tmp_path / name for name in ("one", "other")]
    for project, other in zip(projects, reversed(projects), strict=True):
        project.mkdir()
        waits = f"until [ -e {other}/begun ]; do sleep 0.1; done"
        stage = f"stages:\n  wait:\n    cmd: 'touch begun; {waits}; echo {project.name} > out'\n    outs: [out]\n"
        (project / "dvc.yaml").write_text(stage)
        run(project, "git", "init", "-q")
        run(project, "dvc", "init", "--quiet")
        run(project, "dvc", "config", "core.analytics", "false")
        run(project, "dvc", "cache", "dir", str(tmp_path / "cache"))
    at_once(projects, "dvc", "repro")
    assert [(project / "out").read_text().strip() for project in projects] == ["one", "other"]


def at_once(projects: list[Path], *command: str) -> None:
    """Run a command in several clones at the same time; in each it has to end well."""
    started = [
        subprocess.Popen(
            command, cwd=project, env=surroundings(project), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for project in projects
    ]
    told = [process.communicate(timeout=1200)[0] for process in started]
    assert [process.returncode for process in started] == [0] * len(projects), told
