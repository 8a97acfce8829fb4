"""What tests of files share: how often a file was opened."""

import pytest

from tests.openings import Openings


@pytest.fixture
def opened():
    """Counts the openings of files while the test runs."""
    with Openings() as openings:
        yield openings
