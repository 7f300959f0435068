"""The command line: ``dlm <verb>``. Thin: a room is imported when its verb runs, not before."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import click

from dlm.cli.answering import infill
from dlm.cli.chatting import chat
from dlm.cli.common import is_first_process
from dlm.cli.harness import lm_eval
from dlm.cli.inspecting import INSPECTING
from dlm.cli.launching import launch
from dlm.cli.pinning import pin
from dlm.cli.publishing import publish
from dlm.cli.reporting import REPORTING
from dlm.cli.sensitivity import sensitivity
from dlm.cli.verbs import VERBS
from dlm.cli.verify import verify
from dlm.cli.watching import watch
from dlm.errors import DlmError, Interrupted, line_of

_SECONDS_OF_THE_FIRST = 60.0


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="dlm")
def cli() -> None:
    """Reproducible diffusion language models.

    Each verb is one step of the pipeline, for one product named in params/<scale>.yaml. `snakemake` runs them all in
    order; a person can type any of them.
    """


for verb in (*VERBS, *INSPECTING, *REPORTING, sensitivity, publish, pin, infill, watch, chat, launch, lm_eval, verify):
    cli.add_command(verb)


def main() -> None:
    """Entry point: run a verb; a user's mistake ends in one line and a non-zero exit code, never in a traceback."""
    keep_caches_inside(project_root_or_here())
    try:
        cli.main(standalone_mode=False)
    except (DlmError, OSError) as error:
        if (line := line_of(error)) is None:
            raise
        if isinstance(error, DlmError):
            leave_it_to_the_first(error)
        click.echo(line, err=True)
        sys.exit(getattr(error, "exit_code", DlmError.exit_code))
    except click.exceptions.Abort:
        click.echo("interrupted", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)


def leave_it_to_the_first(error: DlmError) -> None:
    """Give the first of several processes time to tell a mistake that all of them met, and to end them with its code.

    A process that met it alone tells it afterwards. One that was stopped ends without a word: whoever stopped it, most
    often the launcher because another process failed, knows why and says so.
    """
    if is_first_process():
        return
    if isinstance(error, Interrupted):
        sys.exit(error.exit_code)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # which is how the launcher ends it
    time.sleep(_SECONDS_OF_THE_FIRST)


def project_root_or_here() -> Path:
    """Return the nearest folder upward that holds a Snakefile and params/, else the current folder."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "Snakefile").is_file() and (folder / "params").is_dir():
            return folder
    return here


def keep_caches_inside(root: Path) -> None:
    """Point the libraries' caches into the project, where nothing else is set, and ask no server unasked."""
    cache = root / ".cache"
    os.environ.setdefault("HF_HOME", str(cache / "huggingface"))
    os.environ.setdefault("MPLCONFIGDIR", str(cache / "matplotlib"))
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("HF_UPDATE_DOWNLOAD_COUNTS", "0")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TQDM_DISABLE", "1")  # the libraries' bars; dlm.progress shows the work
