"""`dlm convert` as a person types it: a folder, a hub id, back again; mistakes in one line."""

from __future__ import annotations

import filecmp
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dlm.files import read_manifest
from dlm.models import load_denoiser

ROOT = Path(__file__).resolve().parents[2]
PARITY = ROOT / "tests" / "parity" / "checkpoints"


def dlm(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dlm", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=280,
    )


def test_a_folder_and_back(tmp_path: Path) -> None:
    shutil.copytree(PARITY / "dream", tmp_path / "dream")
    done = dlm(tmp_path, "convert", "dream", "native", "--no-shift", "--log", "logs/convert.log")
    assert done.returncode == 0, done.stderr
    assert "convert native: 1/1 MB" in done.stderr
    assert "convert native: format dream, 39 tensors moved" in done.stderr
    assert (tmp_path / "logs" / "convert.log").read_text() == done.stderr
    assert load_denoiser(tmp_path / "native").shift is False
    done = dlm(tmp_path, "convert", "--back", "native", "again")
    assert done.returncode == 0, done.stderr
    names = sorted(path.name for path in (PARITY / "dream").iterdir())
    assert filecmp.cmpfiles(PARITY / "dream", tmp_path / "again", names, shallow=False)[0] == names


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["convert", "nowhere", "out"], "nowhere: no such folder, and no hub id (organisation/name) either"),
        (["convert", "org/name", "out"], "org/name@main: the hub was not asked, HF_HUB_OFFLINE is set"),
        (["convert", str(PARITY / "bert"), "out", "--revision", "v1"], "is a folder, which has no --revision"),
        (["convert", "--back", str(PARITY / "bert"), "out"], "no source/keys.json in it"),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], message: str, tmp_path: Path) -> None:
    done = dlm(tmp_path, *arguments)
    errors = [line for line in done.stderr.splitlines() if not line.startswith("convert: fetching ")]
    assert done.returncode == 2
    assert len(errors) == 1 and errors[0].startswith("error: ") and message in errors[0]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("arguments", [["--back"], ["--shift"], ["--revision", "main"], ["--block-size", "4"]])
def test_what_needs_a_destination_says_so(arguments: list[str], tmp_path: Path) -> None:
    done = dlm(tmp_path, "convert", "name", *arguments)
    assert done.returncode == 2 and "need a DEST" in done.stderr


@pytest.fixture
def hub(tmp_path: Path, shared: Path) -> Iterator[dict[str, str]]:
    """A hub on this machine with three repositories; yields the environment that leads there."""
    models = tmp_path / "hub" / "models" / "org"
    for name in ("llada_gqa", "qwen3"):
        shutil.copytree(PARITY / name, models / name)
    (models / "llada_gqa" / "modeling_llada.py").write_text("raise SystemExit('remote code ran')")
    shutil.copytree(PARITY / "llada", models / "llada_gqa@v1")
    shutil.copytree(PARITY / "llada", models / "closed")
    (models / "closed" / ".gated").touch()
    port = tmp_path / "port"
    command = [sys.executable, str(shared / "tools" / "hub_mirror.py"), "--root", str(tmp_path / "hub")]
    process = subprocess.Popen([*command, "--port-file", str(port)], stderr=subprocess.DEVNULL)
    while not port.exists() and process.poll() is None:
        time.sleep(0.05)
    yield {
        "HF_ENDPOINT": f"http://127.0.0.1:{port.read_text().strip()}",
        "HF_HOME": str(tmp_path / "home"),
        "NO_PROXY": "127.0.0.1",
        "HF_HUB_OFFLINE": "0",
    }
    process.terminate()
    process.wait()


def test_a_checkpoint_of_the_hub(hub: dict[str, str], tmp_path: Path) -> None:
    done = dlm(tmp_path, "convert", "org/llada_gqa", "main", **hub)
    assert done.returncode == 0, done.stderr
    source = read_manifest(tmp_path / "main")["made_from"]["source"]
    assert source["repository"] == "org/llada_gqa" and len(source["revision"]) == 40
    assert not any(name.endswith(".py") for name in source["files"])
    assert load_denoiser(tmp_path / "main").conventions.source == source

    done = dlm(tmp_path, "convert", "org/llada_gqa", "tag", "--revision", "v1", **hub)
    assert done.returncode == 0, done.stderr
    assert read_manifest(tmp_path / "tag")["made_from"]["source"]["revision"] != source["revision"]

    done = dlm(tmp_path, "convert", "org/llada_gqa", "again", "--revision", source["revision"], **hub)
    assert read_manifest(tmp_path / "again")["digest"] == read_manifest(tmp_path / "main")["digest"], done.stderr

    missing = {"org/none": "the hub has no such repository", "org/closed": "gated: accept its terms"}
    for repository, message in missing.items():
        done = dlm(tmp_path, "convert", repository, "out", **hub)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 2 and f"error: {repository}@main: {message}" in done.stderr
    done = dlm(tmp_path, "convert", "org/qwen3", "out", "--revision", "v9", **hub)
    assert done.returncode == 2 and "the hub has no such revision" in done.stderr and done.stderr.count("\n") == 2


def test_a_hub_that_cannot_be_reached_is_one_line(hub: dict[str, str], tmp_path: Path) -> None:
    done = dlm(tmp_path, "convert", "org/qwen3", "out", **{**hub, "HF_ENDPOINT": "http://127.0.0.1:9"})
    assert done.returncode == 2
    assert done.stderr.count("\n") == 2 and "error: org/qwen3@main: the hub cannot be reached" in done.stderr


def test_a_checkpoint_of_the_hub_in_the_params(hub: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "project" / "params").mkdir(parents=True)
    (tmp_path / "project" / "Snakefile").touch()
    shutil.copytree(ROOT / "params", tmp_path / "project" / "params", dirs_exist_ok=True)
    part = tmp_path / "project" / "params" / "paper" / "training.yaml"
    for published, stand_in in {"GSAI-ML/LLaDA-8B-Base,": "org/llada_gqa,", "Qwen/Qwen3-0.6B,": "org/qwen3,"}.items():
        assert published in part.read_text()
        part.write_text(part.read_text().replace(published, stand_in))
    done = dlm(tmp_path / "project", "convert", "llada-base", "--scale", "paper", **hub)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "project" / "results" / "paper" / "checkpoints" / "llada-base"
    made_from = read_manifest(folder)["made_from"]
    assert made_from["source"]["repository"] == made_from["settings"]["repository"] == "org/llada_gqa"
    assert load_denoiser(folder).conventions.objective == "mdlm"
    done = dlm(tmp_path / "project", "convert", "qwen3-0.6b", "--scale", "paper", **hub)
    assert done.returncode == 0 and "; kept causal" in done.stderr
    done = dlm(tmp_path / "project", "convert", "qwen3-0.6b-opened", "--scale", "paper", **hub)
    assert done.returncode == 0 and "; every token sees every other" in done.stderr


def test_what_else_a_conversion_has_to_be_told(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    done = dlm(tmp_path, "convert", "folder")
    assert done.returncode == 2 and "folder is a folder: give DEST" in done.stderr
    done = dlm(tmp_path, "convert", "folder", "dest", "--objective", "bd3lm")
    assert done.returncode == 2 and "--objective bd3lm needs --block-size" in done.stderr
