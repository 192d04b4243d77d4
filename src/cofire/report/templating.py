"""The templates of the pages, and how they print values."""

from collections.abc import Callable
from typing import Any

import jinja2
from markupsafe import Markup

from cofire.interpret.wording import MISSING, figure, readable


def page_templates() -> jinja2.Environment:
    """The templates, with their filters: ``figure``, ``percent``, ``share``, ``duration``."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("cofire.report", "assets"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_readable,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    filters: dict[str, Callable[..., str]] = {
        "figure": figure,
        "percent": _percent,
        "share": _share,
        "duration": _duration,
    }
    environment.filters.update(filters)
    environment.globals["missing"] = MISSING
    return environment


def _readable(value: Any) -> Any:
    """Makes every string that a template prints readable; markup is printed as it is."""
    return readable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _percent(value: float | int | None, digits: int = 2) -> str:
    return MISSING if value is None else f"{figure(100 * value, digits)}%"


def _share(value: float | int | None, digits: int = 3) -> str:
    """A number around 0 to 1 with as many decimals as its neighbours have."""
    if value is None:
        return MISSING
    return figure(value, digits) if 0 < abs(value) < 0.01 else f"{value:.{digits}f}"


def _duration(seconds: float | int | None) -> str:
    if seconds is None:
        return MISSING
    if seconds < 60:
        return f"{figure(seconds, 2)} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
