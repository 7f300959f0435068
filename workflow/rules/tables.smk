# A table of the scale, and its published copy in results/tables.

SUFFIXES = (".csv", ".md", ".lineage.json")


def scale_tables(wildcards):
    """The scale's own table, read when the published one is asked for: a stale published copy is dropped first."""
    # However it came to be there, a copy that is not this scale's table must not survive being asked for.
    runs = workflow.is_main_process and workflow.executor_plugin is not None and not workflow.dryrun
    if runs:
        drop_stale(PLAN.layout.tables, PLAN.layout.published, [wildcards.name])
    return [str(PLAN.layout.tables / f"{wildcards.name}{suffix}") for suffix in SUFFIXES]


rule table:
    input:
        lambda w: PLAN.table_inputs(w.name),
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
