# Sampling needs the weights and a GPU; scoring replays what was recorded.


rule sample:
    input:
        lambda w: PLAN.evaluation_inputs(w.name),
    output:
        made("responses"),
    params:
        settings=lambda w: PLAN.cells_digest(w.name),
    log:
        log_of("sample"),
    threads: PLAN.params.execution.threads
    resources:
        gpu=PLAN.gpus,
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
    params:
        settings=lambda w: PLAN.cells_digest(w.name),
    log:
        log_of("score"),
    message:
        "score {wildcards.name}"
    shell:
        "{DLM} score {wildcards.name} --scale {SCALE} --log {log}"
