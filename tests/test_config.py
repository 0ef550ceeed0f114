"""Settings: the presets, what may be changed, and what is said of a mistake."""

from __future__ import annotations

import json
import re

import pytest
from pydantic import ValidationError

from napari_lookagain.config import Config
from napari_lookagain.errors import InputError

NO_LOSS = {"mask_weight": 0, "pred_weight": 0, "rvq_weight": 0, "recon_weight": 0}


def test_the_paper_preset_has_the_forms_and_values_of_the_paper():
    paper = Config.preset("paper")
    assert (paper.features.frame, paper.features.confidence_threshold) == ("arena", 0.25)
    assert (paper.look.select, paper.look.fill, paper.look.noise) == ("topk", "zero", "paper")
    assert (paper.vision.encoder, paper.vision.crop) == ("qwen3-vl", "plain")
    assert (paper.motion.latent_width, paper.motion.codes, paper.motion.levels) == (128, 512, 2)
    assert (paper.motion.width, paper.motion.layers, paper.motion.social_layers) == (256, 4, 2)
    assert (paper.pretrain.learning_rate, paper.pretrain.final_learning_rate, paper.pretrain.epochs) == (
        1e-4,
        1e-5,
        300,
    )
    assert (paper.finetune.learning_rate, paper.finetune.final_learning_rate, paper.finetune.epochs) == (5e-5, 1e-5, 50)
    assert (paper.pretrain.horizons, paper.pretrain.horizon_weights) == ((4, 8, 16), (1.0, 0.7, 0.4))
    weights = paper.pretrain.pred_weight, paper.pretrain.rvq_weight, paper.pretrain.recon_weight
    assert (*weights, paper.pretrain.commitment, paper.finetune.tv_weight) == (0.5, 0.1, 0.1, 0.25, 0.1)
    assert (paper.finetune.motion_dropout, paper.finetune.correct_prior) == (0.0, False)


def test_the_quick_preset_keeps_the_better_choices():
    quick = Config.preset("quick")
    assert (quick.features, quick.look, quick.vision.crop) == (Config().features, Config().look, "turned")
    assert quick.vision.crop_scale < Config().vision.crop_scale, "its small eye sees little of a large crop"
    assert (quick.look.select, quick.look.fill) == ("spread", "hold")
    assert quick.pretrain.epochs < Config.preset("paper").pretrain.epochs


def test_the_preset_for_many_labels_learns_from_labels_alone():
    labels, quick = Config.preset("labels"), Config.preset("quick")
    assert (labels.pretrain.epochs, labels.finetune.learn_motion) == (0, True)
    assert labels.training.max_windows > quick.training.max_windows, "all that is scored is read"
    assert (labels.motion.width, labels.vision) == (quick.motion.width, quick.vision), "and else it is quick"


def test_changes_keep_everything_else():
    config = Config.preset("paper", look={"budget": 0.1}, finetune={"clusters": 12})
    assert (config.look.budget, config.look.select, config.finetune.clusters) == (0.1, "topk", 12)
    again = config.updated(look={"select": "grid"})
    assert (again.look.budget, again.look.select) == (0.1, "grid")
    assert config.look.select == "topk", "a change makes new settings"


@pytest.mark.parametrize("name", ["quick", "labels", "paper"])
def test_settings_survive_json(name):
    config = Config.preset(name)
    assert Config.parse(json.loads(json.dumps(config.model_dump()))) == config


def test_settings_cannot_be_changed_in_place():
    with pytest.raises(ValidationError, match="frozen"):
        Config().look.budget = 0.5


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"look": {"budgt": 0.1}}, "There is no setting 'look.budgt'; the nearest is 'look.budget'."),
        ({"lok": {"budget": 0.1}}, "There is no setting 'lok'; the nearest is 'look'."),
        ({"training": {"seeds": 1}}, "There is no setting 'training.seeds'; the nearest is 'training.seed'."),
        ({"look": {"budget": 1.5}}, "The setting look.budget is 1.5: input should be less than or equal to 1."),
        ({"look": {"budget": -0.1}}, "The setting look.budget is -0.1: input should be greater than or equal to 0."),
        ({"look": {"select": "best"}}, "The setting look.select is 'best': input should be 'spread', 'topk',"),
        ({"look": {"terms": ["speed"]}}, "The setting look.terms.0 is 'speed': input should be"),
        ({"motion": {"window": "long"}}, "The setting motion.window is 'long': input should be a valid integer"),
        ({"motion": {"width": 100}}, "The settings of motion do not fit each other: width 100 and latent_width 128"),
        ({"motion": {"latent_width": 12, "heads": 8}}, "must be multiples of heads"),
        ({"pretrain": {"horizons": [4, 8]}}, "The settings of pretrain do not fit each other: horizons must be frames"),
        ({"pretrain": {"horizons": [0, 8, 16]}}, "horizons must be frames ahead, 1 or more"),
        ({"pretrain": {"mask_span": [8, 4]}}, "mask_span (8, 4) must go from the shortest span to the longest"),
        ({"pretrain": {"mask_span": [0, 4]}}, "mask_span (0, 4) must go from the shortest span to the longest"),
        ({"pretrain": {"mask_share": 0}}, "The setting pretrain.mask_share is 0: input should be greater than 0."),
        ({"pretrain": {"mask_weight": -1}}, "The setting pretrain.mask_weight is -1: input should be greater than or"),
        ({"pretrain": NO_LOSS}, "of pretrain do not fit each other: with every weight 0 there is nothing to learn;"),
        ({"finetune": {"reads": "pose"}}, "The setting finetune.reads is 'pose': input should be 'both' or 'video'."),
        (
            {"finetune": {"reads": "video"}, "look": {"budget": 0}},
            "The settings do not fit each other: with look.budget 0 nothing is seen, so finetune.reads cannot be",
        ),
    ],
)
def test_a_mistake_is_told_in_one_line(changes, message):
    with pytest.raises(InputError, match=re.escape(message)) as told:
        Config().updated(**changes)
    assert "\n" not in str(told.value)


def test_without_pretraining_there_need_be_no_loss_of_it():
    assert not Config.preset("paper").finetune.learn_motion, "the paper freezes the motion encoder"
    Config().updated(pretrain={"epochs": 0, **NO_LOSS})


def test_an_unknown_preset_names_the_others():
    with pytest.raises(InputError, match="no preset 'fast'; choose one of quick, labels, paper"):
        Config.preset("fast")


def test_an_eye_of_each_size_has_weights_to_start_from():
    """The paper's are of the largest alone."""
    for preset in ("quick", "paper"):
        weights = {
            size: Config.preset(preset, beast={"size": size}).beast.weights for size in ("tiny", "small", "base")
        }
        assert weights == {"tiny": "scratch", "small": "scratch", "base": "facebook/vit-mae-base"}
    assert Config.preset("paper", beast={"start": "scratch"}).beast.weights == "scratch"
