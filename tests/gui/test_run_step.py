"""The second step: what a run costs, running it, cancelling, resuming, looking again, and showing earlier runs."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from napari_lookagain import config as configuration
from napari_lookagain.cost import count_looks
from napari_lookagain.decode_cost import decoded_share
from napari_lookagain.gui.state import Selection
from napari_lookagain.kept_runs import kept_runs, resumable_segment
from napari_lookagain.looks import keep_wishes, wishes_of
from napari_lookagain.session import load_session


@pytest.fixture
def quick(monkeypatch, tiny):
    """Let the preset "quick" train in seconds, with changes if need be."""

    def change(**changes) -> None:
        settings = tiny(**changes).model_dump()
        monkeypatch.setitem(configuration._PRESETS, "quick", settings)

    change()
    return change


@pytest.fixture
def step(quick, dock, session):
    """The step with a session open."""
    dock.open(session)
    dock.run_step.settings.clusters.setValue(3)
    return dock.run_step


@pytest.fixture(scope="module")
def segmented(mice, tiny, tmp_path_factory) -> Path:
    """The session folder after a run; not to be changed."""
    session = load_session(shutil.copytree(mice, tmp_path_factory.mktemp("segmented") / "mice.lookagain"))
    for _ in resumable_segment(session, tiny(), run="segment", device="cpu"):
        pass
    return session.path


@pytest.fixture
def found(dock, step, segmented, tmp_path):
    """A copy of that session, open, with what the run found in view."""
    session = load_session(shutil.copytree(segmented, tmp_path / "segmented.lookagain"))
    dock.open(session)
    dock.steps[1].unfold()
    return session


@pytest.fixture
def stages(dock) -> list[str]:
    """The stages that jobs go through."""
    stages: list[str] = []
    dock.jobs.changed.connect(
        lambda: [job.told.connect(lambda told: stages.extend(each.stage for each in told)) for job in dock.jobs.running]
    )
    return stages


@pytest.fixture
def run(qtbot, dock, step, click):
    """Do a run by its button, and wait until what it found is in view."""

    def act(button=None) -> None:
        click(button or step.run)
        assert dock.jobs.busy
        qtbot.waitUntil(lambda: not dock.jobs.busy, timeout=60_000)

    return act


def test_what_a_run_costs_is_told_before(qtbot, dock, step, quick):
    from qtpy.QtCore import Qt

    assert "looks at 75 of 300 frames of each animal" in step.preview.text()
    step.settings.budget.slider.setFocus()
    for _ in range(15):
        qtbot.keyClick(step.settings.budget.slider, Qt.Key.Key_Left)
    assert step.settings.budget.number.value() == 10
    assert f"looks at {count_looks(300, 32, 0.1)} of 300" in step.preview.text()
    step.settings.budget.number.setValue(0)
    assert "looks at no frame" in step.preview.text()
    assert step.preview.text().startswith("Learns from 300 frames")


def test_choices_are_the_core_s_and_explain_themselves(step):
    settings = step.settings
    assert settings.budget.slider.toolTip() == "Share of the valid frames of a window to look at."
    assert settings.clusters.toolTip() == "How many clusters to discover."
    for control in (settings.scope, settings.encoder, settings.preset, settings.device, step.run):
        assert control.toolTip()
    settings.preset.setCurrentText("paper")
    assert settings.config().vision.encoder == "qwen3-vl"
    assert settings.config().finetune.clusters == 3


def test_without_a_video_there_is_nothing_to_look_at(dock, step, simulated, tmp_path, quick):
    from napari_lookagain.session import new_session

    blind = new_session(simulated.pose, fps=25)
    blind.save(tmp_path / "blind.lookagain")
    dock.open(blind)
    assert not step.settings.budget.isEnabled()
    assert step.settings.config().look.budget == 0
    assert "looks at no frame" in step.preview.text()


def test_without_keypoints_nothing_is_run_but_what_else_can_be_done_is_told(dock, step, session, untracked):
    dock.open(untracked)
    assert "reads keypoints on every frame, and this recording has none" in step.preview.text()
    assert "lookagain train --head tcn" in step.preview.text()
    assert not any(control.isEnabled() for control in (step.run, step.settings))
    dock.open(session)
    assert step.run.isEnabled()
    assert step.settings.isEnabled()


def test_a_run_is_shown_kept_and_named_anew(qtbot, viewer, dock, step, run, session):
    run()
    state = dock.view.state
    assert state.discovered.names == ("cluster 1", "cluster 2", "cluster 3")
    assert "segment: 3 clusters, 25 % of the frames looked at." in step.panel.message.text.text()
    assert "discovered" in {layer.metadata["lookagain"]["role"] for layer in viewer.layers}
    assert [item.text() for item in items(step)] == ["● segment   clusters, 25 % looked at"]
    assert step.panel.loss.isVisibleTo(step) is False
    assert not any(session.run_folder("segment").glob("begun.json"))
    state.naming.rename(0, "walking")
    run()
    assert [run.name for run in kept_runs(session)] == ["segment-2", "segment"]
    assert "Carried over from the run before: walking (cluster 1)" in step.panel.message.text.text()
    assert state.naming.names[0] == "walking"


def items(step):
    return [step.runs.list.item(i) for i in range(step.runs.list.count())]


def test_another_budget_or_scope_repeats_only_the_look(qtbot, dock, step, found, run, stages):
    from qtpy.QtCore import Qt

    assert not step.again.isVisible()
    step.settings.budget.set_value(0.1)
    assert step.again.text().startswith("Look again at 10 %")
    run(step.again)
    assert set(stages) <= {"looking at the video", "reading behavior"}
    assert dock.view.state.discovered.looked.sum() == 2 * count_looks(300, 32, 0.1)
    assert [run.name for run in kept_runs(found)] == ["segment-at-10", "segment"]
    assert not step.again.isVisible()
    step.settings.scope.setFocus()
    qtbot.keyClick(step.settings.scope, Qt.Key.Key_Down)
    assert "looks at 30 of 300 frames" in step.preview.text(), "every window alone has 4 of 32"
    run(step.again)
    assert dock.view.state.discovered.looked.sum(0).tolist() == [30, 30]
    assert step.settings.config().look.scope == "recording"
    assert not step.again.isVisible()


def test_a_limit_of_decoding_repeats_only_the_look(qtbot, dock, step, found, run, stages):
    from qtpy.QtCore import Qt

    settings = step.settings
    assert not settings.decode.isVisible(), "every window has looks of its own"
    settings.scope.setCurrentText("the whole recording")
    assert settings.decode.isVisible()
    assert not settings.decode.value < 1, "no limit"
    run(step.again)
    before = decoded_share(found, dock.view.state.discovered.looked)
    settings.decode.slider.setFocus()
    for _ in range(14):
        qtbot.keyClick(settings.decode.slider, Qt.Key.Key_PageDown)
    assert settings.decode.value == 0.3
    stages.clear()
    run(step.again)
    looked = dock.view.state.discovered.looked
    assert set(stages) <= {"looking at the video", "reading behavior"}
    assert looked.any()
    assert decoded_share(found, looked) <= 0.3 < before
    assert not step.again.isVisible()
    latest = kept_runs(found)[0]
    assert (latest.scope, latest.decode) == ("recording", 0.3)
    settings.decode.set_value(0.01)
    assert "looks at 3 of 300 frames" in step.preview.text(), "more cannot be reached"
    dock.open(load_session(found.path))
    assert (settings.decode.value, settings.looking) == (0.3, {"scope": "recording", "decode": 0.3})
    settings.scope.setCurrentText("each window")
    assert settings.config().look.decode == 1


def test_pins_and_mutes_repeat_only_the_look(dock, step, found, run, stages):
    state = dock.view.state
    state.wish("pin", Selection(0, 32, 64))
    state.wish("mute", Selection(1, 200, 300))
    assert "looks at 50 to 99 of 300 frames" in step.preview.text()
    run(step.again)
    assert set(stages) <= {"looking at the video", "reading behavior"}, "the motion pass is kept"
    looked = state.discovered.looked
    assert looked[32:64, 0].all()
    assert not looked[200:, 1].any()
    assert looked.sum(0).tolist() == [99, 50]
    assert not step.again.isVisible()
    state.wish(None, Selection(0, 32, 64))
    assert step.again.isVisible(), "what was taken back changes the looks, too"
    keep_wishes(found, wishes_of(found).pin(100, 132))
    dock.open(load_session(found.path))
    dock.steps[1].unfold()
    assert step.again.isVisible(), "what was pinned elsewhere, too"


def test_an_earlier_run_is_shown_again(qtbot, dock, step, run, click):
    from qtpy.QtCore import Qt

    run()
    step.settings.budget.set_value(0.5)
    run(step.again)
    looked = dock.view.state.discovered.looked.mean()
    step.runs.list.setFocus()
    qtbot.keyClick(step.runs.list, Qt.Key.Key_End)
    qtbot.keyClick(step.runs.list, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: dock.view.state.discovered.looked.mean() < looked, timeout=10_000)
    assert step.settings.budget.value == 0.25
    assert [item.text()[0] for item in items(step)] == [" ", "●"]


def test_a_run_is_cancelled_within_a_second_and_resumed(qtbot, dock, step, click, quick, session):
    quick(pretrain={"epochs": 200})
    click(step.run)
    qtbot.waitUntil(step.panel.loss.isVisible, timeout=60_000)
    qtbot.waitUntil(lambda: any(session.run_folder("segment").glob("*.pt")), timeout=60_000)
    assert step.panel.stage.text() == "Pretraining …"
    assert "left" in step.panel.left.text()
    assert not step.run.isEnabled()
    start = time.monotonic()
    click(step.panel.cancel)
    assert step.panel.stage.text() == "Stopping …"
    qtbot.waitUntil(lambda: not dock.jobs.busy)
    assert time.monotonic() - start < 1
    assert [item.text().strip() for item in items(step)] == ["segment   cut off"]
    quick(pretrain={"epochs": 3})  # what is resumed has the settings it was begun with
    step.settings.clusters.setValue(5)
    assert step.runs.act.text() == "Resume"
    first = []
    click(step.runs.act)
    dock.jobs.running[-1].told.connect(
        lambda told: first.extend(each.done for each in told if each.stage == "pretraining")
    )
    qtbot.waitUntil(lambda: bool(first), timeout=60_000)
    assert first[0] > 4  # it went on where it was
    click(step.panel.cancel)
    qtbot.waitUntil(lambda: not dock.jobs.busy)


def test_a_run_cancelled_before_it_learnt_anything_leaves_nothing(qtbot, dock, step, click, session):
    click(step.run)
    click(step.panel.cancel)
    qtbot.waitUntil(lambda: not dock.jobs.busy, timeout=30_000)
    assert session.runs == []
    assert not step.runs.isVisible()


def test_bad_input_is_told_in_the_panel_and_the_next_run_works(qtbot, dock, step, run, session):
    step.settings.device.setCurrentText("mps")
    run()
    assert "There is no device 'mps' here" in step.panel.message.text.text()
    assert step.panel.message.copy.isVisible()
    assert session.runs == []
    step.settings.device.setCurrentText("cpu")
    run()
    assert dock.view.state.discovered is not None


def test_what_a_run_took_is_remembered(dock, step, run, quick):
    from napari_lookagain.gui.session.recent import known_factors

    quick(pretrain={"epochs": 30})
    run()
    assert "pretraining auto" in known_factors()


def test_the_latest_run_is_in_view_when_the_session_is_opened_again(dock, step, run, session):
    run()
    dock.open(load_session(session.path))
    assert dock.view.state.discovered.names == ("cluster 1", "cluster 2", "cluster 3")
    assert [item.text()[0] for item in items(step)] == ["●"]


def test_a_run_that_cannot_be_read_is_told(qtbot, dock, step, run, click, session):
    run()
    (session.run_folder("segment") / "naming.jsonl").write_text("nonsense\n", "utf-8")
    click(step.runs.act)
    qtbot.waitUntil(step.panel.message.copy.isVisible, timeout=10_000)
    assert "naming.jsonl" in step.panel.message.text.text()


def test_behaviors_predicted_in_the_review_are_marked(qtbot, dock, step, session, behaviors):
    behaviors.save(session.run_folder("predict") / "ethogram.npz")
    dock.view.state.show(behaviors)
    assert [item.text() for item in items(step)] == ["● predict   behaviors"]
