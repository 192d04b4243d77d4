"""JSON and assets inside an HTML page, so that no data can break out and no other script run."""

import base64
import hashlib
import json
import math
import re
from importlib import resources
from typing import Any

from markupsafe import Markup

# "<", ">" and "&" could end the script element or start a comment; the others break lines in older
# JavaScript, reorder the source for its reader, or cannot be written as UTF-8.
_UNSAFE = re.compile(
    "[<>&\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff]"
)

_STYLES = ("base.css", "overview.css", "explorer.css", "feature.css", "media.css")
_SCRIPTS = (
    "text.js",
    "dom.js",
    "layer.js",
    "list.js",
    "contexts.js",
    "weights.js",
    "detail.js",
    "page.js",
)


def embed_json(value: Any) -> Markup:
    """JSON for the inside of a ``<script type="application/json">`` element.

    Raises:
        ValueError: when a number is NaN or infinite; missing values are None.

    >>> str(embed_json("</script>"))
    '"\\\\u003c/script\\\\u003e"'
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Markup(_UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text))


def rounded(value: float | int | None, digits: int = 4) -> float | int | None:
    """A number cut to so many significant digits, to keep the page small; None when not finite.

    >>> rounded(0.123456), rounded(3.0), rounded(float("nan")), rounded(None)
    (0.1235, 3, None, None)
    """
    if value is None or not math.isfinite(value):
        return None
    short = float(f"{value:.{digits}g}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short


def stylesheet(*names: str) -> Markup:
    """The styles of a page: the named assets in order; those of the report without any."""
    return Markup("\n".join(_asset(name) for name in names or _STYLES))


def script(*names: str) -> Markup:
    """The page's script: the named assets in order, those of the report without any, in one scope
    of their own.
    """
    parts = "\n".join(_asset(name) for name in names or _SCRIPTS)
    return Markup(f'\n(() => {{\n"use strict";\n{parts}\n}})();\n')


def content_policy(style: str, script: str | None = None) -> str:
    """A content security policy that lets the page use this style and script and nothing else."""
    scripts = "" if script is None else f"script-src '{_digest(script)}'; "
    return (
        f"default-src 'none'; style-src '{_digest(style)}'; {scripts}"
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _asset(name: str) -> str:
    return (resources.files("cofire.report") / "assets" / name).read_text(encoding="utf-8")
