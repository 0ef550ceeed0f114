"""Benchmarks run at their smallest size, and tell what they promise."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from napari_lookagain.simulate import simulate
from napari_lookagain.video import Video

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
needs_proc = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read where Linux tells it")


def test_what_looking_costs(tmp_path, monkeypatch, capsys) -> None:
    out = tmp_path / "cost.json"
    sizes = ["--frames", "64", "--eyes", "tiny", "--budgets", "0.25", "--rounds", "1", "--minutes", "0"]
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.setattr("sys.argv", ["cost.py", *sizes, "--json", str(out)])
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


def test_a_video_made_of_a_clip_shows_it_again_and_again(tmp_path, monkeypatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    clip = simulate(tmp_path, n_frames=12, n_animals=1, size=(160, 160)).video
    with Video(clip) as short, Video(import_module("long_recordings").repeat(clip, tmp_path / "long.mp4", 30)) as long:
        assert (long.n_frames, long.fps, long.variable_frame_rate) == (36, short.fps, False)
        for i in (0, 11, 12, 13, 30, 35):
            np.testing.assert_array_equal(long.frame(i), short.frame(i % 12))


@needs_proc
def test_one_command_gathers_what_is_measured(simulated, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    options = ["--only", "decoding", "--video", str(simulated.video), "--out", str(tmp_path)]
    monkeypatch.setattr("sys.argv", ["report.py", *options])
    import_module("report").main()
    told = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert told["decoding"]["frames"] == 300
    assert told["decoding"]["wanted"]["100 %"]["decoded"] == 1
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert text.startswith("## Decoding some of the frames")
    assert text in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["report.py", *options, "--only", "cost", "--frames", "none"])
    with pytest.raises(SystemExit, match=r"cost.py failed"):
        import_module("report").main()


def test_a_long_recording_is_looked_at(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    benchmark = import_module("long_recordings")
    clip, width = benchmark._clip_and_eye(tmp_path, 40)
    session = tmp_path / "walk1.lookagain"
    benchmark.make_session(session, 260, 1, clip)
    benchmark.make_model(tmp_path / "model", session, width)
    sizes = ["--measure", str(tmp_path), str(session), "--looks", "0.05"]
    monkeypatch.setattr("sys.argv", ["long_recordings.py", *sizes])
    benchmark.main()
    told = json.loads(capsys.readouterr().out)
    assert told["frames"] == 260
    assert 0.05 <= told["looked"] <= told["decoded"] <= 1
    assert 0 < told["own_mb"] <= told["peak_mb"]
    head, line, row = benchmark.table([told])
    assert head.count("|") == line.count("|") == row.count("|") == len(benchmark.SHOWN) + 1
    longer = told | {"frames": 520, "own_mb": told["own_mb"] * 1.5}
    assert benchmark.slopes([told]) == []
    own, peak = benchmark.slopes([told, longer])
    assert own.endswith("1.500")
    assert peak.endswith("1.000")


def test_ways_to_look_are_compared(tmp_path, monkeypatch, capsys) -> None:
    out = tmp_path / "encoders.json"
    sizes = ["--eyes", "tiny", "--ways", "bfloat16, channels", "openvino, f32", "--batches", "1", "--rounds", "1"]
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.setattr("sys.argv", ["encoders.py", *sizes, "--out", str(out)])
    import_module("encoders").main()
    told = json.loads(out.read_text(encoding="utf-8"))
    rows = {(row["way"], row.get("batch")): row for row in told["eyes"][0]["rows"]}
    assert rows["float32", 16]["cosine"] == pytest.approx(1)
    assert 0.999 < rows["bfloat16, channels last", 16]["cosine"] < 1
    assert rows[told["now"], 16]["times_now"] == [1, 1]
    assert min(rows[told["now"], 1]["images_per_s"]) > 0
    if ("openvino, f32", 16) in rows:
        assert rows["openvino, f32", 16]["cosine"] > 0.999
    else:
        assert rows["openvino, f32", None]["skipped"].startswith("ModuleNotFoundError")
    table = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert len(table) == 2 + len(told["eyes"][0]["rows"])
    assert {line.count("|") for line in table} == {8}
