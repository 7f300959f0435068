"""Files of recorded answers, made by hand: four benchmarks, each with right and wrong answers."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

END = "<|eot_id|><|endoftext|>"
PUZZLE, SOLUTION = "0234341221434321", "1234341221434321"


def line(
    task: str, gold: Any, generation: str, question: str = "q", length: int = 128, **fields: Any
) -> dict[str, Any]:
    settings = {"gen_length": length, "steps": length // 2, "block_length": 32}
    return {"task": task, "question": question, "gold": gold, "generation": generation, **settings, **fields}


def sudoku(generation: str, puzzle: str = PUZZLE, **fields: Any) -> dict[str, Any]:
    return line("sudoku", SOLUTION, generation, f"Solve the following Sudoku puzzle: {puzzle}\n", **fields)


LINES = [
    line("gsm8k", 18.0, rf"so\n</reasoning>\n<answer>\n\boxed{{18}}\n</answer>{END}"),
    line("gsm8k", 1200.0, rf"<answer>\boxed{{1,200}}</answer>{END}"),
    line("gsm8k", None, rf"<answer>\boxed{{-10}}</answer>{END}"),
    line("gsm8k", 18.0, rf"\boxed{{18}}{END}", length=256),
    line("math500", r"\frac{1}{2}", rf"<answer>\boxed{{\dfrac12}}</answer>{END}"),
    line("math500", "7", r"<answer>\boxed{8}</answer>"),
    line("countdown", [[1, 2, 3], 6], rf"<answer>\boxed{{1 \times 2 \times 3 = 6}}</answer>{END}"),
    line("countdown", [[1, 2, 3], 6], r"\boxed{3 + 3}"),
    sudoku(f"</reasoning>\n<answer>\n{SOLUTION}\n</answer>{END}"),
    sudoku("<answer>2222222222222222</answer>", puzzle="0034341221434321"),
]
EXPECTED = [
    ("gsm8k", "128", "64", "3", "33.33"),
    ("gsm8k", "256", "128", "1", "100.00"),
    ("math500", "128", "64", "2", "50.00"),
    ("countdown", "128", "64", "2", "50.00"),
    ("sudoku", "128", "64", "2", "66.67"),
]


def write(path: Path, lines: Iterable[Any] = LINES) -> Path:
    text = "".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in lines).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path
