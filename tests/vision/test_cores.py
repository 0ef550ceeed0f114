"""Looking shares the cores: who decodes and cuts beside the encoder gets one, and nobody's threads stay changed."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from napari_lookagain import device
from napari_lookagain.config import Config
from napari_lookagain.progress import drain
from napari_lookagain.vision import look as looking
from napari_lookagain.vision.beast import SHAPES, Beast
from napari_lookagain.vision.beast_encoder import BeastEncoder
from napari_lookagain.vision.crops import Crops
from napari_lookagain.vision.look import look, see


@pytest.fixture
def threads():
    """Four of torch and of OpenCV, as on a machine with four cores; afterwards as many as before."""
    before = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(4)
    cv2.setNumThreads(4)
    yield
    torch.set_num_threads(before[0])
    cv2.setNumThreads(before[1])


class Counting(Crops):
    """Crops that count the threads of OpenCV while they are cut."""

    def cut(self, frame, index, animal):
        self.counted = {*getattr(self, "counted", ()), cv2.getNumThreads()}
        return super().cut(frame, index, animal)


@pytest.mark.parametrize(("small", "cores", "left"), [(128, 4, 3), (128, 8, 4), (128, 1, 1), (47, 4, 4)])
def test_an_encoder_of_small_images_leaves_a_core_to_who_decodes(session, threads, monkeypatch, small, cores, left):
    monkeypatch.setattr(device, "cpu_count", lambda: cores)
    monkeypatch.setattr(looking, "_SMALL", small)
    encoder, counted = BeastEncoder.of(Beast(SHAPES["tiny"])), set()
    encode = encoder.encode

    def count(images, what="mean"):
        counted.add(torch.get_num_threads())
        return encode(images, what)

    monkeypatch.setattr(encoder, "encode", count)
    crops = Counting(session, size=encoder.size)
    looked = np.zeros((session.n_frames, session.n_animals), bool)
    looked[:40] = True
    drain(look(session, encoder, crops, looked))
    assert (counted, crops.counted) == ({left}, {1})
    assert (torch.get_num_threads(), cv2.getNumThreads()) == (4, 4)


def test_a_cancelled_look_gives_the_cores_back(session, threads):
    encoder = BeastEncoder.of(Beast(SHAPES["tiny"]))
    config = Config.preset("quick")
    work = see(session, encoder, config, np.ones((session.n_frames, session.n_animals), bool))
    next(work)
    work.close()
    assert (torch.get_num_threads(), cv2.getNumThreads()) == (4, 4)
