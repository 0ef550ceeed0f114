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
    before = {path: path.read_bytes() for path in out.rglob("*.safetensors")}
    again = drain(demo.run_demo(out, device="cpu"))
    assert again == summary, "the same seed gives the same result"
    assert {path: path.read_bytes() for path in before} == before, "nothing was written over"


def test_a_folder_with_other_things_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="is not empty; choose another folder with --out"):
        drain(demo.run_demo(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
