"""What people make of discovered clusters: names, colors and keys, merged and split, every act kept and undoable."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from napari_lookagain.annotations import UNSCORED, runs
from napari_lookagain.cluster_classes import ClusterClass, check_classes, merge_classes, split_class
from napari_lookagain.colors import cluster_colors
from napari_lookagain.errors import InputError
from napari_lookagain.ethogram import Ethogram, load_ethogram
from napari_lookagain.journal import Journal
from napari_lookagain.progress import Progress
from napari_lookagain.regrouping import (
    ethogram_features,
    load_parts,
    merge_labels,
    merge_probabilities,
    merge_table,
    part_frames,
    parts_digest,
    save_parts,
    split_labels,
    split_probabilities,
)

if TYPE_CHECKING:
    from napari_lookagain.session import Session

_SCHEMA = 1
MOST_PARTS = 9


class _State(NamedTuple):
    """Classes, and the merges and splits that made them of the clusters found."""

    classes: tuple[ClusterClass, ...]
    grouping: tuple[dict[str, Any], ...]


class Naming:
    """The clusters of an ethogram as people call, merge and split them; the ethogram itself stays as it is.

    Every act can be undone and redone without end. With a folder behind it, every act is on disk, in ``naming.jsonl``,
    before the call returns, and undo survives closing. What a cluster was split into is kept beside it.

    Parameters
    ----------
    ethogram
        Of discovered clusters.
    folder
        Of the run; None keeps the acts in memory.

    Raises
    ------
    InputError
        When the ethogram is none of clusters, or the acts in the folder are damaged or those of another ethogram.

    Examples
    --------
    >>> naming = Naming.open(session.run_folder("segment"))
    >>> naming.rename(0, "walk")
    >>> naming.merge([0, 3])
    0
    >>> naming.split(1, 2)
    range(1, 3)
    >>> naming.undo()
    True
    >>> naming.ethogram.bouts()[0].behavior
    'walk'
    """

    def __init__(self, ethogram: Ethogram, folder: Path | None = None) -> None:
        if ethogram.kind != "cluster":
            raise InputError(f"{ethogram.recording} has an ethogram of behaviors here; names are for clusters.")
        self.found = ethogram
        self.folder = folder
        colors = cluster_colors(ethogram.names, {})
        self._history = [_State(tuple(ClusterClass(name, colors[name]) for name in ethogram.names), ())]
        self._at = 0  # in the history; what comes after it was undone
        self._parts: dict[str, np.ndarray] = {}  # by their digest, (T, A) each
        self._regrouped: dict[str, np.ndarray] = {}  # arrays of the ethogram after merges and splits
        head = {"animals": list(ethogram.animals), "clusters": list(ethogram.names)}
        self.journal = Journal({"schema": _SCHEMA, "n_frames": ethogram.n_frames, **head})
        if folder is not None:
            self.journal.replay(self.journal.attach(folder / "naming.jsonl"), self._make)

    @classmethod
    def open(cls, run_folder: str | Path) -> Naming:
        """Open the clusters of a run, with all that was said of them; errors as in `load_ethogram` and `Naming`."""
        folder = Path(run_folder)
        return cls(load_ethogram(folder / "ethogram.npz"), folder)

    @property
    def classes(self) -> tuple[ClusterClass, ...]:
        """What is said of each cluster; `label` indexes them."""
        return self._state.classes

    @property
    def original(self) -> tuple[ClusterClass, ...]:
        """The clusters as they were found, before anything was said."""
        return self._history[0].classes

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the clusters."""
        return tuple(each.name for each in self.classes)

    @property
    def colors(self) -> dict[str, str]:
        """Color of every cluster by its name."""
        return {each.name: each.color for each in self.classes}

    @property
    def label(self) -> np.ndarray:
        """Cluster of every frame, (T, A) int16; -1 = none. Not to be written into."""
        return self._array("label")

    @property
    def ethogram(self) -> Ethogram:
        """The ethogram under these names; a merged cluster has the sum of the probabilities."""
        raw = None if self.found.raw_label is None else self._array("raw_label")
        arrays = {"label": self.label, "probabilities": self._array("probabilities"), "raw_label": raw}
        return replace(self.found, names=self.names, **arrays)  # type: ignore[arg-type]  # all of them are arrays

    @property
    def behaviors(self) -> Ethogram:
        """The ethogram of the behaviors that clusters were assigned to; frames of other clusters have none."""
        told = [each.behavior for each in self.classes]
        names = tuple(dict.fromkeys(name for name in told if name is not None))
        table = np.array([UNSCORED if name is None else names.index(name) for name in told], np.int16)
        probabilities = merge_probabilities(self._array("probabilities"), table)
        label = merge_labels(self.label, table)
        return replace(
            self.found, kind="behavior", names=names, label=label, probabilities=probabilities, raw_label=None
        )

    def statistics(self, fps: float | None = None) -> pd.DataFrame:
        """Count and time the bouts of every cluster, over all animals.

        Returns
        -------
        DataFrame
            Indexed by name; columns ``count``, ``total_s``, ``mean_s`` (NaN where there is no bout), and ``share of
            ANIMAL`` for each animal: of the frames in which it has a cluster, 0 to 1; NaN where it has none.
        """
        fps = fps or self.found.fps
        n_classes, animals = len(self.classes), self.found.animals
        count, frames = np.zeros(n_classes, int), np.zeros((n_classes, len(animals)))
        for animal, column in enumerate(self.label.T):
            start, stop, code = runs(column)
            own = code >= 0
            count += np.bincount(code[own], minlength=n_classes)
            frames[:, animal] = np.bincount(code[own], (stop - start)[own], minlength=n_classes)
        total = frames.sum(axis=1) / fps
        table = pd.DataFrame({"count": count, "total_s": total}, index=pd.Index(self.names, name="cluster"))
        table["mean_s"] = np.divide(total, count, out=np.full(n_classes, np.nan), where=count > 0)
        clustered = frames.sum(axis=0)
        share = np.divide(frames, clustered, out=np.full(frames.shape, np.nan), where=clustered > 0)
        for animal, name in enumerate(animals):
            table[f"share of {name}"] = share[:, animal]
        return table

    def rename(self, index: int, name: str) -> None:
        """Call a cluster otherwise.

        Raises
        ------
        InputError
            As every act: when there is no such cluster, the value cannot be, or the act could not be written to disk;
            nothing has changed then. Here, when another cluster has that name: `merge` joins the two.
        """
        self.change({index: {"name": name}})

    def recolor(self, index: int, color: str) -> None:
        """Give a cluster another color, ``"#rrggbb"``."""
        self.change({index: {"color": color}})

    def set_key(self, index: int, key: str) -> None:
        """Give a cluster a key, ``"1"`` to ``"9"``, and take it from the one that had it; empty for no key."""
        holders = [i for i, each in enumerate(self.classes) if key and each.key == key]
        self.change({**{i: {"key": ""} for i in holders}, index: {"key": key}})

    def describe(self, index: int, text: str) -> None:
        """Say what a cluster looks like, in any words."""
        self.change({index: {"description": text}})

    def assign(self, index: int, behavior: str | None) -> None:
        """Say which behavior a cluster is; None takes it back. Several may be one behavior."""
        self.change({index: {"behavior": behavior}})

    def change(self, changes: Mapping[int, Mapping[str, Any]]) -> None:
        """Say several things of several clusters as one act: fields of `ClusterClass`, by the index of the cluster."""
        edit = {"op": "change", "classes": [[int(index), dict(fields)] for index, fields in changes.items()]}
        if self._after(edit) != self._state:
            self._make(edit, written=False)

    def merge(self, indices: Sequence[int]) -> int:
        """Make one cluster of several, and return its index.

        It has the place, name and color of the first one given. What that one lacks of key, description and behavior
        comes from the others. Its probability is the sum of theirs.
        """
        self._make({"op": "merge", "classes": [int(index) for index in indices]}, written=False)
        return int(indices[0]) - sum(index < indices[0] for index in set(indices[1:]))

    def split(self, index: int, parts: int = 2, features: np.ndarray | None = None, seed: int = 0) -> range:
        """Cluster the frames of a cluster anew, and return the indices of what it became.

        The parts take its place, the largest first, and are named after it: ``"walk.1"``, ``"walk.2"``. The first one
        keeps color and key; description and behavior hold for all. The same features and seed give the same parts.

        Parameters
        ----------
        index
            Of the cluster.
        parts
            How many, 2 to 9.
        features
            (T, A, F): what frames are told apart by. By default the ethogram's probabilities and the terms of its
            gate score, which tell half as much as the keypoints that `split_by_motion` asks.
        seed
            Of the random start.
        """
        self.check_split(index, parts)
        features = ethogram_features(self.ethogram) if features is None else features
        part = part_frames(features, self.label == index, parts, seed)
        digest = parts_digest(part)
        self._parts[digest] = part
        if self.folder is not None:
            save_parts(part, self.folder / f"split-{digest}.npz")
        self._make({"op": "split", "class": int(index), "parts": int(parts), "of": digest}, written=False)
        return range(index, index + parts)

    def undo(self) -> bool:
        """Take the last act back; False when there is none."""
        if self._at > 0:
            self._make({"op": "undo"}, written=False)
            return True
        return False

    def redo(self) -> bool:
        """Make the act last taken back again; False when there is none."""
        if self._at < len(self._history) - 1:
            self._make({"op": "redo"}, written=False)
            return True
        return False

    @property
    def _state(self) -> _State:
        return self._history[self._at]

    def _make(self, edit: dict[str, Any], written: bool = True) -> None:
        """Make an act, once it is on disk; one that cannot be is refused before that."""
        history, at = self._history, self._at
        match edit["op"]:
            case "undo":
                at -= 1
            case "redo":
                at += 1
            case _:
                history, at = [*history[: at + 1], self._after(edit)], at + 1
        if not 0 <= at < len(history):
            raise InputError(f"There is nothing to {edit['op']}.")
        if not written:
            self.journal.append(edit)
        if history[at].grouping != self._state.grouping:
            self._regrouped.clear()
        self._history, self._at = history, at

    def _after(self, edit: dict[str, Any]) -> _State:
        """What an act makes of the classes; an `InputError` when it cannot be."""
        classes, grouping = self._state
        match edit["op"]:
            case "change":
                changed = dict(enumerate(classes))
                for index, fields in edit["classes"]:
                    self._check_index(index)
                    unknown = [field for field in fields if field not in ClusterClass.__slots__]
                    if unknown:
                        raise InputError(f"There is nothing to say of a cluster's {unknown[0]}.")
                    changed[index] = replace(changed[index], **fields)
                check_classes(tuple(changed.values()))
                return _State(tuple(changed.values()), grouping)
            case "merge":
                for index in edit["classes"]:
                    self._check_index(index)
                if len(set(edit["classes"])) < max(2, len(edit["classes"])):
                    raise InputError("Give at least two different clusters to merge.")
                return _State(merge_classes(classes, edit["classes"]), (*grouping, edit))
            case "split":
                self.check_split(edit["class"], edit["parts"])
                self._part(edit["of"])
                return _State(split_class(classes, edit["class"], edit["parts"]), (*grouping, edit))
            case other:
                raise InputError(f"An act {other!r} is not known; was it written by a newer version?")

    def _array(self, name: str) -> np.ndarray:
        """`label`, `raw_label` or `probabilities` of the ethogram after all merges and splits."""
        if name not in self._regrouped:
            array, n_classes = getattr(self.found, name), len(self.found.names)
            for edit in self._state.grouping:
                if edit["op"] == "merge":
                    table = merge_table(n_classes, edit["classes"])
                    array = (merge_probabilities if name == "probabilities" else merge_labels)(array, table)
                    n_classes -= len(edit["classes"]) - 1
                else:
                    split = split_probabilities if name == "probabilities" else split_labels
                    array = split(array, edit["class"], edit["parts"], self._part(edit["of"]))
                    n_classes += edit["parts"] - 1
            self._regrouped[name] = array
        return self._regrouped[name]

    def _part(self, digest: str) -> np.ndarray:
        """Into which part of a split every frame went, (T, A)."""
        if digest not in self._parts:
            if self.folder is None:
                raise InputError("What the cluster was split into is not known.")
            self._parts[digest] = load_parts(self.folder / f"split-{digest}.npz", digest)
        return self._parts[digest]

    def _check_index(self, index: int) -> None:
        if not 0 <= index < len(self.classes):
            raise InputError(f"There is no cluster {index}; there are {len(self.classes)}, counted from 0.")

    def check_split(self, index: int, parts: int) -> None:
        """Refuse, with an `InputError`, a split that cannot be."""
        self._check_index(index)
        if not 2 <= parts <= MOST_PARTS:
            raise InputError(f"A cluster cannot be split into {parts}; choose 2 to {MOST_PARTS} parts.")


def split_by_motion(
    naming: Naming, session: Session, index: int, parts: int = 2, *, device: str = "auto"
) -> Generator[Progress, None, range]:
    """Split a cluster by what the model of its run reads of the keypoints; parameters and errors as `Naming.split`.

    The run has kept it, so that this takes seconds, unless keypoints were moved since.

    Examples
    --------
    >>> drain(split_by_motion(naming, session, index=3, parts=2))
    range(3, 5)
    """
    from napari_lookagain.model.lookagain import LookAgain
    from napari_lookagain.predict import read_motion

    if naming.folder is None:
        raise InputError("These clusters are in memory only; open those of a run.")
    naming.check_split(index, parts)
    features = yield from read_motion(LookAgain.load(naming.folder / "model"), session, device=device)
    return naming.split(index, parts, features)
