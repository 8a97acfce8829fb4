"""Whether a host can be reached, answered within a bounded time.

Downloaders retry for minutes on a closed machine. Asking first, with the proxies of the
environment and a hard limit on the wait, turns those minutes into one clear message.
"""

import http.client
import threading
import urllib.error
import urllib.request
from typing import Any

PROXY_REFUSALS = (403, 407, 502, 503, 504)


def is_reachable(host: str, timeout_seconds: float = 5.0) -> bool:
    """Whether `host` answers a request, whatever it answers.

    Proxies are taken from the environment (`https_proxy`, `http_proxy`, `no_proxy`), as the
    downloaders do. The wait includes looking the name up, which has a long limit of its own.

    Args:
        host: String. Name of the host, perhaps with a port, asked over https; or a whole URL that
            starts with `http://` or `https://`.
        timeout_seconds: Float. Longest wait in seconds.

    Returns:
        Boolean. False when nothing answered in time or a proxy refused the connection.

    Example:

    >>> is_reachable("storage.googleapis.com")
    """
    url = host if "://" in host else f"https://{host}/"
    answers: list[bool] = []

    def ask() -> None:
        answers.append(_answers(url, timeout_seconds))

    # A name look-up cannot be cancelled; a daemon thread can be left behind.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(timeout_seconds)
    return bool(answers) and answers[0]


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect is an answer; where it leads does not matter."""

    def redirect_request(self, *arguments: Any) -> None:
        """Follows nowhere."""


def _answers(url: str, timeout_seconds: float) -> bool:
    request = urllib.request.Request(url, method="HEAD")
    # Not `urlopen`: it keeps the proxies of its first call.
    opener = urllib.request.build_opener(_NoRedirects)
    try:
        with opener.open(request, timeout=timeout_seconds):
            return True
    except urllib.error.HTTPError as error:
        # A host that says "not found" is there. Over http it may be a proxy that says "forbidden";
        # over https a proxy that refuses is an OSError.
        is_proxied = url.startswith("http://") and "http" in urllib.request.getproxies()
        return not (is_proxied and error.code in PROXY_REFUSALS)
    except (OSError, http.client.HTTPException):
        return False
