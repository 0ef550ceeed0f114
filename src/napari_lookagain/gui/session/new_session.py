"""Making a session from a video, a pose file or both: what was recognized, to be confirmed or mended."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QComboBox, QDoubleSpinBox, QFormLayout, QLabel, QLineEdit, QVBoxLayout, QWidget

from napari_lookagain.contents import VIDEOS
from napari_lookagain.gui.buttons import button, row_of
from napari_lookagain.gui.dialogs import ask_new_file
from napari_lookagain.gui.fields import FileField
from napari_lookagain.gui.jobs.job_panel import JobPanel
from napari_lookagain.gui.jobs.jobs import Job, Jobs, at_once, failure
from napari_lookagain.session import Session, new_session

_UNKNOWN = "unknown"
_CHOOSE = "Choose a video, the pose file that tracks it, or both; or drop them here."
_UNTRACKED = "Choose its pose file, too; or save it as it is, to be watched and scored."
_POSES = "Pose files (*.h5 *.csv *.slp *.nwb)"
_VIDEOS = f"Videos ({' '.join('*' + suffix for suffix in VIDEOS)})"


class NewSession(QWidget):
    """A form that reads its files as soon as they are chosen, off the GUI's thread, and shows what is in them."""

    saved = Signal(object)
    """The session, once it has a folder."""

    def __init__(self, jobs: Jobs, panel: JobPanel) -> None:
        super().__init__()
        self._jobs, self._panel = jobs, panel
        self._reading: Job | None = None
        self._session: Session | None = None
        self._told = ("", 0.0)  # keypoints and frame rate, as they were read with
        self.video = FileField("Video", _VIDEOS, "The video that was tracked; it stays where it is. May be left empty")
        hint = (
            "Keypoints of every frame: DeepLabCut, SLEAP, Lightning Pose, Anipose, NWB, or numbers without a header. "
        )
        hint += "May be left empty"
        self.pose = FileField("Pose file", _POSES, hint)
        self.recognized = QLabel()
        self.recognized.setWordWrap(True)
        self.name, self.keypoints = QLineEdit(), QLineEdit()
        self.fps = QDoubleSpinBox()
        self.rear, self.front = QComboBox(), QComboBox()
        self.save = button("Save session …", "Write the session folder; video and pose file stay as and where they are")
        self._set_up_controls()
        self._arrange()
        self._show(None)
        self.recognized.setText(_CHOOSE)

    def take(self, paths: list[Path]) -> None:
        """Fill in files, each where it belongs, and read them."""
        for path in paths:
            field = self.video if path.suffix.lower() in VIDEOS else self.pose
            with QSignalBlocker(field):
                field.set_path(path)
        self.read()

    def read(self) -> None:
        """Read the files again, with what was mended so far."""
        pose, video = self.pose.path, self.video.path
        self._show(None)
        if self._reading is not None:
            self._reading.stop()
            self._reading = None
        if pose is None and video is None:
            self.recognized.setText(_CHOOSE)
            return
        names = [name.strip() for name in self.keypoints.text().split(",") if name.strip() and pose] or None
        fps = self.fps.value() or None
        job = Job("Reading the files", at_once(lambda: new_session(pose, video, fps=fps, keypoints=names)))
        job.returned.connect(lambda session: self._show(session) if job is self._reading else None)
        self._reading = job
        self._panel.follow(job)
        self._jobs.start(job)

    def _show(self, session: Session | None) -> None:
        """Tell what was recognized, and offer it to be mended."""
        self._session = session
        self.save.setEnabled(session is not None)
        for ends in (self.rear, self.front):
            ends.setEnabled(session is not None and session.has_keypoints)
        self.recognized.setText("" if session is None else recognized(session))
        if session is None:
            return
        if not session.has_keypoints:
            self.recognized.setText(f"{recognized(session)}\n{_UNTRACKED}")
        self.name.setPlaceholderText(session.recording)
        for ends, end in ((self.rear, 0), (self.front, 1)):
            ends.clear()
            ends.addItems([_UNKNOWN, *session.keypoint_names])
            ends.setCurrentText(_UNKNOWN if session.heading is None else session.heading[end])

    def _save(self) -> None:
        assert self._session is not None
        ends = self.rear.currentText(), self.front.currentText()
        try:
            session = replace(
                self._session,
                recording=self.name.text().strip() or self._session.recording,
                heading=None if _UNKNOWN in ends else ends,
            )
        except ValueError as error:
            self._panel.message.fail(failure(error))
            return
        beside = session.video or session.pose
        assert beside is not None
        start = Path(beside.path).with_name(f"{session.recording}.lookagain")
        path = ask_new_file(self, "Save the session as a new folder", start, "Sessions (*.lookagain)")
        if path is None:
            return
        job = Job("Saving the session", at_once(lambda: session.save(path)))
        job.returned.connect(lambda _: self.saved.emit(session))
        self._panel.follow(job)
        self._jobs.start(job)

    def _set_up_controls(self) -> None:
        self.fps.setRange(0, 10_000)
        self.fps.setDecimals(3)
        self.fps.setSpecialValueText("as in the files")
        self.fps.setSuffix(" per second")
        self.keypoints.setPlaceholderText("as in the file")
        for control, hint in (
            (self.name, "What the recording is called in tables and pictures"),
            (self.keypoints, "Names for a table without a header, in its order: nose, ear, tail; or those to keep"),
            (self.fps, "Frames per second; needed where neither the video nor the pose file tells them"),
            (self.rear, "Heading: the keypoint at the rear of an animal; crops are turned along it"),
            (self.front, "Heading: the keypoint at the front of an animal"),
        ):
            control.setToolTip(hint)
        self.video.chosen.connect(self.read)
        self.pose.chosen.connect(self.read)
        self.keypoints.editingFinished.connect(self._mended)
        self.fps.editingFinished.connect(self._mended)
        self.save.clicked.connect(self._save)

    def _mended(self) -> None:
        """Read again when what was typed changes what is read; leaving a field is no change."""
        told = (self.keypoints.text(), self.fps.value())
        if told != self._told:
            self._told = told
            self.read()

    def _arrange(self) -> None:
        files, mends = QFormLayout(), QFormLayout()
        files.addRow("Video", self.video)
        files.addRow("Pose file", self.pose)
        mends.addRow("Name", self.name)
        mends.addRow("Frame rate", self.fps)
        mends.addRow("Keypoints", self.keypoints)
        mends.addRow("Heading", row_of(self.rear, QLabel("to"), self.front, stretch=False))
        layout = QVBoxLayout(self)  # not one form: it would cut the lines that wrap
        layout.setContentsMargins(0, 4, 0, 0)
        layout.addLayout(files)
        layout.addWidget(self.recognized)
        layout.addLayout(mends)
        layout.addWidget(self.save)


def recognized(session: Session) -> str:
    """What is in a session, for a person to check."""
    minutes, seconds = divmod(session.n_frames / session.fps, 60)
    size = session.frame_size
    lines = [
        f"{session.n_frames:,} frames at {session.fps:g} per second, {minutes:.0f} min {seconds:.0f} s",
        _listed("animal", session.animals),
    ]
    if session.pose is not None:
        heading = session.heading
        lines += [
            _listed("keypoint", session.keypoint_names),
            "heading unknown" if heading is None else f"heading from {heading[0]} to {heading[1]}",
        ]
    pose = "no keypoints" if session.pose is None else f"pose by {session.pose.software}"
    lines.append(f"{pose}, " + (f"video of {size[0]}×{size[1]}" if size else "no video"))
    return "\n".join(lines)


def _listed(what: str, names: tuple[str, ...]) -> str:
    return f"{len(names)} {what}{'s' if len(names) > 1 else ''}: {', '.join(names)}"
