"""Small range checks that quote the bad value and the allowed range."""

from __future__ import annotations

from collections.abc import Collection

from dlm.errors import SettingsError, did_you_mean


def at_least(name: str, value: float, low: float) -> None:
    """Refuse ``value`` below ``low``."""
    if not value >= low:
        raise SettingsError(f"{name} must be at least {low}, got {value}")


def above(name: str, value: float, low: float) -> None:
    """Refuse ``value`` at or below ``low``."""
    if not value > low:
        raise SettingsError(f"{name} must be above {low}, got {value}")


def between(name: str, value: float, low: float, high: float) -> None:
    """Refuse ``value`` outside the closed range from ``low`` to ``high``."""
    if not low <= value <= high:
        raise SettingsError(f"{name} must be from {low} to {high}, got {value}")


def one_of(name: str, value: str, known: Collection[str]) -> None:
    """Refuse ``value`` that is not among ``known``."""
    if value not in known:
        raise SettingsError(f"{name}: unknown '{value}'; {did_you_mean(value, known)}")
