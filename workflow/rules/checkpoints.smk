# Checkpoints: trained, converted from an autoregressive parent, or fetched from a hub and converted.


def names_of(*kinds):
    """A pattern that matches the checkpoints of some kinds, and nothing where there are none."""
    names = [re.escape(name) for kind in kinds for name in PLAN.checkpoints_of_kind(kind)]
    return "|".join(names) or "(?!)"


rule train:
    input:
        lambda w: PLAN.checkpoint_inputs(w.name),
    output:
        made("checkpoints"),
    params:
        settings=lambda w: PLAN.digest("checkpoints", w.name),
    wildcard_constraints:
        name=names_of("train"),
    log:
        log_of("train"),
    threads: PLAN.params.execution.threads
    resources:
        gpu=PLAN.gpus,
    message:
        "train {wildcards.name}"
    shell:
        "{DLM} train {wildcards.name} --scale {SCALE} --log {log}"


rule convert:
    input:
        lambda w: PLAN.checkpoint_inputs(w.name),
    output:
        made("checkpoints"),
    params:
        settings=lambda w: PLAN.digest("checkpoints", w.name),
    wildcard_constraints:
        name=names_of("convert", "hub"),
    log:
        log_of("convert"),
    message:
        "convert {wildcards.name}"
    shell:
        "{DLM} convert {wildcards.name} --scale {SCALE} --log {log}"
