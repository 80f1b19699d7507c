from __future__ import annotations

import subprocess
import sys

import msgspec
import pytest

from airflow_restore_replay.core.decoding import convert, decode, decoder

#: A hang keeps the interpreter's lock, so no timeout of ours would fire: another process has to watch.
MANY_THREADS = """
import sys, threading, types
from airflow_restore_replay.core.decoding import convert, decode
sys.setswitchinterval(1e-6)
SOURCE = '''
from __future__ import annotations
import msgspec
class Inner(msgspec.Struct):
    a: int = 0
    b: str | None = None
    c: dict[str, int] = {}
class Outer(msgspec.Struct):
    x: int = 1
    y: list[str] = []
    inner: Inner | None = None
    more: dict[str, list[Inner]] = {}
'''
for number in range(200):
    module = sys.modules[f"m{number}"] = types.ModuleType(f"m{number}")
    exec(SOURCE, module.__dict__)
    kinds, together, right = (module.Outer, module.Inner), threading.Barrier(8), []
    def work(which):
        together.wait()
        if which % 2:
            right.append(decode(b'{"x": 2, "a": 2}', kinds[which // 2 % 2]))
        else:
            right.append(convert({"x": 2, "a": 2}, kinds[which // 2 % 2]))
    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    assert len(right) == 8
print("done")
"""


class Point(msgspec.Struct):
    x: int


def test_threads_that_meet_a_type_for_the_first_time_do_not_hang() -> None:
    done = subprocess.run([sys.executable, "-c", MANY_THREADS], capture_output=True, text=True, timeout=120)
    assert done.stdout == "done\n", done.stderr


def test_what_is_not_of_the_type_is_refused() -> None:
    assert decode(b'{"x":1}', Point) == convert({"x": 1}, Point) == Point(1)
    assert decoder(Point) is decoder(Point)
    with pytest.raises(msgspec.ValidationError):
        decode(b'{"x":"1"}', Point)
    with pytest.raises(msgspec.ValidationError):
        convert({"x": "1"}, Point)
    with pytest.raises(msgspec.DecodeError):
        decode(b"{", Point)
