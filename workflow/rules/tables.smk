# A table of the scale, and its published copy in results/tables.


ASKED = []


onstart:
    # However it came to be there, a copy that is not this scale's table must not survive being asked for. Here the run
    # is past its checks and holds Snakemake's lock: one that is refused leaves what another scale has published.
    if workflow.is_main_process:
        for path in drop_stale(PLAN.layout.tables, PLAN.layout.published, ASKED):
            if path.suffix == ".csv":
                print(f"{path}: withdrawn, it is not that of scale {SCALE}", file=sys.stderr)


def scale_tables(wildcards):
    """The scale's own table, read when the published one is asked for."""
    made = PLAN.outputs("tables", wildcards.name)
    ASKED.append(wildcards.name)
    if workflow.is_main_process:
        copies = [str(PLAN.layout.published / Path(path).name) for path in made]
        if is_current(PLAN.layout.tables, wildcards.name, PLAN.layout.published):
            remember(copies, [SCALE], {path: sha256_file(path) for path in made})
        else:
            # A copy whose own inputs are still to be made is not looked at: Snakemake would take it as it is.
            workflow.dag.forcefiles.update(copies)
    return made


TOLD = set()


def tell_sweep(table):
    """Say once what a sweep asks, and which of its combinations cannot be."""
    sweep = PLAN.sweep_of(table)
    if sweep and workflow.is_main_process and table not in TOLD:
        TOLD.add(table)
        print(*sweep.told(), sep="\n", file=sys.stderr)


def scores_of_table(wildcards):
    """What a table is made of."""
    try:
        PLAN.table_tasks(wildcards.name)
        tell_sweep(wildcards.name)
    except DlmError as error:
        refuse(error)
    refuse_unsafe(wildcards.name)
    return inputs_of("tables")(wildcards)


# Tables of the params; those of sweeps (params/sweeps) have a name that begins so.
TABLE = rf"(?!{SENSITIVITY}){NAME.pattern}"
SWEEP = rf"{SENSITIVITY}{NAME.pattern}(?<!_effects)(?<!_ranks)"


rule table:
    input:
        scores_of_table,
    output:
        PLAN.outputs("tables", "{name}"),
    log:
        log_of("table"),
    wildcard_constraints:
        name=TABLE,
    params:
        settings=lambda w: PLAN.digest("tables", w.name),
        code=lambda w: code_digest("tables"),
    message:
        "table {wildcards.name}"
    shell:
        "{DLM} table {wildcards.name} --scale {SCALE} --log {log}"


rule sensitivity:
    input:
        scores_of_table,
    output:
        [str(PLAN.layout.tables / f"{{name}}{suffix}") for suffix in SWEEP_SUFFIXES],
    log:
        log_of("table"),
    wildcard_constraints:
        name=SWEEP,
    params:
        settings=lambda w: PLAN.digest("tables", w.name),
        code=lambda w: code_digest("tables"),
        sweep=lambda w: w.name.removeprefix(SENSITIVITY),
    message:
        "sensitivity {params.sweep}"
    shell:
        "{DLM} sensitivity {params.sweep} --scale {SCALE} --log {log}"


def in_report(path):
    """Put a table into Snakemake's own report (`snakemake --report`)."""
    return report(path, category="Tables") if path.endswith(".csv") else path


rule publish:
    input:
        scale_tables,
    output:
        [in_report(str(PLAN.layout.published / Path(path).name)) for path in PLAN.outputs("tables", "{name}")],
    wildcard_constraints:
        name=TABLE,
    localrule: True
    params:
        scale=SCALE,
    message:
        "publish {wildcards.name} at scale {SCALE}"
    shell:
        "{DLM} table {wildcards.name} --scale {SCALE} --publish"


rule publish_sensitivity:
    input:
        scale_tables,
    output:
        [in_report(str(PLAN.layout.published / f"{{name}}{suffix}")) for suffix in SWEEP_SUFFIXES],
    wildcard_constraints:
        name=SWEEP,
    localrule: True
    params:
        scale=SCALE,
        sweep=lambda w: w.name.removeprefix(SENSITIVITY),
    message:
        "publish {wildcards.name} at scale {SCALE}"
    shell:
        "{DLM} sensitivity {params.sweep} --scale {SCALE} --publish"
