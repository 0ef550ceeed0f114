"""The last step: what is shown before, what is written, and that nothing is written over without asking."""

from __future__ import annotations

import csv

import pytest

from napari_lookagain.gui.dialogs import ask_new_file
from napari_lookagain.gui.export import export_step
from napari_lookagain.gui.state import Selection
from napari_lookagain.naming import Naming
from napari_lookagain.video import Video


@pytest.fixture
def step(dock, session, clusters, click):
    """The step, unfolded, with a session that has a run of clusters."""
    clusters.save(session.run_folder("segment") / "ethogram.npz")
    dock.open(session)
    click(dock.steps[3].header)
    return dock.export_step


@pytest.fixture
def export(qtbot, step, click, monkeypatch, tmp_path):
    """Choose what to write, click, name the file, and wait until it is said to be there."""

    def act(what, name) -> str:
        step.what.setCurrentIndex(step.what.findData(what))
        path = tmp_path / name
        monkeypatch.setattr(export_step, "ask_new_file", lambda *_: path)
        click(step.write)
        qtbot.waitUntil(lambda: str(path) in step.panel.message.text.text(), timeout=30_000)
        return path

    return act


def preview(qtbot, step, wanted) -> str:
    qtbot.waitUntil(lambda: wanted in step.preview.text.toPlainText(), timeout=10_000)
    return step.preview.text.toPlainText()


def rows(path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_bouts_are_shown_and_then_written_so(qtbot, step, export, session):
    told = preview(qtbot, step, "recording,animal,behavior")
    path = export("bouts", "bouts.csv")
    written = path.read_text("utf-8").splitlines()
    assert told.splitlines()[:5] == written[:5]
    assert len(rows(path)) == len(session.annotations.bouts())


def test_frames_and_statistics_are_written(qtbot, step, export, session):
    step.what.setCurrentIndex(step.what.findData("frames"))
    assert "and 580 more rows" in preview(qtbot, step, "frame,time_s")
    assert len(rows(export("frames", "frames.csv"))) == session.n_frames * session.n_animals
    assert {"recording", "animal", "behavior", "count"} <= set(rows(export("stats", "stats.csv"))[0])


def test_the_boris_table_is_read_back(step, export, session):
    from napari_lookagain.formats.labels import read_labels

    path = export("boris", "boris.csv")
    bouts = read_labels(path, n_frames=session.n_frames, animals=session.animals, fps=session.fps)
    mine = {(bout.animal, bout.behavior, bout.start, bout.stop) for bout in session.annotations.bouts()}
    assert {(bout.animal, bout.behavior, bout.start, bout.stop) for bout in bouts} == mine


def test_one_run_is_written_under_the_names_it_was_given(qtbot, dock, step, export):
    naming = dock.view.state.naming
    naming.rename(0, "strolling")
    dock.view.state.classes_changed.emit()
    step.run.setCurrentText("segment")
    assert "strolling" in preview(qtbot, step, "strolling")
    assert {row["behavior"] for row in rows(export("bouts", "named.csv"))} >= {"strolling", "cluster 2"}


@pytest.mark.parametrize(("suffix", "head"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")])
def test_a_picture_is_drawn(qtbot, step, export, suffix, head):
    assert export("picture", f"ethogram{suffix}").read_bytes().startswith(head)
    qtbot.waitUntil(lambda: not step.preview.picture.pixmap().isNull(), timeout=10_000)


def test_a_clip_of_what_is_marked_is_written(qtbot, dock, step, export, click):
    step.what.setCurrentIndex(step.what.findData("clip"))
    dock.view.state.select(Selection(1, 40, 60))
    click(step.span.take)
    assert step.span.frames == (40, 60)
    step.span.animal.setCurrentIndex(2)
    preview(qtbot, step, "Frames 40 to 59 of mice: 0.8 s of mouse2.")
    with Video(export("clip", "clip.mp4")) as video:
        assert video.n_frames == 20


def test_bad_frames_are_told(qtbot, step, click, monkeypatch, tmp_path):
    step.what.setCurrentIndex(step.what.findData("clip"))
    step.span.start.setValue(100)
    step.span.stop.setValue(50)
    monkeypatch.setattr(export_step, "ask_new_file", lambda *_: tmp_path / "clip.mp4")
    click(step.write)
    qtbot.waitUntil(step.panel.message.copy.isVisible, timeout=10_000)
    assert not (tmp_path / "clip.mp4").exists()


def test_only_what_matters_is_asked(step):
    seen = {}
    for i in range(step.what.count()):
        step.what.setCurrentIndex(i)
        seen[step.order.what] = (step.run.isVisible(), step.span.isVisible())
    tables = dict.fromkeys(("bouts", "frames", "stats", "boris"), (True, False))
    assert seen == {**tables, "picture": (False, False), "clip": (False, True)}


def test_edits_reach_the_preview(qtbot, dock, step):
    preview(qtbot, step, "recording,animal,behavior")
    dock.view.state.assign(Selection(0, 3, 9), "sniffing")
    preview(qtbot, step, "sniffing,3,9")


def test_a_new_run_is_offered(qtbot, dock, step, session, clusters):
    clusters.save(session.run_folder("again") / "ethogram.npz")
    dock.view.state.show(clusters, Naming.open(session.run_folder("again")))
    qtbot.waitUntil(lambda: step.run.findText("again") > 0, timeout=5000)


def test_nothing_is_written_over_without_asking(qtbot, dock, tmp_path):
    from qtpy.QtCore import QTimer
    from qtpy.QtWidgets import QApplication, QDialog, QMessageBox

    there = tmp_path / "there.csv"
    there.write_text("mine", "utf-8")
    questions = []

    def answer() -> None:
        dialog = QApplication.activeModalWidget()
        if isinstance(dialog, QMessageBox):
            questions.append(dialog.text())
            dialog.button(QMessageBox.StandardButton.No).click()
            QTimer.singleShot(50, lambda: QApplication.activeModalWidget().reject())
        elif isinstance(dialog, QDialog):
            QTimer.singleShot(200, answer)
            dialog.accept()

    QTimer.singleShot(200, answer)
    assert ask_new_file(dock, "Export", there, "Tables (*.csv)") is None
    assert len(questions) == 1
    assert "there.csv" in questions[0]
    assert there.read_text("utf-8") == "mine"
