# A table of the scale, and its published copy in results/tables.

SUFFIXES = (".csv", ".md", ".lineage.json")


def scale_tables(wildcards):
    """The scale's own table, read when the published one is asked for: a stale published copy is dropped first."""
    # However it came to be there, a copy that is not this scale's table must not survive being asked for.
    if runs_jobs():
        drop_stale(PLAN.layout.tables, PLAN.layout.published, [wildcards.name])
    return [str(PLAN.layout.tables / f"{wildcards.name}{suffix}") for suffix in SUFFIXES]


def scores_of_table(wildcards):
    """What a table is made of. One that would run what models write is refused here, before any job, unless allowed."""
    try:
        if runs_jobs():
            PLAN.refuse_unsafe(PLAN.entry("tables", wildcards.name).tasks)
        return PLAN.table_inputs(wildcards.name)
    except DlmError as error:
        refuse(error)


rule table:
    input:
        scores_of_table,
    output:
        expand(str(PLAN.layout.tables / "{{name}}{suffix}"), suffix=SUFFIXES),
    log:
        log_of("table"),
    params:
        settings=lambda w: PLAN.digest("tables", w.name),
    message:
        "table {wildcards.name}"
    shell:
        "{DLM} table {wildcards.name} --scale {SCALE} --log {log}"


rule publish:
    input:
        scale_tables,
    output:
        expand(str(PLAN.layout.published / "{{name}}{suffix}"), suffix=SUFFIXES),
    localrule: True
    params:
        scale=SCALE,
    message:
        "publish {wildcards.name} at scale {SCALE}"
    run:
        from dlm.analysis.publish import publish

        publish(PLAN.layout.tables, wildcards.name, PLAN.layout.published)
