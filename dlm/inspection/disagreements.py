"""The documents on which two settings disagree, paired, and whether chance explains which of them does better."""

from __future__ import annotations

from dataclasses import dataclass

from dlm.errors import SettingsError
from dlm.inspection.answers import Answer, answers_of
from dlm.inspection.rows import Row
from dlm.settings.metrics import metric_kind


@dataclass(frozen=True, kw_only=True)
class Disagreements:
    """Two rows over the documents that both answered."""

    one: Row
    other: Row
    pairs: tuple[tuple[Answer, Answer], ...]
    """The answers to documents of which they counted differently, in the order of the one's."""
    both_right: int
    """Documents of which both have all; of graded ones and losses, which both count alike."""
    neither_right: int
    """Documents of which neither has all, counted alike; of losses always 0."""
    only_one: int
    """Documents on which the one does better."""
    only_other: int
    """Documents on which the other does better."""
    left_out: int
    """Documents that one of them alone was asked."""
    all_or_nothing: bool
    """Whether every document is either right or wrong, so that the test is McNemar's."""

    @property
    def n(self) -> int:
        """Documents that both answered."""
        return self.both_right + self.neither_right + self.only_one + self.only_other

    @property
    def p_value(self) -> float:
        """Two-sided probability of so uneven a split of the disagreements, were each way as likely.

        The exact binomial test of McNemar (Psychometrika 12, 1947); of graded documents it is the sign test, which is
        the same sum. 1 where they never disagree.
        """
        from scipy.stats import binomtest

        split = self.only_one + self.only_other
        return float(binomtest(self.only_one, split).pvalue) if split else 1.0

    @property
    def test(self) -> str:
        """What the test is called."""
        return "exact McNemar test" if self.all_or_nothing else "sign test"


def disagreements(one: Row, other: Row) -> Disagreements:
    """Pair the answers of two rows by document.

    Raises:
        SettingsError: they answer other tasks, are scored by other metrics, or share no document.
        DataError: the answers are missing or do not fit the scores.
    """
    for what, mine, others in (
        ("tasks", one.cell.task, other.cell.task),
        ("metrics", f"{one.cell.metric} ({one.cell.filter})", f"{other.cell.metric} ({other.cell.filter})"),
    ):
        if mine != others:
            raise SettingsError(f"{one.address} and {other.address} are of other {what}: {mine} and {others}")
    mine_by_id = {answer.doc_id: answer for answer in answers_of(one)}
    others_by_id = {answer.doc_id: answer for answer in answers_of(other)}
    shared = [doc_id for doc_id in mine_by_id if doc_id in others_by_id]
    if not shared:
        raise SettingsError(f"{one.address} and {other.address} share no document; score both on the same test set")
    pairs = [(mine_by_id[doc_id], others_by_id[doc_id]) for doc_id in shared]
    sign = 1 if metric_kind(one.cell.metric).higher_is_better else -1
    gaps = [sign * (mine.share - theirs.share) for mine, theirs in pairs]
    alike = [mine for (mine, _), gap in zip(pairs, gaps, strict=True) if gap == 0]
    whole = sum(sign < 0 or answer.share == 1 for answer in alike)
    return Disagreements(
        one=one,
        other=other,
        pairs=tuple(pair for pair, gap in zip(pairs, gaps, strict=True) if gap),
        both_right=whole,
        neither_right=len(alike) - whole,
        only_one=sum(gap > 0 for gap in gaps),
        only_other=sum(gap < 0 for gap in gaps),
        left_out=len(mine_by_id) + len(others_by_id) - 2 * len(shared),
        all_or_nothing=sign > 0 and all(answer.share in (0, 1) for pair in pairs for answer in pair),
    )
