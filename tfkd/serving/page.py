"""The page at `/`: a text to write, and what each model makes of it.

It is one file that asks its own server alone and works without a network. A browser runs no other
script in it than its own, whatever a label or a text holds: the Content-Security-Policy names both
script and style by their hashes.
"""

import base64
import hashlib
import importlib.resources
import re

from starlette.responses import Response

CONTENT = importlib.resources.files("tfkd.serving").joinpath("page.html").read_text("utf-8")


def page() -> Response:
    """The page, with the headers that keep it to itself.

    Example:

    >>> page().headers["content-type"]
    'text/html; charset=utf-8'
    """
    policy = (
        f"default-src 'none'; connect-src 'self'; img-src data:; script-src {_hash('script')}; "
        f"style-src {_hash('style')}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    headers = {
        "Content-Security-Policy": policy,
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(CONTENT, headers=headers, media_type="text/html")


def _hash(tag: str) -> str:
    (content,) = re.findall(f"<{tag}>(.*?)</{tag}>", CONTENT, re.DOTALL)
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
