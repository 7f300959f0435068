# Data sets, test sets and tokenizers.


rule prepare:
    input:
        lambda w: PLAN.data_inputs(w.name),
    output:
        made("data"),
    log:
        log_of("prepare"),
    params:
        settings=lambda w: PLAN.digest("data", w.name),
    message:
        "prepare {wildcards.name}"
    shell:
        "{DLM} prepare {wildcards.name} --scale {SCALE} --log {log}"
