# Sampling needs the weights and a GPU; scoring replays what was recorded.


rule sample:
    input:
        inputs_of("responses"),
    output:
        made("responses"),
    log:
        log_of("sample"),
    threads: PLAN.params.execution.threads
    resources:
        gpu=PLAN.gpus,
    params:
        settings=lambda w: PLAN.digest("responses", w.name),
        code=lambda w: code_digest("responses"),
    message:
        "sample {wildcards.name}"
    shell:
        "{DLM} sample {wildcards.name} --scale {SCALE} --log {log}"


rule score:
    input:
        inputs_of("scores"),
    output:
        made("scores"),
    log:
        log_of("score"),
    params:
        settings=lambda w: PLAN.digest("scores", w.name),
        code=lambda w: code_digest("scores"),
    message:
        "score {wildcards.name}"
    shell:
        "{DLM} score {wildcards.name} --scale {SCALE} --log {log}"
