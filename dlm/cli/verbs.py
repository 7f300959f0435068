"""The verbs."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from dlm.cli.answering import answer, decoding_options, displayed
from dlm.cli.bundles import bundle_options, chosen_bundles
from dlm.cli.common import (
    is_first_process,
    lineage,
    logged,
    making,
    of_kind,
    pipeline,
    pipeline_options,
    told_of,
)
from dlm.cli.planning import PLANNING
from dlm.cli.rescoring import print_scores
from dlm.cli.runs import runs
from dlm.cli.sampling import sample_bundles, shard_options
from dlm.params import code_digest
from dlm.params.sharding import WHOLE, Shard
from dlm.progress import say
from dlm.settings import TrainedCheckpoint
from dlm.signals import requeueable


@click.command()
@click.argument("name")
@pipeline_options
def prepare(name: str, scale: str, log: Path | None) -> None:
    """Prepare the data set, test set or tokenizer NAME."""
    with pipeline(scale, log) as plan, making(plan, "data", name):
        from dlm.data import prepare as prepare_data

        settings = plan.entry("data", name)
        corpora = {corpus: plan.layout.folder("data", corpus) for corpus in getattr(settings, "corpora", ())}
        manifest = prepare_data(
            name,
            settings,
            plan.params.problems,
            plan.layout.folder("data", name),
            corpora=corpora,
            made_from=lineage({corpus: _digest_of(folder) for corpus, folder in corpora.items()}, settings),
        )
        say(f"prepare {name}: {len(manifest['files'])} files")


@click.command()
@click.argument("name")
@pipeline_options
def train(name: str, scale: str, log: Path | None) -> None:
    """Train the checkpoint NAME by its recipe; docs/training.md says how several processes share it."""
    with requeueable(f"train {name}"), pipeline(scale, log if is_first_process() else None) as plan:
        entry = of_kind(plan, name, TrainedCheckpoint, "train")

        from dlm.data import LazyRows, load_joined
        from dlm.files import is_made_from
        from dlm.tracking import live_training
        from dlm.training import load_start
        from dlm.training import train as run_training

        recipe = plan.params.recipes[entry.recipe]
        data = {dataset: plan.layout.folder("data", dataset) for dataset in entry.datasets}
        start, parents = load_start(plan, entry.start, four_bit=recipe.four_bit)
        load = LazyRows if recipe.streaming else load_joined
        made_from = lineage(
            {**parents, **{dataset: _digest_of(folder) for dataset, folder in data.items()}},
            recipe,
            recipe=entry.recipe,
            start=entry.start if isinstance(entry.start, str) else "scratch",
            dataset=" + ".join(data),
            seed=plan.params.seed,
            threads=plan.params.execution.threads,
            source=code_digest("checkpoints"),
        )
        out = plan.layout.folder("checkpoints", name)
        with contextlib.ExitStack() as stack:
            watch = None
            if is_first_process():
                waited = stack.enter_context(making(plan, "checkpoints", name))
                if waited and is_made_from(out, made_from, aside=("code", "steps", "clock")):
                    say(f"train {name}: made meanwhile, from the same data, settings and code")
                    return
                watch = stack.enter_context(live_training(scale, name, made_from, plan.layout.root.absolute()))
            stack.enter_context(told_of(f"train {name}, recipe '{entry.recipe}'"))
            run_training(
                name,
                start,
                load([*data.values()], "train"),
                load_joined([*data.values()], "held_out"),
                recipe,
                out=out,
                seed=plan.params.seed,
                execution=plan.params.execution,
                made_from=made_from,
                sampler=plan.params.samplers[entry.sampler] if entry.sampler else None,
                watch=watch,
            )


@click.command()
@click.argument("source")
@click.argument("dest", required=False, type=click.Path(path_type=Path))
@click.option("--revision", help="Branch, tag or commit, where SOURCE is a hub id.  [default: main]")
@click.option("--shift/--no-shift", default=None, help="Whether the output at position i-1 predicts token i.")
@click.option("--objective", type=click.Choice(["mdlm", "bd3lm", "none"]), help="What the weights were trained with.")
@click.option("--block-size", type=click.IntRange(1), help="Tokens of a block, for block diffusion.")
@click.option("--causal", is_flag=True, help="Keep a decoder as it is, autoregressive, to compare with.")
@click.option("--back", is_flag=True, help="Write the files that the checkpoint SOURCE was converted from into DEST.")
@pipeline_options
def convert(
    source: str,
    dest: Path | None,
    revision: str | None,
    shift: bool | None,
    objective: str | None,
    block_size: int | None,
    causal: bool,
    back: bool,
    scale: str,
    log: Path | None,
) -> None:
    """Convert the checkpoint SOURCE, a folder or a hub id, into the folder DEST.

    Without DEST, SOURCE is the name of a checkpoint in params/<scale>.yaml.
    """
    from dlm.cli.converting import convert_back, convert_files, convert_planned

    if objective == "bd3lm" and block_size is None:
        raise click.UsageError("--objective bd3lm needs --block-size, the tokens of a block")
    asked = {"shift": shift, "objective": objective, "block_size": block_size}
    if causal and any(value is not None for value in asked.values()):
        raise click.UsageError("--causal leaves nothing to say about --shift, --objective and --block-size")
    if dest is None:
        if back or revision or causal or any(value is not None for value in asked.values()):
            raise click.UsageError("--revision, --shift, --objective, --block-size, --causal and --back need a DEST")
        if Path(source).is_dir():
            raise click.UsageError(f"{source} is a folder: give DEST, the folder to write, as well")
        with pipeline(scale, log) as plan, making(plan, "checkpoints", source):
            convert_planned(source, plan)
        return
    with logged(log):
        if back:
            convert_back(Path(source), dest)
        else:
            convert_files(source, dest, revision, {**asked, "causal": causal})


@click.command()
@click.argument("name", required=False)
@click.option("--model", type=click.Path(path_type=Path), help="A checkpoint folder, with --prompt.")
@click.option("--prompt", help="Answer this prompt and print the answer.")
@click.option("--seed", default=0, show_default=True, help="Seed, with --prompt.")
@decoding_options
@bundle_options
@shard_options
@pipeline_options
def sample(
    name: str | None,
    model: Path | None,
    prompt: str | None,
    seed: int,
    preset: str | None,
    changes: tuple[str, ...],
    order: bool,
    device: str,
    dtype: str,
    table: str | None,
    bundle: str | None,
    shard: str | None,
    processes: int,
    scale: str,
    log: Path | None,
) -> None:
    """Sample all tasks of the checkpoint NAME, or answer one --prompt with the checkpoint folder --model.

    Every table that evaluates NAME counts, and their test sets have to be prepared; --table names one of them.
    """
    if prompt is not None:
        if model is None or any(given is not None for given in (name, table, bundle, shard)):
            raise click.UsageError("--prompt needs --model DIR, and neither NAME, --table, --bundle nor --shard")
        click.echo(displayed(answer(model, prompt, seed, preset, changes, device=device, dtype=dtype, order=order)))
        return
    if preset is not None or changes or order:
        raise click.UsageError("--preset, --set and --order go with --prompt; NAME is sampled as its tables say")
    if name is None or model is not None:
        raise click.UsageError("give the NAME of a checkpoint, or --model DIR and --prompt TEXT")
    with pipeline(scale, log) as plan:
        bundles = chosen_bundles(plan, "responses", name, table, bundle)
        sample_bundles(plan, name, bundles, Shard.read(shard) if shard else WHOLE, processes)


@click.command()
@click.argument("names", metavar="NAME | FILE...", nargs=-1, required=True)
@click.option("--generations", is_flag=True, help="Score FILEs of recorded answers; a line a setting.")
@click.option("--filter", "filter_name", metavar="NAME", help="Another answer filter of the task, with --generations.")
@bundle_options
@pipeline_options
def score(
    names: tuple[str, ...],
    generations: bool,
    filter_name: str | None,
    table: str | None,
    bundle: str | None,
    scale: str,
    log: Path | None,
) -> None:
    """Score the recorded responses of the checkpoint NAME with lm-eval.

    With --generations, score files of recorded answers (.jsonl or .jsonl.gz; docs/evaluation.md has their format) by
    the same tasks, and print task, length, steps, number of answers and accuracy in percent of each setting.
    """
    if generations:
        if bundle is not None or table is not None:
            raise click.UsageError("--table and --bundle go with NAME, not with --generations")
        with logged(log):
            print_scores(names, filter_name)
        return
    if len(names) > 1 or filter_name is not None:
        raise click.UsageError("several FILEs and --filter go with --generations; NAME is scored as its tables say")
    (name,) = names
    with pipeline(scale, log) as plan:
        bundles = chosen_bundles(plan, "scores", name, table, bundle)

        from dlm.evaluation import score_cells

        for label, cells in bundles.items():
            with making(plan, "scores", label):
                scores = score_cells(
                    plan.layout.folder("responses", label),
                    cells,
                    checkpoint_dir=plan.layout.folder("checkpoints", name),
                    data_folder_of=lambda dataset: plan.layout.folder("data", dataset),
                    out_dir=plan.layout.folder("scores", label),
                    scale=scale,
                    sandbox=plan.limits(cells),
                )
            for cell in scores["cells"]:
                what = f"{cell['task']} ({cell['setting']}) {cell['metric']}"
                say(f"score {label}: {what} {cell['value']:.4f} (n = {cell['n']})")


@click.command()
@click.argument("name")
@click.option("--publish", is_flag=True, help="Make nothing: copy the scale's table to results/tables.")
@pipeline_options
def table(name: str, publish: bool, scale: str, log: Path | None) -> None:
    """Make the table NAME from scores."""
    if publish:
        with pipeline(scale, log) as plan:
            from dlm.analysis.publish import publish as publish_table

            plan.entry("tables", name)
            publish_table(plan.layout.tables, name, plan.layout.published)
        return
    with pipeline(scale, log) as plan, making(plan, "tables", name):
        from dlm.analysis import write_table

        path = write_table(name, plan)
        say(f"table {name}: {path}")


VERBS = (prepare, train, convert, sample, score, table, runs, *PLANNING)


def _digest_of(folder: Path) -> str:
    """Read a product's digest; whoever reads its rows or weights checks them, and names a damaged line."""
    from dlm.files import read_manifest

    return str(read_manifest(folder, verify=False)["digest"])
