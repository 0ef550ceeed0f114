"""`lookagain doctor`: what it finds here, and what it says of machines that lack something."""

from __future__ import annotations

import importlib
import json
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest

from napari_lookagain import doctor


@pytest.fixture(scope="module")
def here() -> dict:
    return doctor.report()


def lacks(report: dict, word: str) -> bool:
    return any(word in entry["what"] for entry in report["missing"])


def test_report_is_plain_json(here):
    assert json.loads(json.dumps(here)) == here


def test_versions_are_those_installed(here):
    assert here["versions"]["torch"] == version("torch")
    assert here["versions"]["napari-lookagain"] == version("napari-lookagain")


def test_devices_are_those_of_torch(here):
    import torch

    assert here["devices"]["cpu"]["cores"] >= 1
    assert here["devices"]["cpu"]["threads"] == torch.get_num_threads()
    assert len(here["devices"]["cuda"]) == torch.cuda.device_count()


def test_video_is_written_and_read_back(here):
    assert here["video"]["encodes_h264"]
    assert here["video"]["decodes_h264"]
    assert not lacks(here, "h264")


def test_room_is_that_of_the_current_folder(here):
    assert here["disk_gib"]["folder"] == str(Path.cwd())
    assert 0 < here["disk_gib"]["free"] <= here["disk_gib"]["total"]
    assert 0 < here["memory_gib"]["free"] <= here["memory_gib"]["total"]


def test_description_names_everything(here):
    text = doctor.describe(here)
    for name, number in here["versions"].items():
        assert any(line.split() == [name, *(number or "not installed").split()] for line in text.splitlines())
    assert f"{here['disk_gib']['free']:.1f} GiB free" in text
    for entry in here["missing"]:
        assert entry["what"] in text
        assert entry["how"] in text


def test_description_lists_each_gpu(here):
    gpu = {"name": "Some GPU", "memory_gib": 79.6, "bf16": True}
    text = doctor.describe(here | {"devices": here["devices"] | {"cuda": [gpu, gpu]}, "missing": []})
    assert text.count("Some GPU, 80 GiB, bf16 yes") == 2
    assert text.endswith("nothing is missing")


def test_qt_binding(here, monkeypatch):
    versions = here["versions"] | {"PyQt6": None, "PySide6": None, "PyQt5": None}
    monkeypatch.setattr(doctor, "_version", versions.get)
    report = doctor.report()
    assert lacks(report, "Qt binding")
    assert 'pip install "napari-lookagain[all]"' in doctor.describe(report)
    monkeypatch.setattr(doctor, "_version", (versions | {"PySide6": "6.11.0"}).get)
    assert not lacks(doctor.report(), "Qt binding")


def test_ffmpeg_without_libx264(monkeypatch, tmp_path):
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(tmp_path / "no-such-ffmpeg"))
    report = doctor.report()
    assert not report["video"]["encodes_h264"]
    assert report["video"]["decodes_h264"]
    assert lacks(report, "libx264")


def test_broken_torchvision(monkeypatch, tmp_path):
    """A torchvision built for another torch raises RuntimeError on import."""
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text(
        "raise RuntimeError('operator torchvision::nms does not exist')"
    )
    (tmp_path / "torchvision-0.1.dist-info").mkdir()
    (tmp_path / "torchvision-0.1.dist-info" / "METADATA").write_text("Name: torchvision\nVersion: 0.1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    report = doctor.report()
    assert lacks(report, "operator torchvision::nms does not exist")


def test_little_room(monkeypatch):
    usage = SimpleNamespace(total=2**40, free=2**29)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda folder: usage)
    report = doctor.report()
    assert lacks(report, "disk: 0.5 GiB are free")
