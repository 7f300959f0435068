# A table of the scale, and its published copy in results/tables.


ASKED = []


onstart:
    # However it came to be there, a copy that is not this scale's table must not survive being asked for. Here the run
    # is past its checks and holds Snakemake's lock: one that is refused leaves what another scale has published.
    if workflow.is_main_process:
        drop_stale(PLAN.layout.tables, PLAN.layout.published, ASKED)


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


def scores_of_table(wildcards):
    """What a table is made of."""
    try:
        PLAN.entry("tables", wildcards.name)
    except DlmError as error:
        refuse(error)
    refuse_unsafe(wildcards.name)
    return inputs_of("tables")(wildcards)


rule table:
    input:
        scores_of_table,
    output:
        PLAN.outputs("tables", "{name}"),
    log:
        log_of("table"),
    params:
        settings=lambda w: PLAN.digest("tables", w.name),
        code=lambda w: code_digest("tables"),
    message:
        "table {wildcards.name}"
    shell:
        "{DLM} table {wildcards.name} --scale {SCALE} --log {log}"


rule publish:
    input:
        scale_tables,
    output:
        [str(PLAN.layout.published / Path(path).name) for path in PLAN.outputs("tables", "{name}")],
    localrule: True
    params:
        scale=SCALE,
    message:
        "publish {wildcards.name} at scale {SCALE}"
    shell:
        "{DLM} table {wildcards.name} --scale {SCALE} --publish"
