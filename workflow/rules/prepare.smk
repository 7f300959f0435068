# Data sets, test sets and tokenizers.


rule prepare:
    input:
        inputs_of("data"),
    output:
        made("data"),
    log:
        log_of("prepare"),
    params:
        settings=lambda w: PLAN.digest("data", w.name),
        code=lambda w: code_digest("data"),
    message:
        "prepare {wildcards.name}"
    shell:
        "{DLM} prepare {wildcards.name} --scale {SCALE} --log {log}"
