"""One file of a public repository, over HTTP, with a few retries."""

from __future__ import annotations

import http.client
import os
import urllib.error
import urllib.parse
import urllib.request

from dlm.errors import RemoteError

BASE_VARIABLE = "DLM_GITHUB_RAW"
"""Environment variable with another server to fetch from, such as a mirror."""
BASE = "https://raw.githubusercontent.com"
ATTEMPTS = 4
FIRST_WAIT = 1.0
"""Seconds before the second attempt; each further wait is twice as long."""
TIMEOUT = 30.0
"""Seconds without a byte after which an attempt counts as failed."""


class _TransientError(RemoteError):
    """A fault that may pass: trying again can help."""


def fetch_github(
    repository: str, revision: str, file: str, base: str | None = None, hint: str = ""
) -> tuple[str, bytes]:
    """Return (URL, content) of ``file`` of the GitHub ``repository`` at ``revision``.

    ``base`` is another server than GitHub's (else the environment variable DLM_GITHUB_RAW); ``hint`` says what can be
    done without a network.

    Raises:
        RemoteError: it could not be fetched whole, in a few attempts if the fault may pass.
    """
    from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

    base = (base or os.environ.get(BASE_VARIABLE) or BASE).rstrip("/")
    if not base.startswith(("http://", "https://")):
        raise RemoteError(f"{BASE_VARIABLE} must begin with http:// or https://, got '{base}'")
    url = f"{base}/{urllib.parse.quote(f'{repository}/{revision}/{file}')}"
    retrying = Retrying(
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_exponential(multiplier=FIRST_WAIT),
        retry=retry_if_exception_type(_TransientError),
        reraise=True,
    )
    return url, retrying(_get, url, hint or "or give a copy of the file as 'path' in the params file")


def _get(url: str, hint: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as response:
            return bytes(response.read())
    except urllib.error.HTTPError as error:
        raise _refused(url, error) from error
    except http.client.IncompleteRead as error:
        raise _TransientError(f"{url}: the connection broke after {len(error.partial)} bytes; try again") from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise _TransientError(f"{url}: cannot be reached ({_one_line(reason)}); check the network, {hint}") from error


def _refused(url: str, error: urllib.error.HTTPError) -> RemoteError:
    if error.code == 429 or error.code >= 500:
        return _TransientError(f"{url}: the server answered {error.code} {ATTEMPTS} times; try again later")
    if error.code == 404:
        return RemoteError(f"{url}: not found (404); check repository, revision and file in the params file")
    return RemoteError(f"{url}: refused with status {error.code}")


def _one_line(value: object) -> str:
    return " ".join(str(value).split())
