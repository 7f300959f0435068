"""Run a module's code where torch is not installed: ``python without_torch.py -c CODE ARGUMENT...``, or with ``-m``."""

from __future__ import annotations

import runpy
import sys
from typing import Any


class Without:
    """A finder of modules that knows no torch."""

    def __init__(self, finder: Any) -> None:
        self._finder = finder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._finder, name)

    def find_spec(self, name: str, *where: Any) -> Any:
        return None if name.partition(".")[0] == "torch" else self._finder.find_spec(name, *where)


if __name__ == "__main__":
    sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
    _, flag, what, *rest = sys.argv
    sys.argv = [what, *rest]
    sys.path.pop(0)  # this folder
    if flag == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        exec(what)
