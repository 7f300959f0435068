# What Snakemake remembers of a product is what the product says of itself.
#
# Snakemake's memory lies in .snakemake/metadata of the clone where a job ran. A product that comes from elsewhere (dvc
# pull, a copy, a verb typed by hand) has none there, or that of its predecessor, and would be taken for what it need not
# be. Each product has a stamp of what made it (dlm.params.stamps); when a rule asks for its inputs, before Snakemake
# decides, the memory of its product is brought in line with the stamp. A product without one, or of other content than
# its stamp says, is remembered as unknown, so that it is made again.

from snakemake.persistence import RECORD_FORMAT_VERSION, MetadataRecord


def inputs_of(step):
    """An input function: what a step's product is made from."""

    def inputs(wildcards):
        name = product(wildcards)
        if workflow.is_main_process:
            stamp = read_stamp(PLAN, step, name)
            made_with = [stamp["settings"], stamp["code"]] if stamp else ["unknown"]
            aside = shards_of_bundle(wildcards) if step == "responses" else []
            remember(PLAN.outputs(step, name), made_with, remembered(stamp) if stamp else {}, aside)
        return PLAN.inputs(step, name)

    return inputs


def remember(outputs, params, contents, aside=()):
    """Have Snakemake remember that files were made with these params from inputs of these contents (sha256).

    What lies `aside` are inputs that come and go, and whose content nobody asks for.
    """
    params = sorted(map(repr, params))
    checksums = {path: f"sha256:{content}" for path, content in contents.items()}
    for path in filter(os.path.isfile, outputs):
        record = workflow.persistence._read_record(path)
        known = (record.params, record.input_checksums, record.input) if record else None
        if known == (params, checksums, sorted([*checksums, *aside])):
            continue
        time = os.path.getmtime(path)
        made = MetadataRecord(
            record_format_version=RECORD_FORMAT_VERSION,
            params=params,
            input=sorted([*checksums, *aside]),
            input_checksums=checksums,
            starttime=time,
            endtime=time,
        )
        workflow.persistence._write_record(path, made)
        workflow.persistence._clear_cache()
