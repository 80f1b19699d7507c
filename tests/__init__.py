"""Tests; what they share is in ``tests.support``, which the demo, benchmarks and tools use, too."""

import sys

if sys.modules.get("pytest"):
    import pytest

    # Before it is imported: a failed assertion in there says what it saw.
    pytest.register_assert_rewrite("tests.support", "tests.airflow.support")
