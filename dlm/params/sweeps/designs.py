"""Designs: which combinations of levels a sweep answers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dlm.errors import SettingsError
from dlm.settings.sweep import Factor, LatinHypercube, Sobol, Sweep
from dlm.settings.telling import word


@dataclass(frozen=True)
class Level:
    """One level of a factor: its name, what constraints compare, and the settings that it changes."""

    name: str
    value: Any
    changes: tuple[tuple[str, Any], ...]


Assignment = Mapping[str, Level]
"""A level of each factor, by the factor's name, in the order of the sweep file."""
_FORBIDDEN = set("/+=@,;\"'|\n\t ")
"""What a level's name may not hold, since a setting's name is made of it."""


def levels_of(name: str, factor: Factor) -> tuple[Level, ...]:
    """Return the levels of a factor that lists them.

    Raises:
        SettingsError: a value has no short name, or a name cannot stand in that of a setting.
    """
    setting = factor.setting or name
    found = [Level(key, key, tuple(changes.items())) for key, changes in factor.levels.items()]
    for value in factor.values:
        if isinstance(value, dict | list):
            raise SettingsError(f"{value} has no name; write it under `levels`, by the name that it shall have")
        found.append(Level(word(value), value, ((setting, value),)))
    names = [level.name for level in found]
    for level in names:
        if not level or _FORBIDDEN & set(level) or not level.isprintable():
            raise SettingsError(f"level '{level}' cannot stand in a setting's name; use letters, digits, -_.")
        if names.count(level) > 1:
            raise SettingsError(f"level '{level}' is there twice; keep one")
    return tuple(found)


def assignments(sweep: Sweep, factors: Mapping[str, Factor]) -> Iterator[Assignment]:
    """Yield the combinations of a design, each once; one that lacks a factor leaves it as in the baseline."""
    if sweep.design == "one_at_a_time":
        for name, factor in factors.items():
            yield from ({name: level} for level in levels_of(name, factor))
    elif sweep.design == "grid":
        lists = [levels_of(name, factor) for name, factor in factors.items()]
        yield from (dict(zip(factors, chosen, strict=True)) for chosen in itertools.product(*lists))
    elif factors:
        yield from _sampled(sweep.design, factors)


def _sampled(design: LatinHypercube | Sobol | str, factors: Mapping[str, Factor]) -> Iterator[Assignment]:
    from scipy.stats import qmc

    if isinstance(design, Sobol):
        points = qmc.Sobol(len(factors), rng=design.seed).random_base2(design.samples.bit_length() - 1)
    else:
        assert isinstance(design, LatinHypercube)
        points = qmc.LatinHypercube(len(factors), rng=design.seed).random(design.samples)
    lists = {name: () if factor.is_range else levels_of(name, factor) for name, factor in factors.items()}
    seen = set()
    for point in points.tolist():
        chosen = {
            name: _at(name, factor, lists[name], place)
            for (name, factor), place in zip(factors.items(), point, strict=True)
        }
        key = tuple(level.name for level in chosen.values())
        if key not in seen:
            seen.add(key)
            yield chosen


def _at(name: str, factor: Factor, levels: Sequence[Level], place: float) -> Level:
    """Return the level at a place from 0 to 1 of a factor."""
    if levels:
        return levels[min(int(place * len(levels)), len(levels) - 1)]
    assert factor.low is not None and factor.high is not None
    low, high = factor.low, factor.high
    if factor.log:
        value = math.exp(math.log(low) + place * (math.log(high) - math.log(low)))
    else:
        value = low + place * (high - low)
    exact: float = round(value)
    if factor.decimals:
        exact = float(f"{value:.{factor.decimals}g}") if factor.log else round(value, factor.decimals)
    return Level(word(exact), exact, ((factor.setting or name, exact),))
