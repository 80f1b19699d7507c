"""moto: S3 with STS, KMS and IAM, which SeaweedFS lacks. It holds objects in memory and checks no signatures."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from tests.support.stores.s3 import S3Store


class Moto(S3Store):
    def demand_rights(self) -> None:
        """From now on, refuse what no IAM policy allows, and unknown keys."""
        self.raw("POST", "/moto-api/reset-auth", b"0")

    def user(self, name: str, policy: dict[str, Any]) -> dict[str, str]:
        """Return credentials of a new user with *policy*."""
        iam = self.boto("iam")
        iam.create_user(UserName=name)
        iam.put_user_policy(UserName=name, PolicyName=name, PolicyDocument=json.dumps(policy))
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return {"access_key_id": key["AccessKeyId"], "secret_access_key": key["SecretAccessKey"]}

    def _start(self) -> subprocess.Popen[bytes]:
        return self._run(sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port))

    def _is_up(self) -> bool:
        self.raw("GET", "/moto-api/")
        return True
