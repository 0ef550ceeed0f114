"""How well what was predicted or discovered agrees with what people scored. Arrays in, one row for a number out."""

from napari_lookagain.metrics.boundaries import boundary_rows
from napari_lookagain.metrics.bouts import bout_rows
from napari_lookagain.metrics.calibration import Reliability, calibration_rows, reliability, reliability_curves
from napari_lookagain.metrics.edit import edit_rows
from napari_lookagain.metrics.frames import confusion, confusion_table, frame_rows, frame_scores
from napari_lookagain.metrics.lag import lag_rows
from napari_lookagain.metrics.mapping import apply_map, majority_map, one_to_one_map
from napari_lookagain.metrics.partitions import identity_rows, partition_rows, stability_rows, usage_rows
from napari_lookagain.metrics.rows import ALL, Row, row_table, tagged
from napari_lookagain.metrics.sharpness import sharpness_rows
from napari_lookagain.metrics.summary import behavior_rows, cluster_rows

__all__ = [
    "ALL",
    "Reliability",
    "Row",
    "apply_map",
    "behavior_rows",
    "boundary_rows",
    "bout_rows",
    "calibration_rows",
    "cluster_rows",
    "confusion",
    "confusion_table",
    "edit_rows",
    "frame_rows",
    "frame_scores",
    "identity_rows",
    "lag_rows",
    "majority_map",
    "one_to_one_map",
    "partition_rows",
    "reliability",
    "reliability_curves",
    "row_table",
    "sharpness_rows",
    "stability_rows",
    "tagged",
    "usage_rows",
]
