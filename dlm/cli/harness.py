"""``dlm lm-eval``: lm-eval's own command line."""

from __future__ import annotations

import click


@click.command(
    "lm-eval",
    add_help_option=False,
    context_settings={"ignore_unknown_options": True},
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def lm_eval(arguments: tuple[str, ...]) -> None:
    """Run lm-eval's own command line, with the model class dlm and the project's tasks known to it.

    For example: dlm lm-eval --model dlm --model_args pretrained=DIR,preset=llada,max_new_tokens=128 --tasks gsm8k
    """
    from dlm.evaluation.command import run_command_line

    run_command_line(arguments)
