"""Settings of the heads: bounds, presets, and the table of them in the documentation."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from napari_lookagain.actions.config import ActionConfig, EyeConfig, HeadConfig, TrainingConfig
from napari_lookagain.errors import InputError

PAGE = Path(__file__).parents[2] / "docs" / "actions.md"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"head": {"kinds": "tcn"}}, "There is no setting 'head.kinds'; the nearest is 'head.kind'."),
        ({"head": {"kind": "mlp"}}, "The setting head.kind is 'mlp': input should be 'tcn' or 'linear'."),
        (
            {"head": {"filter_length": 8}},
            "The setting head.filter_length is 8: a filter needs a middle, expected an odd",
        ),
        ({"head": {"reads": ["pca", "pca"]}}, "a kind of feature is named twice"),
        ({"head": {"reads": ["wings"]}}, "The setting head.reads.0 is 'wings'"),
        ({"training": {"validation_share": 1}}, "The setting training.validation_share is 1"),
    ],
)
def test_bad_settings_are_told_in_a_sentence(changes, message):
    with pytest.raises(InputError, match=re.escape(message)):
        ActionConfig.preset("quick", **changes)


def test_an_unknown_preset_is_refused():
    with pytest.raises(InputError, match="There is no preset 'fast'; choose one of quick, paper"):
        ActionConfig.preset("fast")


def test_the_paper_preset_has_its_values():
    config = ActionConfig.preset("paper")
    training = config.training
    assert (training.sequence, training.batch, training.epochs, training.seeds) == (500, 16, 500, 5)
    assert (training.pooled_epochs, training.restart, training.lowest_learning_rate) == (200, 34, 5e-5)
    assert (training.validation_share, training.correct_prior) == (0.1, False)
    assert (config.head.blocks, config.head.dropout, config.head.pooling_heads) == (2, 0.1, 8)
    assert config.vision.components == 768


def test_settings_survive_being_written():
    config = ActionConfig.preset("quick", head={"reads": ["pca", "keypoints"]})
    assert ActionConfig.parse(json.loads(json.dumps(config.model_dump()))) == config


def test_every_setting_is_in_the_table_with_its_values():
    text = PAGE.read_text(encoding="utf-8")
    shown = {"default": {}, "quick": {}, "paper": {}}
    ours = set()
    for section, key, row in re.findall(r"^\| `(\w+)\.(\w+)` \|(.*)\|$", text, re.MULTILINE):
        cells = [cell.strip().strip("`") for cell in row.split("|")]
        assert len(cells) == 5, (section, key)
        ours |= {(section, key)} if cells[3] == "◇" else set()
        for name, cell in zip(shown, cells, strict=False):
            shown[name].setdefault(section, {})[key] = value_of(cell or cells[0])
    presets = {"default": ActionConfig(), "quick": ActionConfig.preset("quick"), "paper": ActionConfig.preset("paper")}
    for name, config in presets.items():
        settings = config.model_dump(mode="json", exclude={"features", "beast"})
        assert shown[name] == settings, name
    for section, kind in (("head", HeadConfig), ("vision", EyeConfig), ("training", TrainingConfig)):
        for key, field in kind.model_fields.items():
            assert ((section, key) in ours) == (field.description or "").startswith("◇"), key


def value_of(cell):
    try:
        return json.loads(cell)
    except ValueError:
        return cell
