# Figures of a sweep, drawn from its tables at the asked-for scale: results/figures/<sweep>/<figure>.png and .svg.

from dlm.figures import FIGURES


def tables_of_sweep(wildcards):
    """What the figures of a sweep are drawn from."""
    return PLAN.outputs("tables", f"sensitivity_{wildcards.sweep}")


rule figure:
    input:
        tables_of_sweep,
    output:
        report(str(PLAN.layout.figures / "{sweep}" / "{figure}.png"), category="Figures", subcategory="{sweep}"),
        str(PLAN.layout.figures / "{sweep}" / "{figure}.svg"),
    wildcard_constraints:
        sweep=NAME.pattern,
        figure="|".join(FIGURES),
    params:
        scale=SCALE,
        code=lambda w: code_digest("figures"),
    message:
        "figure {wildcards.sweep} {wildcards.figure} at scale {SCALE}"
    shell:
        "{DLM} figure {wildcards.sweep} {wildcards.figure} --scale {SCALE}"
