"""Numbers of a metric as readers see them: shares in percent, losses in their own unit."""

from __future__ import annotations

import math

from dlm.settings.metrics import MetricKind


def shown(kind: MetricKind, value: float) -> str:
    """Format a value, or its standard error: percent with one decimal; a loss with four digits."""
    return f"{value:.4g}" if kind.loss else percent(value)


def shown_change(kind: MetricKind, change: float) -> str:
    """Format a difference of two rates, with its sign: of a perplexity, the factor between the two as well."""
    if not kind.loss:
        return percent(change, sign=True)
    text = f"{round(change, 3) + 0.0:+.3f}"
    return f"{text}, ×{kind.value(change):.3f}" if kind.exponential else text


def shown_error(kind: MetricKind, error: float) -> str:
    """Format the standard error of a difference of two rates."""
    return f"{error:.3f}" if kind.loss else percent(error)


def unit_of_changes(kind: MetricKind) -> str:
    """Return, in words, what a difference of two rates is measured in."""
    if not kind.loss:
        return "percentage points"
    return f"{'nats' if kind.base == math.e else 'bits'} per {kind.each}"


def percent(share: float, *, sign: bool = False) -> str:
    """Format a share (0 to 1) as percent with one decimal; no minus before zero."""
    value = round(100 * share, 1) + 0.0
    return f"{value:+.1f}" if sign else f"{value:.1f}"


def decimal(value: float | None) -> str:
    """Format a number with six decimals; nothing for None or infinity, no minus before zero."""
    return "" if value is None or math.isinf(value) else f"{round(value, 6) + 0.0:.6f}"
