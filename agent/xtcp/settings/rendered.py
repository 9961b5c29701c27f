"""The table of settings for docs/operations.md, and the effective settings for people. Secrets are in neither."""

from __future__ import annotations

from xtcp.settings.effective import Settings
from xtcp.settings.table import SETTINGS, Setting, Shape
from xtcp.sinks.destination import shown


def render_markdown() -> str:
    """A table a group: flag, variable, key, default, whether a reload changes it, meaning."""
    parts: list[str] = []
    for group in dict.fromkeys(setting.group for setting in SETTINGS):
        parts.append(f"**{group[0].upper()}{group[1:]}**\n")
        parts.append("| flag | variable | key | default | reload | meaning |\n|---|---|---|---|---|---|")
        parts += [_row(setting) for setting in SETTINGS if setting.group == group]
        parts.append("")
    return "\n".join(parts)


def _row(setting: Setting) -> str:
    value = f" {setting.metavar}" if setting.metavar else ""
    flags = ", ".join(f"`{flag}{value}`" for flag in setting.spellings) + "".join(
        f", `{flag}`" for flag in setting.also
    )
    key = {Shape.LIST: f"`{setting.name} = […]`", Shape.TABLE: f"`[{setting.name}]`"}.get(
        setting.shape, f"`{setting.name}`"
    )
    variables = f"`{setting.variable}`" + (f", `{setting.variable}_FILE`" if setting.secret else "")
    default = f"`{setting.default}`" if setting.default else setting.unset
    cells = (flags, variables, key, default, "yes" if setting.reload else "no", setting.meaning)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def effective(settings: Settings, *, origins: bool = False) -> list[str]:
    """A line `name = value` for each value of each setting, with where it comes from."""
    lines: list[tuple[str, str]] = []
    for setting in SETTINGS:
        value = settings.resolved.values[setting.name]
        if not value.texts:
            lines.append((f"# {setting.name}: {setting.shown_default}", value.origin))
        lines += [(f"{setting.name} = {_quoted(shown(text))}", value.origin) for text in value.texts]
    if not origins:
        return [line for line, _ in lines]
    width = min(max(len(line) for line, _ in lines), 60)
    return [f"{line:<{width}}  ({origin})" for line, origin in lines]


def _quoted(text: str) -> str:
    return text if text.replace(".", "").isalnum() and text.isascii() else f'"{text}"'
