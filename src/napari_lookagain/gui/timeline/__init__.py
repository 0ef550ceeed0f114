"""The timeline below the canvas: lanes over time, drawn with pyqtgraph. It knows no napari."""

from napari_lookagain.gui.timeline.lanes import ClassLane, Lane, ScoreLane, TickLane
from napari_lookagain.gui.timeline.timeline import Timeline

__all__ = ["ClassLane", "Lane", "ScoreLane", "TickLane", "Timeline"]
