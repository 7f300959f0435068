# Sampling needs the weights and a GPU; scoring replays what was recorded.


rule sample:
    input:
        lambda w: PLAN.evaluation_inputs(w.name),
    output:
        made("responses"),
    log:
        log_of("sample"),
    threads: PLAN.params.execution.threads
    resources:
        gpu=PLAN.gpus,
    params:
        settings=lambda w: PLAN.cells_digest(w.name),
    message:
        "sample {wildcards.name}"
    shell:
        "{DLM} sample {wildcards.name} --scale {SCALE} --log {log}"


rule score:
    input:
        responses=made("responses"),
        data=lambda w: PLAN.evaluation_inputs(w.name)[1:],
    output:
        made("scores"),
    log:
        log_of("score"),
    params:
        settings=lambda w: PLAN.cells_digest(w.name),
    message:
        "score {wildcards.name}"
    shell:
        "{DLM} score {wildcards.name} --scale {SCALE} --log {log}"
