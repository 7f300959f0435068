"""How much memory does `dlm convert` take? Measured on a generated LLaDA checkpoint of 2 GB in five files.

    python benchmarks/convert_memory.py

Two figures of a process's peak are taken while it converts. *Resident* (VmHWM, what `ulimit`-like tools and `time -v`
show) counts every page, also those of mapped files, such as the code of torch. *Anonymous* (RssAnon, sampled every 10
ms) counts what the process allocated itself. From both the same command's peak on a checkpoint of a few hundred
kilobytes is subtracted, which is the interpreter with everything imported. The conversion maps no file: it reads and
writes a few megabytes at a time, so the system's page cache, which belongs to no process, is in neither figure.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy
from common import record

ROOT = Path(__file__).resolve().parent.parent
PARITY = ROOT / "tests" / "parity" / "checkpoints" / "llada"
WIDTH, INNER, HEADS, LAYERS, ROWS, FILES, SEED = 2048, 6144, 16, 16, 32768, 5, 0
MIB = 2**20


def generate(folder: Path) -> tuple[int, int]:
    """Write a bfloat16 checkpoint in LLaDA's published format; return its bytes and those of its largest file."""
    folder.mkdir()
    for path in PARITY.glob("*token*"):
        (folder / path.name).write_bytes(path.read_bytes())
    config = json.loads((PARITY / "config.json").read_text())
    sizes = {"d_model": WIDTH, "mlp_hidden_size": INNER, "n_layers": LAYERS, "n_heads": HEADS, "n_kv_heads": HEADS}
    config |= {**sizes, "vocab_size": ROWS, "embedding_size": ROWS, "torch_dtype": "bfloat16"}
    (folder / "config.json").write_text(json.dumps(config))
    shapes = {"model.transformer.wte.weight": (ROWS, WIDTH)}
    for layer in range(LAYERS):
        prefix = f"model.transformer.blocks.{layer}."
        shapes |= {f"{prefix}{name}.weight": (WIDTH,) for name in ("attn_norm", "ff_norm")}
        shapes |= {f"{prefix}{name}.weight": (WIDTH, WIDTH) for name in ("q_proj", "k_proj", "v_proj", "attn_out")}
        shapes |= {f"{prefix}{name}.weight": (INNER, WIDTH) for name in ("ff_proj", "up_proj")}
        shapes[f"{prefix}ff_out.weight"] = (WIDTH, INNER)
    shapes |= {"model.transformer.ln_f.weight": (WIDTH,), "model.transformer.ff_out.weight": (ROWS, WIDTH)}
    total = sum(2 * int(numpy.prod(shape)) for shape in shapes.values())
    shards: list[dict[str, tuple[int, ...]]] = [{}]
    filled = 0
    for name, shape in shapes.items():
        if filled > len(shards) * total / FILES:
            shards.append({})
        shards[-1][name] = shape
        filled += 2 * int(numpy.prod(shape))
    random, weight_map = numpy.random.default_rng(SEED), {}
    for number, shard in enumerate(shards, start=1):
        file = f"model-{number:05}-of-{len(shards):05}.safetensors"
        write(folder / file, shard, random)
        weight_map |= dict.fromkeys(shard, file)
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return total, max(path.stat().st_size for path in folder.glob("*.safetensors"))


def write(path: Path, shapes: dict[str, tuple[int, ...]], random: numpy.random.Generator) -> None:
    """Write one file; the values are small numbers of bfloat16, drawn a tensor at a time."""
    header, end = {}, 0
    for name, shape in shapes.items():
        size = 2 * int(numpy.prod(shape))
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    with path.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        for shape in shapes.values():
            values = random.standard_normal(shape, dtype=numpy.float32) * numpy.float32(0.02)
            stream.write((values.view(numpy.uint32) >> 16).astype(numpy.uint16).tobytes())


def convert(source: Path, dest: Path, *options: str) -> dict[str, Any]:
    """Run `dlm convert` in a process of its own; return its peaks of memory in MiB and its seconds."""
    began = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", "dlm", "convert", *options, str(source), str(dest)], cwd=ROOT)
    peaks = {"resident": 0.0, "anonymous": 0.0}
    while process.poll() is None:
        for kind, key in (("resident", "VmHWM"), ("anonymous", "RssAnon")):
            peaks[kind] = max(peaks[kind], status(process.pid, key))
        time.sleep(0.01)
    if process.returncode:
        sys.exit(f"dlm convert ended with {process.returncode}")
    return {
        **{f"{kind}_mib": round(peak, 1) for kind, peak in peaks.items()},
        "seconds": round(time.monotonic() - began, 1),
    }


def status(pid: int, key: str) -> float:
    """Return a figure of a process's memory in MiB; 0 once it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{key}:")), 0.0)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="convert-memory-") as place:
        folder = Path(place)
        total, largest = generate(folder / "source")
        interpreter = convert(PARITY, folder / "small")
        peak = convert(folder / "source", folder / "native")
        back = convert(folder / "native", folder / "again", "--back")
    above = {kind: round(peak[f"{kind}_mib"] - interpreter[f"{kind}_mib"], 1) for kind in ("resident", "anonymous")}
    bound = round(1.5 * largest / MIB, 1)
    result = {
        "what": __doc__.splitlines()[0],
        "checkpoint_mib": round(total / MIB, 1),
        "files": FILES,
        "largest_file_mib": round(largest / MIB, 1),
        "interpreter": interpreter,
        "convert": peak,
        "convert_back": back,
        "above_the_interpreter_mib": above,
        "bound_mib": bound,
        "holds": max(above.values()) <= bound,
    }
    print(record("convert_memory", result).read_text())
    sys.exit(not result["holds"])


if __name__ == "__main__":
    main()
