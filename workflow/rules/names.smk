# Names on the command line that no rule has would change nothing, without a word: they are refused.

from dlm.errors import SettingsError, did_you_mean


def refuse_unknown_names():
    """Refuse rules and scatter processes that --set-threads, --set-resources and --set-scatter name and nobody knows.

    Called once all rules but the last are there.
    """
    if not workflow.is_main_process:
        return
    asked, rules_known = workflow.resource_settings, [*(rule.name for rule in workflow.rules), "all"]
    for option, names, known in (
        ("--set-resources", asked.overwrite_resources, rules_known),
        ("--set-threads", asked.overwrite_threads, rules_known),
        ("--set-scatter", asked.overwrite_scatter, ["documents"]),
    ):
        for name in names:
            if name not in known:
                refuse(SettingsError(f"{option}: there is no '{name}'; {did_you_mean(name, known)}"))
