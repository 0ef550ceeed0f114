"""The benchmark of what looking costs runs at its smallest size, and tells what it promises."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def test_what_looking_costs(tmp_path, monkeypatch, capsys) -> None:
    out = tmp_path / "cost.json"
    sizes = ["--frames", "64", "--eyes", "tiny", "--budgets", "0.25", "--rounds", "1", "--minutes", "0"]
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.setattr("sys.argv", ["cost.py", *sizes, "--out", str(out)])
    import_module("cost").main()
    told = json.loads(out.read_text(encoding="utf-8"))
    assert {"machine", "frame_size", "eyes", "training", "long"} == told.keys()
    (eye,) = told["eyes"]
    blind, some, dense = eye["budgets"]
    assert [row["looked"] for row in eye["budgets"]] == [0, 0.25, 1]  # budget 0 and 1 are always among them
    assert blind["decoded"] == 0
    assert 0.25 <= some["decoded"] <= dense["decoded"] == 1
    assert dense["times_dense"] == [1, 1]
    assert some["times_reader"] == pytest.approx(
        [pace / reader for pace, reader in zip(some["frames_per_s"], eye["reader_frames_per_s"], strict=True)]
    )
    assert 0 < some["of_pipelined"] / some["of_serial"] <= 1  # the longer of two, and their sum
    assert "of_pipelined" not in blind
    assert min(told["training"]["frames_per_s"]) > 0
    table = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert len(table) == 2 + 3 + 1  # head, budgets, reader
    assert {line.count("|") for line in table} == {11}
