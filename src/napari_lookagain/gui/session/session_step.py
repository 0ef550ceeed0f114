"""The first step: opening a session, or making one."""

from __future__ import annotations

import os
from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLabel, QMenu, QVBoxLayout, QWidget

from napari_lookagain.contents import VIDEOS
from napari_lookagain.gui.buttons import button, row_of
from napari_lookagain.gui.dialogs import ask_file, ask_folder
from napari_lookagain.gui.jobs.job_panel import JobPanel
from napari_lookagain.gui.jobs.jobs import Job, Jobs, at_once, failure
from napari_lookagain.gui.session.new_session import NewSession, recognized
from napari_lookagain.gui.session.recent import recent_sessions, remember_session
from napari_lookagain.session import Session, load_session


class SessionStep(QWidget):
    """Opens a session folder, new or old, from a dialog, from those opened lately or from files dropped here."""

    opened = Signal(object)
    """A session that is to be shown."""
    timeline_wanted = Signal()

    def __init__(self, jobs: Jobs) -> None:
        super().__init__()
        self._jobs = jobs
        self._waiting: Session | None = None  # for its video to be found
        self.open = button("Open …", "Open a session folder, NAME.lookagain")
        self.recent = button("Recent", "Sessions opened lately")
        self.new = button("New …", "Make a session from a video, a pose file or both", checkable=True)
        self.find = button("Find the video …", "The video was moved: tell where it is now")
        self.without = button("Open without it", "Show keypoints alone; nothing can be looked at")
        self.recent.setMenu(QMenu(self.recent))
        self.recent.menu().aboutToShow.connect(self._list_recent)
        self.open.clicked.connect(self._choose)
        self.new.toggled.connect(self._show_form)
        self.find.clicked.connect(self._find_video)
        self.without.clicked.connect(self._give_up)
        self.timeline = button("Show the timeline", "Dock the timeline below the canvas, if it was closed")
        self.timeline.clicked.connect(self.timeline_wanted)
        self.timeline.hide()
        self.about = QLabel("Open a session, make a new one, or drop a session folder, a video or a pose file here.")
        self.about.setWordWrap(True)
        self.panel = JobPanel()
        self.form = NewSession(jobs, self.panel)
        self.form.saved.connect(self._take)
        self.form.hide()
        self._arrange()

    def take(self, paths: list[Path]) -> None:
        """Open what was dropped: a session folder, or files to make a session of."""
        if paths[0].is_dir():
            self.load(paths[0])
        else:
            self.new.setChecked(True)
            self.form.take(paths)

    def load(self, folder: Path) -> None:
        """Read a session folder in a thread, and open it."""
        job = Job("Opening the session", at_once(lambda: load_session(folder)))
        job.returned.connect(self._take)
        self.panel.follow(job)
        self._jobs.start(job)

    def show_session(self, session: Session) -> None:
        """Tell which session is open."""
        self.about.setText(recognized(session))
        self.timeline.show()
        if session.path is not None:
            self.about.setToolTip(str(session.path))
            remember_session(session.path)

    def _take(self, session: Session) -> None:
        """Open a session once it is known where its video is."""
        self.new.setChecked(False)
        video = session.video
        lost = video is not None and not os.path.isfile(video.path)
        self._ask_for_video(session if lost else None)
        if video is not None and lost:
            self.panel.message.note(f"The video {Path(video.path).name} is no longer in {Path(video.path).parent}.")
        else:
            self.opened.emit(session)

    def _ask_for_video(self, session: Session | None) -> None:
        self._waiting = session
        self.find.setVisible(session is not None)
        self.without.setVisible(session is not None)

    def _find_video(self) -> None:
        session = self._waiting
        assert session is not None
        assert session.video is not None
        kinds = f"Videos ({' '.join('*' + suffix for suffix in VIDEOS)})"
        path = ask_file(self, f"Where is {Path(session.video.path).name}?", Path.home(), kinds)
        if path is None:
            return
        try:
            session.relocate_video(path)
        except ValueError as error:  # it is another one
            self.panel.message.fail(failure(error))
            return
        self.panel.message.clear()
        self._take(session)

    def _give_up(self) -> None:
        session = self._waiting
        self._ask_for_video(None)
        self.panel.message.clear()
        self.opened.emit(session)

    def _choose(self) -> None:
        start = next((path.parent for path in recent_sessions()), Path.home())
        if folder := ask_folder(self, "Open a session folder", start):
            self.load(folder)

    def _show_form(self, shown: bool) -> None:
        self.form.setVisible(shown)
        self.about.setVisible(not shown)

    def _list_recent(self) -> None:
        menu = self.recent.menu()
        menu.clear()
        menu.setToolTipsVisible(True)
        for folder in recent_sessions():
            action = menu.addAction(folder.stem, lambda folder=folder: self.load(folder))
            action.setToolTip(str(folder))
        if menu.isEmpty():
            menu.addAction("None yet").setEnabled(False)

    def _arrange(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 0, 4, 4)
        layout.addLayout(row_of(self.open, self.recent, self.new, stretch=False))
        layout.addWidget(self.form)
        layout.addWidget(self.panel)
        layout.addLayout(row_of(self.find, self.without, stretch=False))
        layout.addWidget(self.about)
        layout.addWidget(self.timeline)
        self._ask_for_video(None)
