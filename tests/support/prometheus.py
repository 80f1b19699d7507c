"""A real Prometheus and its promtool, of Debian sid."""

from __future__ import annotations

import functools
import json
import subprocess
import urllib.parse
from pathlib import Path
from typing import Any

from tests.support.service import Service
from tests.support.unpacked import without

_TOOL = Path(__file__).parents[2] / "tools" / "prometheus"


@functools.cache
def program(name: str) -> str:
    """Return the path of ``prometheus`` or ``promtool``, which are fetched if they are not here yet."""
    if without("prometheus"):
        import pytest

        pytest.skip("RR_WITHOUT=prometheus")
    done = subprocess.run([str(_TOOL)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"prometheus cannot be had:\n{done.stderr}"
    return f"{done.stdout.strip()}/{name}"


def promtool(*arguments: str | Path, text: str = "") -> str:
    """Run promtool, which must succeed, and return its output."""
    done = subprocess.run(
        [program("promtool"), *map(str, arguments)], input=text, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


class Prometheus(Service):
    """A Prometheus that scrapes one address each second and evaluates rules.

    :param target: ``host:port``.
    """

    def __init__(self, target: str, rules: Path) -> None:
        self._config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(rules)],
            "scrape_configs": [{"job_name": "restore-replay", "static_configs": [{"targets": [target]}]}],
        }
        super().__init__()

    def _start(self) -> subprocess.Popen[bytes]:
        (self.root / "prometheus.yml").write_text(json.dumps(self._config))
        return self._run(
            program("prometheus"),
            f"--config.file={self.root}/prometheus.yml",
            f"--storage.tsdb.path={self.root}/data",
            f"--web.listen-address=127.0.0.1:{self.port}",
        )

    def _is_up(self) -> bool:
        return bool(self.request("GET", "/-/ready"))

    def api(self, path: str, **parameters: str) -> Any:
        """Call its API, and return the data.

        :raises OSError: it does not accept the call, for example a query that is none.
        """
        _, body = self.request("GET", f"/api/v1/{path}?{urllib.parse.urlencode(parameters)}")
        answer = json.loads(body)
        assert answer["status"] == "success", answer
        return answer["data"]

    def query(self, expression: str) -> list[Any]:
        """Return the result of an instant query: samples."""
        result = self.api("query", query=expression)["result"]
        assert isinstance(result, list)
        return result
