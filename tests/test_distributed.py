"""Training by several processes, as `accelerate launch` starts them: they learn what one would have learnt."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_lookagain.cli.show import show, watch
from napari_lookagain.config import Config
from napari_lookagain.device import accelerator
from napari_lookagain.errors import InputError
from napari_lookagain.material import Material, behavior_labels, gather
from napari_lookagain.model.lookagain import LookAgain, ModelCard
from napari_lookagain.progress import drain
from napari_lookagain.runs import train
from napari_lookagain.session import load_session
from napari_lookagain.train import finetune, pretrain
from napari_lookagain.training_loop import History

NAMES = ("walk", "groom", "tail_raise", "rest", "feed")
STAGES = ("pretraining", "behavior", "cluster")
# Nothing is drawn at random, and batches of 5 windows leave two processes shares of 3 and 2.
EVEN = {
    "motion": {"dropout": 0.0},
    "look": {"noise": "none", "vary_budget": 0.0},
    "pretrain": {"mask_weight": 0.0, "batch": 5},
    "finetune": {"dropout": 0.0, "motion_dropout": 0.0, "noise": 0.0, "learn_motion": True, "batch": 5},
}


def gathered(folder: Path, config) -> Material:
    session = load_session(folder)
    behavior, names = behavior_labels([session], None)
    assert set(names) == set(NAMES)
    return drain(gather([session], config, behavior=behavior, device="cpu"))


def trained(material: Material, stage: str) -> tuple[History, dict[str, torch.Tensor]]:
    """One stage from a model whose codebooks have started, and none of whose codes dies: both are drawn at random."""
    features = material.batches.recordings[0].features
    card = ModelCard(
        keypoint_names=tuple("abcdefgh"),
        n_coords=2,
        n_features=features.width,
        n_neighbors=1,
        visual_width=material.visual_width,
        kind="cluster" if stage == "cluster" else "behavior",
        names=NAMES,
    )
    torch.manual_seed(0)
    model = LookAgain(card, material.config)
    windows, held_out = material.split(material.windows if stage == "pretraining" else material.fine_windows)
    batch = material.batches(material.windows)
    levels = model.motion_encoder.quantizer.layers
    codes = torch.randn(len(levels), *levels[0].codebook.shape)
    with torch.no_grad():
        latent = model.motion_encoder.encode(model.motion_encoder.standardize(batch.motion), batch.valid)
        for level, drawn in zip(levels, codes, strict=True):
            book = level._codebook
            book.embed.copy_(drawn * latent[batch.valid].std())
            book.embed_avg.copy_(book.embed)
            book.cluster_size.fill_(1)
            book.initted.fill_(True)
            book.threshold_ema_dead_code = 0
    work = pretrain if stage == "pretraining" else finetune
    history = drain(work(model, material.batches, windows, held_out, device="cpu"))
    return history, model.state_dict()


def process(session: Path, settings: str, out: Path) -> None:
    """What each of the processes does: every stage, then the whole job of the command."""
    place, config = accelerator("cpu"), Config.parse(json.loads(settings))
    material = gathered(session, config)
    for stage in STAGES:
        history, weights = trained(material, stage)
        told = {"loss": history.loss, "held_out": history.held_out_loss, "kept": history.kept_epoch}
        (out / f"{stage}-{place.process_index}.json").write_text(json.dumps(told))
        torch.save(weights, out / f"{stage}-{place.process_index}.pt")
    work = train([load_session(session)], out / "model", config, device="cpu")
    show(watch(work), as_json=True)


@pytest.fixture(scope="module")
def even(tiny):
    return tiny(**EVEN)


@pytest.fixture(scope="module")
def two(mice, even, tmp_path_factory):
    """What two processes left in a folder, and what they said."""
    out = tmp_path_factory.mktemp("two")
    session = shutil.copytree(mice, out / "mice.lookagain")
    script = out / "process.py"
    script.write_text(
        "import sys\nfrom pathlib import Path\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from test_distributed import process\n"
        "process(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))\n"
    )
    launch = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone", script]
    done = subprocess.run(
        [sys.executable, *map(str, launch), str(session), even.model_dump_json(), str(out)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return out, done.stdout


@pytest.mark.parametrize("stage", STAGES)
def test_two_processes_learn_what_one_would(two, mice, even, stage, tmp_path):
    out, _ = two
    told = [json.loads((out / f"{stage}-{rank}.json").read_text()) for rank in (0, 1)]
    weights = [torch.load(out / f"{stage}-{rank}.pt", weights_only=True) for rank in (0, 1)]
    assert told[0] == told[1]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    alone, own = trained(gathered(shutil.copytree(mice, tmp_path / "mice.lookagain"), even), stage)
    assert len(alone.loss) == even.pretrain.epochs
    np.testing.assert_allclose(told[0]["loss"], alone.loss, rtol=1e-4)
    np.testing.assert_allclose(told[0]["held_out"], alone.held_out_loss, rtol=1e-3)
    assert told[0]["kept"] == alone.kept_epoch
    for name, value in own.items():
        np.testing.assert_allclose(weights[0][name].float(), value.float(), atol=2e-3, err_msg=name)


def test_one_of_the_processes_keeps_the_model_and_speaks(two):
    out, said = two
    lines = [line for line in said.splitlines() if line.startswith("{")]
    assert len(lines) == 1
    assert json.loads(lines[0])["recordings"] == ["mice"]
    assert sorted(path.name for path in (out / "model").iterdir()) == [
        "config.json",
        "encoder",
        "metrics.json",
        "weights.safetensors",
    ]
    assert len(list((out / "mice.lookagain" / "features").glob("pca-*"))) == 1  # looks of one are looks of all


def test_a_batch_that_leaves_a_process_without_a_window_is_refused(session, even, monkeypatch):
    monkeypatch.setattr("accelerate.Accelerator.num_processes", 8)
    with pytest.raises(InputError, match="4 windows cannot be shared by 8 processes"):
        trained(gathered(session.path, even), "behavior")
