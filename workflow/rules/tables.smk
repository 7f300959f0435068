# A table of the scale, and its published copy in results/tables.

SUFFIXES = (".csv", ".md", ".lineage.json")

if workflow.is_main_process and not workflow.dryrun:
    # A published copy that is not this scale's table must not survive being asked for, however it came to be there.
    asked = {Path(target).stem for target in workflow.dag_settings.targets} or set(PLAN.params.tables)
    drop_stale(PLAN.layout.tables, PLAN.layout.published, sorted(asked & set(PLAN.params.tables)))


rule table:
    input:
        lambda w: [PLAN.layout.manifest("scores", model) for model in PLAN.table_models(w.name)],
    output:
        expand(str(PLAN.layout.tables / "{{name}}{suffix}"), suffix=SUFFIXES),
    params:
        settings=lambda w: PLAN.digest("tables", w.name),
    log:
        log_of("table"),
    message:
        "table {wildcards.name}"
    shell:
        "{DLM} table {wildcards.name} --scale {SCALE} --log {log}"


rule publish:
    input:
        expand(str(PLAN.layout.tables / "{{name}}{suffix}"), suffix=SUFFIXES),
    output:
        expand(str(PLAN.layout.published / "{{name}}{suffix}"), suffix=SUFFIXES),
    params:
        scale=SCALE,
    localrule: True
    message:
        "publish {wildcards.name} at scale {SCALE}"
    run:
        from dlm.analysis.publish import publish

        publish(PLAN.layout.tables, wildcards.name, PLAN.layout.published)
