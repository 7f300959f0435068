"""One file over HTTP, onto the disk: a download that is cut goes on where it was, in this process or a later one."""

from __future__ import annotations

import hashlib
import http.client
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from email.message import Message
from pathlib import Path
from typing import IO

from dlm.errors import RemoteError
from dlm.files import is_no_room, no_room

ATTEMPTS = 6
"""Attempts in a row that may bring nothing; one that brings some bytes is none of them."""
FIRST_WAIT = 0.5
"""Seconds before the next attempt; twice as long after each that brings nothing."""
TIMEOUT = 60.0
"""Seconds without a byte after which an attempt counts as failed."""
_PIECE = 1 << 20


def download(url: str, path: Path, *, size: int, headers: Mapping[str, str], sha256: str | None = None) -> None:
    """Fetch ``url`` into ``path``, by way of ``<path>.part``, which keeps what has come when an attempt breaks off.

    Args:
        url: where it is.
        path: where it goes; there only when whole.
        size: bytes that it has.
        headers: of the request, such as a token; not sent on to another host.
        sha256: what its bytes are, where that is known.

    Raises:
        RemoteError: it could not be fetched whole, in a few attempts if the fault may pass.
        SetupError: the disk is full.
    """
    part = path.with_name(f"{path.name}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    part.touch()
    fruitless = 0
    while (before := part.stat().st_size) < size:
        problem = _go_on(url, part, headers)
        fruitless = fruitless + 1 if part.stat().st_size <= before else 0
        if fruitless == ATTEMPTS:
            raise RemoteError(f"{url}: {problem}; try again later")
        if problem:
            time.sleep(FIRST_WAIT * 2**fruitless)
    _check(url, part, size, sha256)
    os.replace(part, path)


def _go_on(url: str, part: Path, headers: Mapping[str, str]) -> str:
    """Fetch what is missing of a file, as far as the connection holds; return the fault that ended it, if one did."""
    begin = part.stat().st_size
    asked = {**headers, **({"Range": f"bytes={begin}-"} if begin else {})}
    try:
        with _OPENER.open(urllib.request.Request(url, headers=asked), timeout=TIMEOUT) as response:
            if begin and response.status != http.client.PARTIAL_CONTENT:
                os.truncate(part, 0)  # a server that knows no ranges sends all of it
            _append(response, part)
        return ""
    except urllib.error.HTTPError as error:
        if error.code == 429 or error.code >= 500:
            return f"the server answered {error.code}"
        gated = "; if it is gated, accept its terms at the hub, then give your token (HF_TOKEN)"
        raise RemoteError(f"{url}: refused ({error.code}){gated if error.code in (401, 403) else ''}") from error
    except (OSError, http.client.HTTPException) as error:
        reason = " ".join(str(getattr(error, "reason", None) or error).split())
        return f"the connection broke or cannot be made ({reason})"


def _append(response: IO[bytes], part: Path) -> None:
    """Write what comes behind what is there, piece by piece, so that it stays, however the connection ends."""
    with part.open("ab", buffering=0) as stream:
        while piece := response.read1(_PIECE):  # type: ignore[attr-defined]
            try:
                stream.write(piece)
            except OSError as error:
                raise no_room(part, error) if is_no_room(error) else error from error


def _check(url: str, part: Path, size: int, sha256: str | None) -> None:
    """Refuse, and drop, what is not the file that was announced."""
    found = part.stat().st_size
    wrong = f"{found} bytes, not {size}" if found != size else None
    if wrong is None and sha256 is not None:
        with part.open("rb") as stream:
            if hashlib.file_digest(stream, "sha256").hexdigest() != sha256:
                wrong = "other bytes than the hub lists"
    if wrong is not None:
        part.unlink()
        raise RemoteError(f"{url}: what came is not the file ({wrong}); try again")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects; a token goes to the host that it is for, and to no other."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> urllib.request.Request | None:
        """Return the request to the new address."""
        request = super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]
        if request is not None and urllib.parse.urlsplit(newurl).netloc != urllib.parse.urlsplit(req.full_url).netloc:
            request.remove_header("Authorization")
        return request


_OPENER = urllib.request.build_opener(_Redirects)
