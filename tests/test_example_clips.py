"""Clips of bouts: short, small, and of the right animal and frames."""

from __future__ import annotations

import numpy as np
import pytest

from napari_lookagain.annotations import Bout
from napari_lookagain.errors import InputError
from napari_lookagain.example_clips import example_clips


def test_clips_show_the_middle_of_long_bouts_and_what_is_around_short_ones(session):
    bouts = [Bout(0, "walk", 100, 260), Bout(1, "rest", 2, 6), Bout(1, "rest", 295, 300)]
    clips = list(example_clips(session, bouts, size=64, color="#ff0000"))
    assert [clip.bout for clip in clips] == bouts
    assert [clip.pictures.shape for clip in clips] == [(50, 64, 64, 3), (20, 64, 64, 3), (20, 64, 64, 3)]
    assert [int(clip.inside.sum()) for clip in clips] == [50, 4, 5]
    assert clips[1].inside[2:6].all()
    assert clips[2].inside[-5:].all()
    assert all(clip.fps == session.fps for clip in clips)
    red = np.array([255, 0, 0])
    assert all((np.abs(clip.pictures[0].astype(int) - red).sum(axis=-1) < 40).any() for clip in clips)


def test_a_high_frame_rate_takes_no_more_memory(session):
    session.fps = 120.0
    [clip] = example_clips(session, [Bout(0, "walk", 0, 300)], size=32)
    assert len(clip.pictures) == len(clip.inside) == 48
    assert clip.fps == 24


def test_without_a_video_there_is_nothing_to_see(session):
    session.video = None
    with pytest.raises(InputError, match="has no video"):
        list(example_clips(session, [Bout(0, "walk", 0, 10)]))
