"""Studies: those that come with the package, files of one's own, and what is refused."""

from __future__ import annotations

import pytest

from napari_lookagain.baselines import METHODS, method_of
from napari_lookagain.cli.options import names_of
from napari_lookagain.errors import InputError
from napari_lookagain.evaluation.study import STUDIES, Study
from napari_lookagain.settings import by_section

NAMES = sorted(each.name.removesuffix(".toml") for each in STUDIES.iterdir())


@pytest.mark.parametrize("name", NAMES)
def test_every_arm_of_the_studies_that_come_along_can_be_opened(name):
    study = Study.load(name)
    for arm in study.arms.values():
        if arm.method == "lookagain":
            assert study.config(arm, 3).training.seed == 3
        else:
            assert method_of(arm.method, arm.settings).kind in ("behavior", "cluster")


def test_there_is_a_study_of_every_method_and_ablation():
    assert {"ablations", "baselines", "labels", "looking"} <= set(NAMES)
    compared = {arm.method for arm in Study.load("baselines").arms.values()}
    assert compared == {"lookagain", *METHODS}
    ablations = Study.load("ablations")
    configs = [ablations.config(arm, 0).model_dump_json() for arm in ablations.arms.values()]
    assert len(set(configs)) == len(configs)  # no arm is another one under a second name
    assert set(ablations.arms["LookAgain"].budgets or ()) == {0, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 0.75, 1}


def test_settings_of_an_arm_come_on_top_of_those_of_the_study():
    study = Study.parse(
        {
            "settings": {"look.fill": "zero", "finetune.epochs": 7},
            "arms": {
                "a": {"settings": {"look.fill": "hold", "look.select": "topk"}},
                "many labels": {"preset": "labels"},
            },
        }
    )
    config = study.config(study.arms["a"], 1)
    assert (config.look.fill, config.look.select, config.finetune.epochs) == ("hold", "topk", 7)
    config = study.config(study.arms["many labels"], 1)
    assert (config.look.fill, config.pretrain.epochs, config.finetune.epochs) == ("zero", 0, 7)


@pytest.mark.parametrize("name", NAMES)
def test_every_arm_can_be_chosen_by_its_name(name):
    study = Study.load(name)
    for arm in study.arms:
        assert list(study.only(names_of(f"{arm},{arm}") or []).arms) == [arm]


def test_a_file_of_ones_own(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('seeds = [4, 4, 5]\n[arms]\n"trees" = { method = "trees" }\n')
    study = Study.load(str(path))
    assert study.seeds == (4, 5)  # each once
    assert list(study.arms) == ["trees"]


@pytest.mark.parametrize(
    "text, said",
    [
        ("seeds = [", "is no TOML"),
        ("sedes = [1]", "the nearest is 'seeds'"),
        ('[arms]\n"a" = { methods = "trees" }', "the nearest is 'arms.a.method'"),
        ("seeds = []", "seeds"),
        ('[arms]\n"clusters, k-means" = {}', "'clusters, k-means' has a comma in its name"),
    ],
)
def test_a_file_that_says_something_else_is_refused(tmp_path, text, said):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        Study.load(str(path))


def test_an_unknown_study_arm_setting_or_method_is_refused():
    with pytest.raises(InputError, match="choose one of ablations, baselines"):
        Study.load("looks")
    with pytest.raises(InputError, match="the nearest is 'top-k'"):
        Study.load("ablations").only(["topk"])
    with pytest.raises(InputError, match="SECTION.KEY"):
        by_section({"budget": 1})
    with pytest.raises(InputError, match="There is no method 'forest'"):
        method_of("forest", {})
