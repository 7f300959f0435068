"""Does a prompt's company change its answer? Every preset on trained models, alone and in batches of 16.

    python benchmarks/company.py [CHECKPOINTS ...] [--prompts N] [--preset NAME]

CHECKPOINTS are folders of the tiny scale's checkpoints, beside the `data` that they were trained on; the project's own,
results/tiny/checkpoints, where none is given. Each preset asks the model it is for the questions of the test sets, then
held-out ones, at temperature 0 and above: each prompt alone, then all in batches. Counted are the prompts whose answers
differ, those whose tokens were committed in other passes, and those of which a confidence differs in any bit.

Of each difference in answer or order the first pass with other commits is told, with the margin of its decision:
between the scores of the two tokens of which one was committed, between a score and the threshold, or, where another
token was drawn, between the two best logits with their noise; null where chance alone decided.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from common import demand, record
from torch import Tensor

import dlm.sampling.sampler as sampling
from dlm.data import load_rows
from dlm.diffusion.noise import gumbel
from dlm.models import Denoiser, load_denoiser
from dlm.sampling import Sample, Sampler
from dlm.settings import PRESETS, GrowingCanvas, SamplerSettings, preset

OWN = Path(__file__).resolve().parent.parent / "results" / "tiny" / "checkpoints"
MODELS = {"dream": "dream-instruct-sft", "fast-dllm-dream": "dream-instruct-sft", "bd3lm": "qwen3-bd3lm"}
"""Checkpoint of the presets whose names begin so; the others are LLaDA's."""
TESTS, HELD_OUT = ("word_problems", "countdown", "sudoku", "number_choice"), "reasoning"
PROMPTS, BATCH, SEED = 500, 16, 7
TEMPERATURES = (0.0, 0.8)


def settings_of(name: str, temperature: float) -> SamplerSettings:
    """A preset's settings: two blocks where it goes by blocks, two tokens a step where it counts steps."""
    size = 16 if PRESETS[name]["canvas"] is GrowingCanvas else 8
    block = {"block_size": size} if "block_size" in PRESETS[name] else {}
    steps = {"steps": size} if hasattr(PRESETS[name]["selector"], "per_block") else {}
    return preset(name, max_new_tokens=2 * size, temperature=temperature, **block, **steps)


def find_model(folders: Sequence[Path], name: str) -> Path:
    """The folder of the checkpoint that a preset is for."""
    wanted = next((model for start, model in MODELS.items() if name.startswith(start)), "llada-instruct-sft")
    for folder in folders:
        if (folder / wanted / "manifest.json").is_file():
            return folder / wanted
    sys.exit(f"{', '.join(map(str, folders))}: no finished checkpoint {wanted}; train it or give another folder")


def read_prompts(model: Denoiser, data: Path, number: int) -> list[list[int]]:
    """Questions as the model's chat template has them, as tokens."""
    questions = [row["question"] for name in TESTS if (data / name).is_dir() for row in load_rows(data / name, "test")]
    questions += [row["messages"][0]["content"] for row in load_rows(data / HELD_OUT, "held_out")]
    chats = ([{"role": "user", "content": question}] for question in questions[:number])
    texts = [model.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True) for chat in chats]
    return [model.tokenizer.encode(text, add_special_tokens=False) for text in texts]


class Listening(Sampler):
    """A sampler of one prompt that tells of each pass the scores, and by how much the drawn tokens won."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.scores: list[dict[int, float]] = []
        self.leads: list[dict[int, float]] = []

    def sample(self, *args: Any, **options: Any) -> list[Sample]:
        with mock.patch.object(sampling, "propose", self._propose):
            return super().sample(*args, **options)

    def _propose(self, logits_NV: Tensor, settings: Any, banned: list[int], where: Any) -> Tensor:
        token_N = sampling_propose(logits_NV, settings, banned, where)
        noised_NV = logits_NV.double()
        if settings.temperature:
            noise_NV = gumbel(where.seed, where.stream_N, logits_NV.shape[1], where.step_N, where.position_N)
            noised_NV = noised_NV + settings.temperature * noise_NV
        noised_NV[:, banned] = float("-inf")
        best_N2 = noised_NV.topk(2, dim=1).values
        self.leads.append(dict(zip(where.position_N.tolist(), (best_N2[:, 0] - best_N2[:, 1]).tolist(), strict=True)))
        self.scores.append({})
        return token_N

    def _score(self, logits_NV: Tensor, proposal_NV: Tensor, token_N: Tensor, where: Any, *more: Any) -> Tensor:
        score_N = super()._score(logits_NV, proposal_NV, token_N, where, *more)
        self.scores[-1] = dict(zip(where.position_N.tolist(), score_N.tolist(), strict=True))
        return score_N


sampling_propose = sampling.propose


def commits(sample: Sample, number: int) -> dict[int, int]:
    """What a pass committed: tokens by position."""
    assert sample.steps is not None
    return {place: sample.tokens[place] for place, step in enumerate(sample.steps) if step == number}


def difference(
    model: Denoiser, settings: SamplerSettings, prompt: list[int], index: int, alone: Sample, company: Sample
) -> dict[str, Any]:
    """Where two answers to a prompt part, and by which margin the first different decision was taken."""
    assert alone.steps is not None and company.steps is not None
    passes = range(max(*alone.steps, *company.steps) + 1)
    first = next(number for number in passes if commits(alone, number) != commits(company, number))
    here, there = commits(alone, first), commits(company, first)
    listening = Listening(model, settings, seed=SEED)
    listening.sample([prompt], streams=[index])
    told = {"prompt": index, "answers differ": alone.tokens != company.tokens, "pass": first}
    if other := [place for place in here.keys() & there.keys() if here[place] != there[place]]:
        return {**told, "decision": "token", "margin": min(listening.leads[first][place] for place in other)}
    scores, threshold = listening.scores[first], getattr(settings.selector, "threshold", None)
    only_here, only_there = here.keys() - there.keys(), there.keys() - here.keys()
    gaps = [abs(scores[one] - scores[other]) for one in only_here for other in only_there if scores]
    if threshold is not None and not gaps:
        gaps = [abs(scores[place] - threshold) for place in only_here | only_there]
    return {**told, "decision": "order", "margin": min(gaps, default=None)}


def compare(model: Denoiser, settings: SamplerSettings, prompts: list[list[int]]) -> dict[str, Any]:
    """Answer prompts alone and in company."""
    sampler = Sampler(model, settings, seed=SEED, batch_size=BATCH, record_order=True)
    streams = list(range(len(prompts)))
    began = time.process_time()
    company = sampler.sample(prompts, streams=streams)
    between = time.process_time()
    alone = [sampler.sample([prompt], streams=[stream])[0] for prompt, stream in zip(prompts, streams, strict=True)]
    ended = time.process_time()
    pairs = list(zip(alone, company, strict=True))
    parted = [n for n, (one, other) in enumerate(pairs) if (one.tokens, one.steps) != (other.tokens, other.steps)]
    return {
        "prompts": len(prompts),
        "new tokens": settings.canvas.max_new_tokens,
        "answers that differ": sum(one.tokens != other.tokens for one, other in pairs),
        "orders that differ": sum(one.steps != other.steps for one, other in pairs),
        # Given tokens have no confidence (NaN); their text is equal where their bits are.
        "confidences that differ": sum(str(one.confidences) != str(other.confidences) for one, other in pairs),
        "differences": [difference(model, settings, prompts[n], n, *pairs[n]) for n in parted],
        "forward passes": sum(sample.forward_passes for sample in alone),
        "seconds alone": round(ended - between, 1),
        "seconds in company": round(between - began, 1),
    }


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("checkpoints", nargs="*", type=Path, default=[OWN])
    options.add_argument("--prompts", type=int, default=PROMPTS)
    options.add_argument(
        "--preset",
        dest="presets",
        choices=PRESETS,
        action="append",
        help="only this one (repeatable); nothing is recorded",
    )
    chosen = options.parse_args()
    torch.set_num_threads(1)
    results: dict[str, Any] = {}
    for name in chosen.presets or PRESETS:
        folder = find_model(chosen.checkpoints, name)
        model = load_denoiser(folder)
        prompts = read_prompts(model, folder.parent.parent / "data", chosen.prompts)
        for temperature in TEMPERATURES:
            case = f"{name}, temperature {temperature:g}"
            results[case] = {"checkpoint": folder.name, **compare(model, settings_of(name, temperature), prompts)}
            print(case, json.dumps(results[case]), file=sys.stderr, flush=True)
    if not chosen.presets and chosen.prompts == PROMPTS:
        print(record("company", {"batch": BATCH, "threads": 1, "cases": results}))
    demand({f"the same answers by {case}": not found["answers that differ"] for case, found in results.items()})


if __name__ == "__main__":
    main()
