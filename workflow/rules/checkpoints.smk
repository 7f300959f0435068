# Checkpoints: trained, converted from an autoregressive parent, or of a hub or a folder and converted.


def names_of(*kinds):
    """A pattern that matches the checkpoints of some kinds, and nothing where there are none."""
    names = [re.escape(name) for kind in kinds for name in PLAN.checkpoints_of_kind(kind)]
    return "|".join(names) or "(?!)"


rule train:
    input:
        inputs_of("checkpoints"),
    output:
        made("checkpoints"),
    log:
        log_of("train"),
    wildcard_constraints:
        name=names_of("train"),
    # The longest chain of trainings first, or the machine waits for it in the end.
    priority: lambda w: urgency(PLAN.params, w.name)
    threads: PLAN.params.execution.threads
    resources:
        # More of them (--set-resources train:nodes=2 train:gpu=8) are as many processes that share each update.
        gpu=PLAN.gpus,
        nodes=1,
    params:
        settings=lambda w: PLAN.digest("checkpoints", w.name),
        code=lambda w: code_digest("checkpoints"),
    message:
        "train {wildcards.name}"
    shell:
        "{DLM} launch --nodes {resources.nodes} --processes {resources.gpu}"
        " -m dlm train {wildcards.name} --scale {SCALE} --log {log}"


rule convert:
    input:
        inputs_of("checkpoints"),
    output:
        made("checkpoints"),
    log:
        log_of("convert"),
    wildcard_constraints:
        name=names_of("convert", "hub", "folder"),
    priority: lambda w: urgency(PLAN.params, w.name)
    params:
        settings=lambda w: PLAN.digest("checkpoints", w.name),
        code=lambda w: code_digest("checkpoints"),
    message:
        "convert {wildcards.name}"
    shell:
        "{DLM} convert {wildcards.name} --scale {SCALE} --log {log}"
