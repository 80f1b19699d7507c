"""Tests; what they share is in ``tests.support``."""

import pytest

# Before it is imported: a failed assertion in there says what it saw.
pytest.register_assert_rewrite("tests.support", "tests.airflow.support")
