"""Compressed bodies: what they were, or why they are refused; a bomb is never made whole."""

import gzip
import tracemalloc

import pytest

from tfkd.serving.body import decoded_body
from tfkd.serving.contract import Refusal, RequestLimits

LIMITS = RequestLimits(body_bytes=1000)


def test_a_compressed_body_is_what_it_was():
    content = b'{"instances": ["rain"]}'
    for encoding in ("gzip", "x-gzip"):
        assert decoded_body(gzip.compress(content), encoding, LIMITS) == content
    # Two members in a row are one stream, as of `gzip -c a b`.
    joined = gzip.compress(content[:5]) + gzip.compress(content[5:])
    assert decoded_body(joined, "gzip", LIMITS) == content
    for encoding in ("", "identity"):
        assert decoded_body(content, encoding, LIMITS) == content


@pytest.mark.parametrize("encoding", ["deflate", "br", "zstd", "gzip, gzip", "gzipped"])
def test_another_encoding_is_415(encoding):
    with pytest.raises(Refusal, match="^Expected") as caught:
        decoded_body(b"{}", encoding, LIMITS)
    message = f"Expected Content-Encoding gzip or none. Received: {encoding!r}."
    assert (caught.value.status, str(caught.value)) == (415, message)


@pytest.mark.parametrize(
    ("damaged", "received"),
    [
        (b"{}", "Not a gzipped file (b'{}')"),
        (
            gzip.compress(b"rain" * 99, mtime=0)[:-9],
            "Compressed file ended before the end-of-stream marker",
        ),
        (gzip.compress(b"rain", mtime=0)[:-8] + bytes(8), "CRC check failed"),
        (gzip.compress(b"rain", mtime=0)[:10] + b"\xff" * 20, "Error -3 while decompressing data"),
    ],
)
def test_broken_compression_is_400(damaged, received):
    with pytest.raises(Refusal, match="^Expected a body in gzip. Received") as caught:
        decoded_body(damaged, "gzip", LIMITS)
    assert caught.value.status == 400
    assert str(caught.value).startswith(f"Expected a body in gzip. Received: {received}")


def test_a_compressed_body_has_the_limit_of_a_plain_one():
    assert decoded_body(gzip.compress(bytes(1000)), "gzip", LIMITS) == bytes(1000)
    # 50 MB in 50 kB; what is above the limit is never made.
    bomb = gzip.compress(bytes(50_000_000))
    tracemalloc.start()
    with pytest.raises(Refusal, match="^Expected a body of at most 1000 bytes. Received") as caught:
        decoded_body(bomb, "gzip", LIMITS)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert caught.value.status == 413
    assert peak < 1_000_000
