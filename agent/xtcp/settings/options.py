"""The table as options of a command. Values stay texts: all of them are judged together, with the other sources."""

from __future__ import annotations

import argparse

from xtcp.settings.table import SETTINGS, Setting, Shape


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds an option for every setting, by its group, and `--config`."""
    parser.add_argument(
        "--config", metavar="FILE", help="a TOML file of the same settings; flags and XTCP_* variables stand above it"
    )
    groups: dict[str, argparse._ArgumentGroup] = {}
    for setting in SETTINGS:
        if setting.group not in groups:
            groups[setting.group] = parser.add_argument_group(setting.group)
        _add(groups[setting.group], setting)


def _add(group: argparse._ArgumentGroup, setting: Setting) -> None:
    default = "" if setting.shape is Shape.SWITCH else f" (default: {setting.shown_default})"
    meaning = (setting.meaning + default).replace("%", "%%")
    if setting.shape is Shape.SWITCH:
        group.add_argument(
            *setting.spellings, dest=setting.name, action="append_const", const="true", default=None, help=meaning
        )
    else:
        group.add_argument(
            *setting.spellings, dest=setting.name, action="append", metavar=setting.metavar, default=None, help=meaning
        )
    for flag, text in setting.also.items():
        group.add_argument(
            flag,
            dest=setting.name,
            action="append_const",
            const=text,
            default=None,
            help=f"the same as {setting.flag} {text}",
        )


def given(args: argparse.Namespace) -> dict[str, list[str]]:
    """The texts of the command line, by the setting's name; of one that takes one value, the last."""
    found: dict[str, list[str]] = {}
    for setting in SETTINGS:
        texts: list[str] | None = getattr(args, setting.name)
        if texts:
            found[setting.name] = texts if setting.shape in {Shape.LIST, Shape.TABLE} else texts[-1:]
    return found
