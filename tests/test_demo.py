"""The demonstration, in small."""

from __future__ import annotations

import functools
import json
from types import SimpleNamespace

import pandas as pd
import pytest

import napari_lookagain.demo as demo
from napari_lookagain.errors import InputError
from napari_lookagain.progress import drain
from napari_lookagain.simulate import simulate_session

N_FRAMES = 150


@pytest.fixture
def small(monkeypatch, tiny):
    """Recordings of a few seconds, and settings that train in a second."""
    short = functools.partial(simulate_session, n_frames=N_FRAMES, size=(240, 180))
    monkeypatch.setattr(demo, "simulate_session", short)
    monkeypatch.setattr(demo, "Config", SimpleNamespace(preset=lambda name, **changes: tiny(**changes)))
    monkeypatch.setattr(demo, "SHORT", {"finetune": {"clusters": 3}})


@pytest.mark.slow
def test_the_demonstration_leaves_a_report(small, tmp_path):
    out = tmp_path / "demo"
    summary = drain(demo.run_demo(out, device="cpu"))
    table = pd.read_csv(out / "ethogram.csv")
    sizes = table.groupby("animal").size()
    assert sizes.to_dict() == dict.fromkeys(["mouse1", "mouse2"], N_FRAMES)
    assert table["behavior"].notna().all()
    assert table["cluster"].notna().all()
    report = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    assert set(report["behavior_by_budget"]) == {"0", "0.25"}
    for scores in (*report["behavior_by_budget"].values(), report["clusters"]):
        assert scores["frames"] == 2 * N_FRAMES
        assert 0 <= scores["macro_f1"] <= 1
    looked = 2 * (4 * 8 + 6) / (2 * N_FRAMES)  # windows of 32, the last of 22
    assert summary["looked_share"] == pytest.approx(looked, abs=1e-3)
    assert table["looked"].mean() == pytest.approx(looked)
    assert (out / "ethogram.png").read_bytes().startswith(b"\x89PNG")
    (out / "model-2").mkdir()  # of a training that was cut off
    before = {path: path.read_bytes() for path in out.rglob("*.safetensors")}
    again = drain(demo.run_demo(out, device="cpu"))
    assert again == summary, "the same seed gives the same result"
    assert {path: path.read_bytes() for path in before} == before, "nothing was written over"
    assert sorted(path.name for path in out.glob("model-*")) == ["model-1", "model-2"]


def test_a_demonstration_that_was_cut_off_goes_on(small, tmp_path, monkeypatch):
    out, simulate_session = tmp_path / "demo", demo.simulate_session

    def killed(folder, **options):
        simulate_session(folder, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "simulate_session", killed)
    with pytest.raises(KeyboardInterrupt):
        drain(demo.run_demo(out))
    assert (out / "recordings" / "seen-1.mp4").exists()
    monkeypatch.setattr(demo, "simulate_session", simulate_session)
    again = demo.run_demo(out)
    assert [next(again).done for _ in range(2)] == [0, 1]
    assert (out / "seen-1.lookagain").is_dir()


def test_a_demonstration_with_another_seed_is_refused(small, tmp_path):
    begun = demo.run_demo(tmp_path, seed=1)
    next(begun)
    with pytest.raises(InputError, match='holds the demonstration {"seed": 1}, but {"seed": 2} was asked for; choose'):
        next(demo.run_demo(tmp_path, seed=2))
    assert next(demo.run_demo(tmp_path, seed=1)).stage == "simulating"
    (tmp_path / "demo.json").write_bytes(b"\xff")
    with pytest.raises(InputError, match="choose another folder with --out"):
        next(demo.run_demo(tmp_path, seed=1))


def test_a_folder_with_other_things_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="is not empty; choose another folder with --out"):
        drain(demo.run_demo(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    with pytest.raises(InputError, match="mine.txt.* cannot be written"):
        drain(demo.run_demo(tmp_path / "mine.txt"))
