# The paper's tables, from a params file to results/tables/<table>.csv.
#
#   snakemake --cores 2 results/tables/table1.csv                              the tiny scale, on this machine
#   snakemake --cores 2 results/tables/table1.csv --config scale=micro         another scale: params/micro.yaml
#   snakemake -n results/tables/table1.csv --config scale=paper                the plan for the published checkpoints

from snakemake.utils import min_version

min_version("9.27")


include: "workflow/rules/plan.smk"
include: "workflow/rules/locks.smk"
include: "workflow/rules/prepare.smk"
include: "workflow/rules/checkpoints.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/tables.smk"


rule all:
    default_target: True
    input:
        [str(PLAN.layout.published / f"{name}.csv") for name in PLAN.params.tables],
