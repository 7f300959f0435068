"""Benchmarks that count something: they count right. What they time is nobody's to test."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
from doubles import small_denoiser

from dlm.models import Denoiser
from dlm.settings import preset


@pytest.fixture
def company(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(repository / "benchmarks"))
    return importlib.import_module("company")


class Unlike(Denoiser):
    """A model that prefers another token when it is asked about one prompt alone."""

    def logits(self, tokens_BL: Any, *arguments: Any, **options: Any) -> Any:
        logits_NV = super().logits(tokens_BL, *arguments, **options)
        logits_NV[:, 17] += (len(tokens_BL) == 1) * 1000.0
        return logits_NV


PROMPTS = [[4, 5], [6, 7], [8, 9]]


def test_company_is_found_to_change_nothing(company: Any) -> None:
    found = company.compare(small_denoiser(), preset("llada", max_new_tokens=6), PROMPTS)
    assert (found["prompts"], found["answers that differ"], found["orders that differ"]) == (3, 0, 0)
    assert (found["differences"], found["forward passes"]) == ([], 18)


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_a_difference_is_told_with_its_margin(company: Any, temperature: float) -> None:
    plain = small_denoiser()
    model = Unlike(plain.model, plain.tokenizer, plain.conventions).eval()
    found = company.compare(model, preset("llada", max_new_tokens=6, temperature=temperature), PROMPTS)
    assert found["answers that differ"] == found["confidences that differ"] == 3
    assert [each["prompt"] for each in found["differences"]] == [0, 1, 2]
    assert {each["pass"] for each in found["differences"]} == {0}
    for each in found["differences"]:
        # Alone all confidences are 1: a tie, which the lowest position wins. Another token won by what was added to it.
        assert each["margin"] == 0.0 if each["decision"] == "order" else each["margin"] > 500
