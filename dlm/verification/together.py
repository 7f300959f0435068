"""What cases say about each other: their names and their sources' commits, which no other number depends on."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dlm.verification.cases import Case

_MOST = 0.9
"""Share of a file's names that must be in order for the others to be out of it."""


def check_ids(cases: Sequence[Case]) -> Iterator[tuple[int, str]]:
    """Yield names that occur twice, or that break the rising numbers of their file (`loss_00`, `loss_01`, …)."""
    counts = Counter(case.id for case in cases)
    for place, case in enumerate(cases):
        if case.id is not None and counts[case.id] > 1:
            yield place, f"id: {counts[case.id]} cases of this file have it"
    series: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for place, case in enumerate(cases):
        if found := re.fullmatch(r"(.*[a-z])_(\d+)", case.id or ""):
            series[found[1]].append((place, int(found[2])))
    for numbered in series.values():
        ordered = _longest_rise([number for _, number in numbered])
        if len(ordered) >= _MOST * len(numbered):
            for index, (place, _) in enumerate(numbered):
                if index not in ordered:
                    yield place, "id: its number is out of the order of its file"


def usual_versions(cases: Sequence[Case]) -> dict[str, str]:
    """Return the commit or version of each repository that more than half of those who name one name."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for case in cases:
        for repository, version in _versions(case.data):
            counts[repository][version] += 1
    most = {repository: counter.most_common(1)[0] for repository, counter in counts.items()}
    return {name: version for name, (version, often) in most.items() if often > counts[name].total() / 2}


def check_versions(case: Case, usual: Mapping[str, str]) -> Iterator[str]:
    """Yield the commits and versions of a case that are not the usual ones."""
    for repository, version in _versions(case.data):
        if version != usual.get(repository, version):
            yield f"source: {repository} at {version}, but most cases name {usual[repository]}"


def _versions(value: Any) -> Iterator[tuple[str, str]]:
    """Repositories with commit or version, anywhere in a case."""
    if isinstance(value, Mapping):
        if isinstance(value.get("repo"), str):
            version = value.get("commit") or value.get("version")
            if isinstance(version, str):
                yield value["repo"], version
        for each in value.values():
            yield from _versions(each)


def _longest_rise(numbers: Sequence[int]) -> set[int]:
    """Indices of a longest strictly rising subsequence."""
    tails: list[int] = []
    ends: list[int] = []
    before: list[int] = []
    for index, number in enumerate(numbers):
        at = bisect_left(tails, number)
        tails[at:], ends[at:] = [number, *tails[at + 1 :]], [index, *ends[at + 1 :]]
        before.append(ends[at - 1] if at else -1)
    rise: set[int] = set()
    index = ends[-1] if ends else -1
    while index >= 0:
        rise.add(index)
        index = before[index]
    return rise
