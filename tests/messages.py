"""Messages as patterns, for `pytest.raises`."""

import re


def exactly(text):
    """A pattern of this message and no other."""
    return f"^{re.escape(text)}$"
