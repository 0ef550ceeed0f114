"""What a person has set for this plugin in napari's preferences."""

from __future__ import annotations

from napari.settings import get_plugin_settings

from napari_lookagain.annotations import USER

_PLUGIN = "napari-lookagain"


def preferred(key: str) -> str:
    """A setting of the group *Review*, "rater" or "keypoint_colors"; its default where the plugin is disabled."""
    try:
        return str(getattr(get_plugin_settings(_PLUGIN).review, key))
    except KeyError:
        return {"rater": USER, "keypoint_colors": "animal"}[key]
