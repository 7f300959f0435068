# The paper's tables, from a params file to results/tables/<table>.csv.
#
#   snakemake --cores 2 results/tables/table1.csv                              the tiny scale, on this machine
#   snakemake --cores 2 results/tables/table1.csv --config scale=micro         another scale: params/micro.yaml
#   snakemake -n results/tables/table1.csv --config scale=paper                the plan for the published checkpoints

from snakemake.utils import min_version

min_version("9.27")


include: "workflow/rules/plan.smk"
include: "workflow/rules/locks.smk"
include: "workflow/rules/memory.smk"
include: "workflow/rules/prepare.smk"
include: "workflow/rules/checkpoints.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/names.smk"
include: "workflow/rules/failures.smk"


def needed(table, step):
    """An input function: all that a table needs of a step."""

    def files(wildcards):
        refuse_unsafe(table)
        return [path for name in PLAN.products(table)[step] for path in PLAN.outputs(step, name)]

    return files


# What the stages of dvc.yaml ask for: all that a table needs of a step, such as `table1_checkpoints`.
for table in PLAN.params.tables:
    for step in ("data", "checkpoints", "responses"):

        rule:
            name:
                f"{table}_{step}"
            input:
                needed(table, step),


refuse_unknown_names()


rule all:
    default_target: True
    input:
        [str(PLAN.layout.published / f"{name}.csv") for name in PLAN.params.tables],
