"""Small things to evaluate: a byte tokenizer, a network with random weights, test sets and cells."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlm.files import write_jsonl, write_manifest
from dlm.models import Denoiser, load_denoiser, make_denoiser, save_denoiser
from dlm.settings import (
    Architecture,
    EvenSelector,
    ExecutionSettings,
    FullCanvas,
    LikelihoodSettings,
    Proposer,
    SamplerSettings,
    Task,
)

SPECIAL = ("<|endoftext|>", "<|mask|>", "<|im_start|>", "<|im_end|>")
TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
SAMPLER = SamplerSettings(canvas=FullCanvas(max_new_tokens=8), selector=EvenSelector(steps=4))
WARM = SamplerSettings(
    canvas=FullCanvas(max_new_tokens=8), proposer=Proposer(temperature=1.0), selector=EvenSelector(steps=8)
)
EXECUTION = ExecutionSettings(batch_size=4, device="cpu")

DOCUMENTS: dict[str, list[dict[str, Any]]] = {
    "words": [
        {"id": "w0", "question": "Ann has 3 pens and gets 4. How many?", "answer": "7"},
        {"id": "w1", "question": "Bob has 9 cups and loses 2. How many?", "answer": "7"},
        {"id": "w2", "question": "Cy has 1 hat and gets 1. How many?", "answer": "2"},
    ],
    "countdown": [
        {"id": "c0", "question": "Use 1, 2, 3 to make 6.", "answer": "1+2+3", "numbers": [1, 2, 3], "target": 6},
        {"id": "c1", "question": "Use 2, 5, 9 to make 12.", "answer": "9-2+5", "numbers": [2, 5, 9], "target": 12},
    ],
    "sudoku": [
        {
            "id": "s0",
            "question": "Fill this grid:\n1234\n3412\n2143\n4320",
            "answer": "1234\n3412\n2143\n4321",
            "puzzle": "1234341221434320",
            "solution": "1234341221434321",
        },
        {
            "id": "s1",
            "question": "Fill this grid:\n0004\n3412\n2143\n4321",
            "answer": "1234\n3412\n2143\n4321",
            "puzzle": "0004341221434321",
            "solution": "1234341221434321",
        },
    ],
    "choice": [
        {"id": "n0", "question": "2 4 6", "answer": "8", "choices": ["7", "8", "9", "10"], "gold": 1},
        {"id": "n1", "question": "9 8 7", "answer": "6", "choices": ["8", "10", "6", "5"], "gold": 2},
    ],
}
GENERATE = {"output": "generate", "sampler": "short"}
TASKS = {
    "words": Task(title="W", lm_eval="dlm_word_problems", metric="exact_match", dataset="words", **GENERATE),
    "countdown": Task(title="C", lm_eval="dlm_countdown", metric="exact_match", dataset="countdown", **GENERATE),
    "sudoku": Task(title="S", lm_eval="dlm_sudoku", metric="cell_accuracy", dataset="sudoku", **GENERATE),
    "choice": Task(title="N", lm_eval="dlm_number_choice", metric="acc", dataset="choice", output="likelihood"),
}


@dataclass(frozen=True, kw_only=True)
class ExampleCell:
    """What a plan says of a cell, without a params file."""

    checkpoint: str = "tiny"
    task: str
    task_settings: Task
    setting: str = "short"
    chat: bool = True
    response_prefix: str = ""
    sampler: SamplerSettings | None = SAMPLER
    likelihood: LikelihoodSettings | None = None
    seed: int = 0
    dataset: str | None = None
    execution: ExecutionSettings | None = None


def cell(name: str, **changes: Any) -> Any:
    """The cell of one of TASKS, its settings changed."""
    settings = TASKS[name]
    fields: dict[str, Any] = {"task": name, "task_settings": settings, "dataset": settings.dataset}
    if settings.output == "likelihood":
        fields |= {"setting": "mc3", "sampler": None, "likelihood": LikelihoodSettings(samples=3)}
    return ExampleCell(**{**fields, **changes})


def byte_tokenizer() -> Any:
    """A tokenizer with a token a byte, and ChatML's special tokens and template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate((*SPECIAL, *alphabet))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=SPECIAL[0],
        pad_token=SPECIAL[0],
        mask_token=SPECIAL[1],
        additional_special_tokens=list(SPECIAL[2:]),
    )
    fast.chat_template = TEMPLATE
    return fast


def tiny_denoiser(seed: int = 0, max_positions: int = 128) -> Denoiser:
    """A bidirectional network with random weights and outputs far from uniform."""
    sizes = Architecture(
        model_type="llama", hidden_size=32, layers=1, heads=4, intermediate_size=48, max_positions=max_positions
    )
    made = make_denoiser(sizes, byte_tokenizer(), causal=False, shift=False, seed=seed)
    made.model.get_output_embeddings().weight.data.mul_(40)
    return made.eval()


def save_checkpoint(folder: Path, seed: int = 0) -> Denoiser:
    """Save a network with random weights, and load it again."""
    folder.mkdir(parents=True)
    save_denoiser(tiny_denoiser(seed), folder, name="tiny", made_from={})
    return load_denoiser(folder, EXECUTION)


def save_documents(folder: Path, rows: list[dict[str, Any]]) -> None:
    """Save a prepared test set."""
    folder.mkdir(parents=True, exist_ok=True)
    write_jsonl(folder / "test.jsonl", rows)
    write_manifest(folder, kind="dataset", name=folder.name, made_from={})
