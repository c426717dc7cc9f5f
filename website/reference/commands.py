"""The command line: every stage with the options it takes, from the parser itself."""

import argparse

from emerge_ehr import command_line, stages
from website.reference.markdown import sentence, table


def page() -> str:
    """The page."""
    parser = command_line.parser()
    actions = {action.dest: action for action in parser._actions if action.dest != "help"}
    names = [*stages.PIPELINE, *stages.CHECKS, *stages.WITH_RUNS]
    return (
        f"# Commands\n\n{command_line.ABOUT}\n\n`emerge-ehr`, or `python src/main.py` in a checkout, takes a stage and its "
        "options. It ends with exit code 0 when it is done, 2 after a mistake, which it tells in one line, "
        "and 130 when it is interrupted.\n\n"
        "## Stages\n\n"
        + table(("stage", "takes"), [(f"`{stage}`", taken(stage, actions)) for stage in ["all", *names]])
        + "\n\n"
        "## Options\n\n" + table(("option", "default", "meaning"), map(line, actions.values()))
    )


def taken(stage: str, actions: dict[str, argparse.Action]) -> str:
    """The options that a stage takes; those in brackets may be left out."""
    if stage not in stages.WITH_RUNS:
        checks = {"dry_run": ("preprocess",), "deep": ("audit",), "check": ("convert",)}
        names = [name for name in stages.OF_PIPELINE if stage in checks.get(name, (stage,))]
        listed = ", ".join(
            f"`{flag(actions[name])}`" if name == "config" else f"[`{flag(actions[name])}`]" for name in names
        )
        others = [flag(actions[name]) for name in stages.OF_A_RUN.get(stage, ("", "", ()))[2]]
        return listed + (f"; or {sentence(others)} alone" if others else "")
    said = []
    for marked in stages.WITH_RUNS[stage][1]:
        action = actions[marked.removesuffix("?")]
        needed = not marked.endswith("?") and action.default is None
        said.append(f"`{flag(action)}`" if needed else f"[`{flag(action)}`]")
    return ", ".join(said)


def flag(action: argparse.Action) -> str:
    """An option as it is typed."""
    if isinstance(action, argparse.BooleanOptionalAction):
        return ", ".join(action.option_strings)
    several = " ..." if action.nargs == "+" else ""
    value = "" if action.nargs == 0 else f" {action.metavar or action.dest.upper()}{several}"
    return action.option_strings[0] + value


def line(action: argparse.Action) -> tuple[str, str, str]:
    """The line of one option."""
    given = "" if action.default in (None, False, [], True) else f"`{action.default}`"
    choices = f" ({', '.join(f'`{choice}`' for choice in action.choices)})" if action.choices else ""
    return f"`{flag(action)}`", given, f"{action.help}{choices}"
