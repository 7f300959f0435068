"""Questions to a hub: asked again where a fault may pass, and answered in one line where it does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from dlm.errors import RemoteError

T = TypeVar("T")
ATTEMPTS = 5
FIRST_WAIT = 0.5
"""Seconds before the second attempt; each further wait is twice as long."""


def asked(where: str, ask: Callable[[], T], *, again: bool = True) -> T:
    """Return what ``ask`` gives, asking again, a few times, where a server failed or broke off.

    Args:
        where: `repository@revision`, for messages.
        ask: a call of the hub's client or of a library that uses it.
        again: whether asking twice gives the same; not so of an iterator.

    Raises:
        RemoteError: it was not given; one line that says why and what to do.
    """
    from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential

    retrying = Retrying(
        stop=stop_after_attempt(ATTEMPTS if again else 1),
        wait=wait_exponential(multiplier=FIRST_WAIT),
        retry=retry_if_exception(may_pass),
        reraise=True,
    )
    try:
        return retrying(ask)
    except Exception as error:  # the clients raise errors of many unrelated classes
        raise RemoteError(f"{where}: {_reason(error)}") from error


def may_pass(error: BaseException) -> bool:
    """Return whether asking again can help: the server failed, had too much to do, or the connection broke."""
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    if any(isinstance(each, OfflineModeIsEnabled) for each in _chain(error)):
        return False
    if isinstance(error, LocalEntryNotFoundError):
        # What the client says of a checkpoint where the hub failed and nothing is here.
        return any(isinstance(each, HfHubHTTPError) and may_pass(each) for each in _chain(error)[1:])
    if isinstance(error, HfHubHTTPError):
        return error.response is None or error.response.status_code == 429 or error.response.status_code >= 500
    # Those of the HTTP library, whichever one the client uses, are named for what happened.
    return isinstance(error, ConnectionError | TimeoutError) or any(
        word in type(error).__name__
        for word in ("ConnectError", "ProtocolError", "Timeout", "ReadError", "NetworkError")
    )


def _reason(error: Exception) -> str:
    from huggingface_hub import errors

    named = {
        errors.OfflineModeIsEnabled: "the hub was not asked, HF_HUB_OFFLINE is set; prepare where there is a network",
        errors.GatedRepoError: "gated: accept its terms at the hub, then give your token (HF_TOKEN)",
        errors.RepositoryNotFoundError: "the hub has no such repository, or it is private; correct it, or set HF_TOKEN",
        errors.RevisionNotFoundError: "the hub has no such revision of it; correct `revision` in the params file",
        errors.LocalEntryNotFoundError: "the hub cannot be reached, nor is it here; prepare where there is a network",
    }
    for kind, words in named.items():
        if any(isinstance(each, kind) for each in _chain(error)):
            return words
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    if isinstance(error, errors.HfHubHTTPError) and error.response is not None and may_pass(error):
        return f"the hub answered {error.response.status_code} {ATTEMPTS} times; try again later"
    if may_pass(error):
        return f"the hub cannot be reached ({reason}); prepare where there is a network"
    return f"the hub did not give it ({type(error).__name__}: {reason})"


def _chain(error: BaseException | None) -> list[BaseException]:
    """Return an error and those that it came from."""
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found
