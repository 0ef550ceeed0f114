"""One color per behavior and per cluster, told apart by color-blind eyes too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from napari_lookagain.annotations import BACKGROUND

BACKGROUND_COLOR = "#d9d9d9"
UNSCORED_COLOR = "#ffffff"
# Okabe and Ito, Color Universal Design, 2008; without black, which is for text
OKABE_ITO = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442")
# chosen one by one, each farthest (Oklab) from those before it, from Okabe and Ito's, white and grey, in the worst of
# normal, deuteranopic, protanopic and tritanopic vision: the first eight are safe, the last ones help a healthy eye
CLUSTER_COLORS = (
    "#6d1849",
    "#867900",
    "#92c26d",
    "#493d92",
    "#e79ef3",
    "#4992aa",
    "#aa4961",
    "#db6d6d",
    "#aa9e18",
    "#3ddbb6",
    "#6161b6",
    "#614931",
    "#9286db",
    "#c2db6d",
    "#18b6aa",
    "#864992",
    "#86316d",
    "#246d18",
    "#aa6d86",
    "#492479",
)


def behavior_colors(behaviors: Iterable[str]) -> dict[str, str]:
    """Give every behavior a color by its place in the list: Okabe and Ito's seven, then those of clusters.

    Background is light grey wherever it stands, and takes no place. Colors repeat after the 27th behavior.
    """
    names = [name for name in dict.fromkeys(behaviors) if name != BACKGROUND]
    palette = OKABE_ITO + CLUSTER_COLORS
    return {name: palette[i % len(palette)] for i, name in enumerate(names)} | {BACKGROUND: BACKGROUND_COLOR}


def cluster_colors(clusters: Sequence[str], behaviors: Mapping[str, str]) -> dict[str, str]:
    """Give every cluster a color by its place in the list, repeating after the 20th.

    A cluster that bears a behavior's name takes that behavior's color.
    """
    return {name: behaviors.get(name, CLUSTER_COLORS[i % len(CLUSTER_COLORS)]) for i, name in enumerate(clusters)}
