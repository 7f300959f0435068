# Sampling needs the weights and a GPU; scoring replays what was recorded.


rule sample:
    input:
        inputs_of("responses"),
    output:
        made("responses", "{name}/{bundle}"),
    log:
        log_of("sample", "{name}/{bundle}"),
    wildcard_constraints:
        bundle=r"[1-9]\d*",
    threads: PLAN.params.execution.threads
    resources:
        gpu=PLAN.gpus,
    params:
        settings=lambda w: PLAN.digest("responses", product(w)),
        code=lambda w: code_digest("responses"),
    message:
        "sample {wildcards.name}/{wildcards.bundle}"
    shell:
        "{DLM} sample {wildcards.name} --bundle {wildcards.bundle} --scale {SCALE} --log {log}"


rule score:
    input:
        inputs_of("scores"),
    output:
        made("scores", "{name}/{bundle}"),
    log:
        log_of("score", "{name}/{bundle}"),
    wildcard_constraints:
        bundle=r"[1-9]\d*",
    params:
        settings=lambda w: PLAN.digest("scores", product(w)),
        code=lambda w: code_digest("scores"),
    message:
        "score {wildcards.name}/{wildcards.bundle}"
    shell:
        "{DLM} score {wildcards.name} --bundle {wildcards.bundle} --scale {SCALE} --log {log}"
