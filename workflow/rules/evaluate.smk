# Sampling needs the weights and a GPU; scoring replays what was recorded.
#
# --set-scatter documents=8 deals the documents of each bundle out to 8 jobs; what they record is then put together. The
# number changes no result, so it is no matter of the params.


scattergather:
    documents=1,


# Bundles of tables are numbers, those of a sweep begin with its name.
BUNDLE = rf"(?:{NAME.pattern}-)?[1-9]\d*"


def shards_of_bundle(wildcards):
    """What a bundle is put together from, where its documents are dealt out."""
    bundle = product(wildcards)
    shards = gather.documents(made("shards", f"{bundle}/{{scatteritem}}"))
    return shards if len(shards) > 1 and PLAN.is_divisible(bundle) else []


rule shard:
    input:
        inputs_of("shards"),
    output:
        temp(made("shards", "{name}/{bundle}/{scatteritem}")),
    log:
        log_of("shard", "{name}/{bundle}/{scatteritem}"),
    wildcard_constraints:
        bundle=BUNDLE,
    threads: lambda w: PLAN.execution_of(product(w)).threads
    resources:
        gpu=lambda w: PLAN.gpus_of(product(w)),
    params:
        settings=lambda w: PLAN.digest("shards", product(w)),
        code=lambda w: code_digest("shards"),
    message:
        "sample {wildcards.name}/{wildcards.bundle}, shard {wildcards.scatteritem}"
    shell:
        "{DLM} sample {wildcards.name} --bundle {wildcards.bundle} --shard {wildcards.scatteritem}"
        " --processes {resources.gpu} --scale {SCALE} --log {log}"


rule sample:
    input:
        inputs_of("responses"),
        shards_of_bundle,
    output:
        made("responses", "{name}/{bundle}"),
    log:
        log_of("sample", "{name}/{bundle}"),
    wildcard_constraints:
        bundle=BUNDLE,
    threads: lambda w: PLAN.execution_of(product(w)).threads
    resources:
        # To put shards together takes none.
        gpu=lambda w: 0 if shards_of_bundle(w) else PLAN.gpus_of(product(w)),
    params:
        settings=lambda w: PLAN.digest("responses", product(w)),
        code=lambda w: code_digest("responses"),
    message:
        "sample {wildcards.name}/{wildcards.bundle}"
    shell:
        "{DLM} sample {wildcards.name} --bundle {wildcards.bundle}"
        " --processes {resources.gpu} --scale {SCALE} --log {log}"


rule score:
    input:
        inputs_of("scores"),
    output:
        made("scores", "{name}/{bundle}"),
    log:
        log_of("score", "{name}/{bundle}"),
    wildcard_constraints:
        bundle=BUNDLE,
    params:
        settings=lambda w: PLAN.digest("scores", product(w)),
        code=lambda w: code_digest("scores"),
    message:
        "score {wildcards.name}/{wildcards.bundle}"
    shell:
        "{DLM} score {wildcards.name} --bundle {wildcards.bundle} --scale {SCALE} --log {log}"
