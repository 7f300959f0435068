"""Benchmarks that count something: they count right. What they time is nobody's to test."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from doubles import small_denoiser

from dlm.models import Denoiser
from dlm.sampling import Sampler
from dlm.settings import preset


@pytest.fixture
def benchmark(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    monkeypatch.syspath_prepend(str(repository / "benchmarks"))
    return importlib.import_module


@pytest.fixture
def company(benchmark: Callable[[str], Any]) -> Any:
    return benchmark("company")


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


def test_the_gpus_benchmark_runs_on_a_cpu_at_a_small_size(
    benchmark: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu_sampling.py", "--small", "--rounds", "1"])
    benchmark("gpu_sampling").main()
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    told = [(row["batch"], row["tokens per pass"], row["cache"]) for row in rows]
    assert told == [(b, n, cache) for b in (1, 2) for n in (1, 3) for cache in ("none", "prefix", "dual")]
    assert all(row["tokens per second"] > 0 and row["floor's tokens per second"] > 0 for row in rows)


@pytest.mark.parametrize("per_pass", [1, 3])
@pytest.mark.parametrize("cache", ["none", "prefix", "dual"])
def test_the_floor_is_of_the_passes_that_are_made(benchmark: Callable[[str], Any], cache: str, per_pass: int) -> None:
    gpu = benchmark("gpu_sampling")
    seen: list[tuple[int, int]] = []

    class Counting(Denoiser):
        def logits(self, tokens_BL: Any, attention: Any, at_BL: Any, *more: Any, **options: Any) -> Any:
            seen.append((tokens_BL.shape[1], int(at_BL.sum())))
            return super().logits(tokens_BL, attention, at_BL, *more, **options)

    plain = gpu.make_model(gpu.SMALL, torch.device("cpu"))
    model = Counting(plain.model, plain.tokenizer, plain.conventions).eval()
    Sampler(model, gpu.settings_of(gpu.SMALL, cache, per_pass)).sample([list(range(1, 1 + gpu.SMALL.prompt))])
    assert seen == [(columns, opened) for columns, opened, _ in gpu.passes(gpu.SMALL, cache, per_pass)]
