"""The bytes of a request: how many there may be, and what they were before they were compressed.

TensorFlow Serving reads gzip and nothing else.
"""

import gzip
import io
import zlib

from tfkd.serving.contract import Refusal, RequestLimits


def check_size(num_bytes: int, limits: RequestLimits) -> None:
    """Refuses a body above the limit with 413."""
    if num_bytes > limits.body_bytes:
        raise Refusal(413, f"Expected a body of at most {limits.body_bytes} bytes. Received more.")


def decoded_body(body: bytes, encoding: str, limits: RequestLimits) -> bytes:
    """The body as it was before its sender compressed it; no more of it than is allowed is made.

    Raises:
        Refusal: 415 for another encoding than gzip, 400 for broken data, 413 for too many bytes.

    Example:

    >>> decoded_body(gzip.compress(b"{}"), "gzip", RequestLimits())
    b'{}'
    """
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "x-gzip"):
        raise Refusal(415, f"Expected Content-Encoding gzip or none. Received: {encoding[:100]!a}.")
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(body)) as stream:
            decoded = stream.read(limits.body_bytes + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise Refusal(400, f"Expected a body in gzip. Received: {error}.") from error
    check_size(len(decoded), limits)
    return decoded
