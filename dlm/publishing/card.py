"""The model card: metadata as a hub reads them, and the checkpoint's lineage for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlm.inspection.ancestry import Step
from dlm.publishing.results import Score
from dlm.settings.telling import flat

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

TEMPLATE = Path(__file__).with_name("card.md")
_DECIMALS = 6  # as in the tables' CSV


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What a card is about."""

    name: str
    repository: str
    """What transformers is told to load."""
    scale: str
    meaningless: bool
    """The scale is too small for its numbers to mean anything."""
    digest: str
    config: Mapping[str, Any]
    """Of config.json, conventions included."""
    steps: tuple[Step, ...]
    """How it was made, the last step first."""
    scores: tuple[Score, ...]
    has_adapter: bool
    license_id: str | None

    @property
    def conventions(self) -> Mapping[str, Any]:
        """How its outputs are to be read (`dlm.models.Conventions`)."""
        return dict(self.config["diffusion"])

    @property
    def is_encoder(self) -> bool:
        """Whether it is a masked-LM class of transformers."""
        return str((self.config.get("architectures") or [""])[0]).endswith("ForMaskedLM")

    @property
    def is_autoregressive(self) -> bool:
        """Whether it is no diffusion model."""
        return bool(self.conventions["objective"] == "ar")


def model_card(subject: Subject) -> str:
    """Return the text of the card, README.md: the same for the same subject."""
    from huggingface_hub import ModelCard, ModelCardData

    published = next((step.source for step in subject.steps if step.source and step.source["repository"]), None)
    datasets = dict.fromkeys(data.repository for step in subject.steps for data in step.data if data.repository)
    data = ModelCardData(
        model_name=subject.name,
        library_name="transformers",
        pipeline_tag="fill-mask" if subject.is_encoder else "text-generation",
        tags=_tags(subject),
        license=subject.license_id,
        base_model=published["repository"] if published else None,
        datasets=list(datasets) or None,
        eval_results=list(map(_result, subject.scores)) or None,
    )
    card = ModelCard.from_template(
        data,
        template_path=str(TEMPLATE),
        subject=subject,
        conventions=_conventions(subject),
        steps=[_told(step) for step in subject.steps],
        rows=[_row(score) for score in subject.scores],
        settings=dict(sorted({score.cell.setting: _words(score.settings) for score in subject.scores}.items())),
        auto_class="AutoModelForMaskedLM" if subject.is_encoder else "AutoModelForCausalLM",
    )
    return str(card).rstrip("\n") + "\n"


def _tags(subject: Subject) -> list[str]:
    if subject.is_autoregressive:
        return ["autoregressive"]
    kind = {"bd3lm": ["block-diffusion"], "mdlm": ["masked-diffusion"]}
    return ["diffusion-language-model", *kind.get(subject.conventions["objective"], [])]


def _result(score: Score) -> EvalResult:
    from huggingface_hub import EvalResult

    numbers = score.numbers
    spread = {"stderr": numbers.stderr, "ci_low": numbers.low, "ci_high": numbers.high}
    return EvalResult(
        task_type="text-generation",
        task_name=score.task.title,
        dataset_type=score.dataset,
        dataset_name=score.task.title,
        dataset_config=score.cell.task,
        dataset_args={"num_few_shot": score.task.num_fewshot, "documents": numbers.n},
        metric_type=score.cell.metric,
        metric_name=f"{score.cell.metric} ({score.cell.setting})",
        metric_value=round(numbers.value, _DECIMALS),
        metric_args={name: round(value, _DECIMALS) for name, value in spread.items() if value is not None},
    )


def _row(score: Score) -> list[str]:
    numbers, cell = score.numbers, score.cell
    return [
        score.task.title,
        cell.metric if cell.filter == "none" else f"{cell.metric} ({cell.filter})",
        f"{numbers.value:.4f}",
        "" if numbers.stderr is None else f"{numbers.stderr:.4f}",
        f"{numbers.low:.4f} to {numbers.high:.4f}",
        str(numbers.n),
        f"`{cell.setting}`",
        str(score.task.num_fewshot),
        "yes" if score.asked.chat else "no",
        f"`{score.asked.response_prefix!r}`" if score.asked.response_prefix else "",
    ]


def _conventions(subject: Subject) -> Iterator[str]:
    """Yield what has to be known to use the outputs, a sentence each."""
    said = subject.conventions
    if subject.is_autoregressive:
        yield "An autoregressive model: its attention is causal."
        return
    yield "Every token sees every other (`config.is_causal` is false, or the class is an encoder)."
    if said["objective"] == "bd3lm" and said["block_size"]:
        yield (
            f"Trained by block diffusion in blocks of {said['block_size']} tokens, counted from the prompt's end: give "
            "a 4-D mask under which a token sees its own block and those before it."
        )
    scored = (
        "The output at position i-1 scores token i." if said["shift"] else "The output at position i scores token i."
    )
    yield f"{scored} The mask token has id {said['mask_token_id']}."
    yield f"Rows of a batch are padded on the {said['padding_side']}."


def _told(step: Step) -> dict[str, Any]:
    """Return a step as the template shows it."""
    made = step.made_from
    told: dict[str, Any] = {"name": step.name, "digest": step.digest[:16], "data": step.data, "known": made is not None}
    if made is None:
        return told
    code = made.get("code") or {}
    told["code"] = f"{code.get('commit') or code.get('version')}{' (edited)' if code.get('edited') else ''}"
    told["libraries"] = ", ".join(f"{name} {version}" for name, version in (made.get("libraries") or {}).items())
    if step.is_conversion:
        told["source"] = step.source
    else:
        told |= {"recipe": made["recipe"], "seed": made["seed"], "updates": made["steps"]}
        told["settings"] = _words(made["settings"])
        told["scratch"] = made["start"] == "scratch"
    return told


def _words(settings: Mapping[str, Any]) -> str:
    """Return settings in a line, those that are not set left out."""
    return ", ".join(f"{name} {value}" for name, value in flat(settings).items() if value not in ("none", "[]"))
