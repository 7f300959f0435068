"""An answer in a terminal: drawn in place where it is one, a line a step where it is not."""

from __future__ import annotations

import time
from collections.abc import Collection
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.text import Text

from dlm.progress import legible
from dlm.watching.picture import Style, cells, status
from dlm.watching.trace import Picture, Trace

STYLES: dict[Style, str] = {"masked": "dim", "new": "bold reverse", "written": "", "special": "dim"}
_PROMPT_LINES = 6


class Viewer:
    """Shows pictures one after the other; use as a context manager.

    Args:
        console: where.
        prompt: what is answered, shown above; "": nothing.
        special: texts of tokens that are no text.
        slowest: pictures a second at the most; None: as they come.
        ends: whether what follows the first token that is no text is left out.
    """

    def __init__(
        self,
        console: Console,
        prompt: str = "",
        special: Collection[str] = (),
        slowest: float | None = None,
        *,
        ends: bool = False,
    ) -> None:
        self.console, self.prompt, self.special = console, prompt, special
        self.slowest, self.ends = slowest, ends
        self._live: Live | None = None
        self._shown = 0.0

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._live = Live(console=self.console, auto_refresh=False)
            self._live.start()
        return self

    def show(self, picture: Picture) -> None:
        """Show the next picture."""
        if self.slowest and picture.number:
            time.sleep(max(0.0, self._shown + 1 / self.slowest - time.monotonic()))
        self._shown = time.monotonic()
        if self._live:
            self._live.update(self._drawn(picture), refresh=True)
        else:
            self.console.print(_plain(picture, self.special), soft_wrap=True)

    def _drawn(self, picture: Picture) -> Group:
        shown = cells(picture, self.special)
        if self.ends:
            shown = shown[: next((place for place, text in enumerate(picture.texts) if text in self.special), None)]
        answer = Text.assemble(*((text, STYLES[style]) for text, style in shown), overflow="fold")
        title = Text("answer", style="dim")
        panel = Panel(answer, title=title, title_align="left")
        told = Text(status(picture), style="dim")
        return Group(Text(_end(self.prompt), style="dim"), panel, told) if self.prompt else Group(panel, told)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()


def play(trace: Trace, console: Console, pictures_per_second: float) -> None:
    """Show a trace at a pace that eyes can follow."""
    with Viewer(console, trace.prompt, trace.special, pictures_per_second if console.is_terminal else None) as viewer:
        for picture in trace.pictures():
            viewer.show(picture)


def _plain(picture: Picture, special: Collection[str]) -> Text:
    """Return a picture as one line, the tokens of the last pass in brackets."""
    parts = []
    for text, style in cells(picture, special):
        shown = text.replace("\n", "")
        parts.append(f"[{shown}]" if style == "new" else shown)
    return Text(f"{status(picture)} | {''.join(parts)}")


def _end(prompt: str) -> str:
    """Return the last lines of a prompt, where the question stands."""
    found = legible(prompt).rstrip("\n").split("\n")
    return "\n".join(["…", *found[-_PROMPT_LINES:]] if len(found) > _PROMPT_LINES else found)
