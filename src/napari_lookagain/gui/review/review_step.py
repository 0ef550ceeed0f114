"""The third step: naming clusters, correcting frames and learning from the corrections."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import QTabBar, QVBoxLayout, QWidget

from napari_lookagain.gui.jobs.jobs import Jobs
from napari_lookagain.gui.present import SessionView
from napari_lookagain.gui.review.correct import CorrectPanel
from napari_lookagain.gui.review.examples import Examples
from napari_lookagain.gui.review.learn import LearnPanel
from napari_lookagain.gui.review.name_panel import NamePanel


class ReviewStep(QWidget):
    """Three panels, one at a time, and a window of examples; undo and redo are one order for all of them."""

    def __init__(self, jobs: Jobs) -> None:
        super().__init__()
        self._view: SessionView | None = None
        self.name, self.correct, self.learn = NamePanel(jobs), CorrectPanel(), LearnPanel(jobs)
        self.examples = Examples(jobs, self)
        self.panels: tuple[NamePanel | CorrectPanel | LearnPanel, ...] = (self.name, self.correct, self.learn)
        self.tabs = QTabBar()
        self.tabs.setUsesScrollButtons(False)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 0, 4, 4)
        layout.addWidget(self.tabs)
        for panel, title, hint in (
            (self.name, "Name", "Say what the clusters are"),
            (self.correct, "Correct", "Score frames where the model is wrong"),
            (self.learn, "Learn", "Train on what is scored, and predict the rest"),
        ):
            self.tabs.setTabToolTip(self.tabs.addTab(title), hint)
            layout.addWidget(panel)
        self.tabs.currentChanged.connect(self._turn)
        self._turn(0)
        self.name.examples_wanted.connect(self.examples.show_cluster)
        self.name.chosen.connect(self.examples.follow)
        for keys, way in ((QKeySequence.StandardKey.Undo, "undo"), (QKeySequence.StandardKey.Redo, "redo")):
            shortcut = QShortcut(QKeySequence(keys), self, context=Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.activated.connect(lambda way=way: self._retake(way))

    def open(self, view: SessionView) -> None:
        """Take another session; what there is no model for yet begins with correcting."""
        self._view = view
        for panel in self.panels:
            panel.open(view)
        self.examples.open(view.state)
        self.tabs.setCurrentIndex(1 if view.state.naming is None else 0)

    def close_session(self) -> None:
        """Let go of the session."""
        self.examples.close_session()
        for panel in self.panels:
            panel.close_session()
        self._view = None

    def _turn(self, current: int) -> None:
        """Show one panel, and be no higher than it is."""
        for i, panel in enumerate(self.panels):
            panel.setVisible(i == current)

    def _retake(self, way: str) -> None:
        """Do as the button on the timeline does, which tells of it."""
        if self._view is not None:
            self._view.show_timeline()
            getattr(self._view.timeline, f"{way}_requested").emit()
