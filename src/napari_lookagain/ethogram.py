"""The result: what each animal does at every frame, how sure the model is, and where it looked."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pandas as pd

from napari_lookagain.annotations import UNSCORED, Annotations, Bout, runs
from napari_lookagain.errors import InputError
from napari_lookagain.files import atomic_path
from napari_lookagain.npz import write_npz

if TYPE_CHECKING:
    from napari_lookagain.session import Session

Kind = Literal["behavior", "cluster"]
_SCHEMA = 1
_TERMS = ("gate_score", "reliability", "saliency", "semantics")
_ARRAYS = ("label", "probabilities", *_TERMS, "looked", "raw_label", "corrected_by")


@dataclass(frozen=True)
class Ethogram:
    """What the animals of one recording do, frame by frame.

    Parameters
    ----------
    recording
        Name of the recording.
    fps
        Frames per second.
    animals
        Names of the animals, A of them.
    kind
        Whether the classes are scored ``"behavior"`` or discovered ``"cluster"``.
    names
        Names of the classes, K of them; `label` indexes them.
    label
        (T, A) int16; -1 = none.
    probabilities
        (T, A, K) float16 or float32; NaN where not computed.
    gate_score, reliability, saliency, semantics
        (T, A) float32: the gate score of Eq. 15 and its three terms; NaN where not computed.
    looked
        (T, A) bool: frames of which the model saw the video.
    raw_label
        `label` before smoothing; None when nothing was smoothed.
    corrected_by
        (T, A) int16 index into `raters` where a rater set the label, -1 where the model did; None when nobody did.
    raters
        Who corrected.

    Raises
    ------
    InputError
        When the arrays do not fit each other.
    """

    recording: str
    fps: float
    animals: tuple[str, ...]
    kind: Kind
    names: tuple[str, ...]
    label: np.ndarray
    probabilities: np.ndarray
    gate_score: np.ndarray
    reliability: np.ndarray
    saliency: np.ndarray
    semantics: np.ndarray
    looked: np.ndarray
    raw_label: np.ndarray | None = None
    corrected_by: np.ndarray | None = None
    raters: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        frames = (len(self.label), len(self.animals))
        expected = dict.fromkeys(_ARRAYS, frames) | {"probabilities": (*frames, len(self.names))}
        for name, shape in expected.items():
            array = getattr(self, name)
            if array is not None and array.shape != shape:
                raise InputError(f"The ethogram's {name} is {array.shape}, but {shape} is expected.")
        if self.label.size and not -1 <= self.label.min() <= self.label.max() < len(self.names):
            raise InputError(f"The ethogram's labels reach {self.label.max()}, but it names {len(self.names)} classes.")
        if self.kind not in get_args(Kind) or not self.fps > 0 or len(set(self.names)) < len(self.names):
            raise InputError(
                f"An ethogram of {self.kind!r} at {self.fps} frames/s with classes {self.names} makes no sense."
            )

    @classmethod
    def from_probabilities(
        cls, session: Session, probabilities: np.ndarray, names: Sequence[str], *, kind: Kind = "behavior", looked: bool
    ) -> Ethogram:
        """Make an ethogram of (T, A, K) probabilities of a session by a method without a gate, whose numbers are NaN.

        The label is the most probable class; `looked` says whether it looks at every frame, or at none.
        """
        label = probabilities.argmax(-1)
        bare = cls.from_labels(label, names, recording=session.recording, fps=session.fps, animals=session.animals)
        told = probabilities.astype(np.float16, order="C")
        return replace(bare, kind=kind, probabilities=told, looked=np.full(label.shape, looked))

    @classmethod
    def from_labels(
        cls, label: np.ndarray, names: Sequence[str], *, recording: str, fps: float, animals: Sequence[str]
    ) -> Ethogram:
        """Make an ethogram of (T, A) behavior labels alone: all numbers of a model are NaN, no frame is looked at."""
        label = np.asarray(label, np.int16)
        nothing = np.full(label.shape, np.nan, np.float32)
        return cls(
            recording=recording,
            fps=fps,
            animals=tuple(animals),
            kind="behavior",
            names=tuple(names),
            label=label,
            probabilities=np.full((*label.shape, len(names)), np.nan, np.float16),
            gate_score=nothing,
            reliability=nothing,
            saliency=nothing,
            semantics=nothing,
            looked=np.zeros(label.shape, bool),
        )

    def part(self, start: int, stop: int | None = None) -> Ethogram:
        """Frames [start, stop) of it, as if nothing else had been recorded."""
        own = {name: array[start:stop] for name in _ARRAYS if (array := getattr(self, name)) is not None}
        return replace(self, **own)

    @property
    def n_frames(self) -> int:
        """Frames, T."""
        return len(self.label)

    @property
    def probability(self) -> np.ndarray:
        """Probability of the label, (T, A) float32; NaN where there is no label or a rater set it."""
        if not self.names:
            return np.full(self.label.shape, np.nan, np.float32)
        taken = np.take_along_axis(self.probabilities, np.maximum(self.label, 0)[..., None].astype(np.intp), axis=2)
        return np.where((self.label >= 0) & ~self.corrected, taken[..., 0].astype(np.float32), np.float32(np.nan))

    @property
    def corrected(self) -> np.ndarray:
        """Frames whose label a rater set, (T, A) bool."""
        return np.zeros(self.label.shape, bool) if self.corrected_by is None else self.corrected_by >= 0

    def bouts(self) -> list[Bout]:
        """List the bouts, ordered by animal and start, each with its mean probability.

        A bout is a run of one class, whoever set its frames: its rater is the one who set more than half of them, and
        empty (the model) when nobody did.
        """
        found = []
        probability = self.probability
        for animal in range(len(self.animals)):
            known = np.isfinite(probability[:, animal])
            total = np.concatenate([[0.0], np.cumsum(np.where(known, probability[:, animal], 0.0), dtype=float)])
            count = np.concatenate([[0], np.cumsum(known)])
            for start, stop, code in zip(*runs(self.label[:, animal]), strict=True):
                if code >= 0:
                    n = count[stop] - count[start]
                    mean = float((total[stop] - total[start]) / n) if n else None
                    rater = self._rater(animal, start, stop)
                    found.append(Bout(animal, self.names[code], int(start), int(stop), rater, mean))
        return found

    def _rater(self, animal: int, start: int, stop: int) -> str:
        if self.corrected_by is None:
            return ""
        votes = np.bincount(self.corrected_by[start:stop, animal] + 1, minlength=len(self.raters) + 1)
        most = int(votes.argmax())
        return self.raters[most - 1] if most and 2 * votes[most] > stop - start else ""

    def time_budget(self) -> pd.DataFrame:
        """Give the share of time of each class (columns) for each animal (rows), of its labelled frames.

        A row sums to 1; an animal without any label has NaN.
        """
        counts = np.stack([np.bincount(column + 1, minlength=len(self.names) + 1)[1:] for column in self.label.T])
        labelled = counts.sum(axis=1, keepdims=True)
        share = np.divide(counts, labelled, out=np.full(counts.shape, np.nan), where=labelled > 0)
        return pd.DataFrame(
            share, index=pd.Index(self.animals, name="animal"), columns=pd.Index(self.names, name=self.kind)
        )

    def bout_statistics(self) -> pd.DataFrame:
        """Count and time the bouts of every animal and class.

        Returns
        -------
        DataFrame
            Indexed by animal and class; columns ``count``, ``mean_duration_s``, ``total_duration_s`` and
            ``latency_s``, the time from the first frame of the recording to the first bout. The mean and the latency of
            a class never shown are NaN.
        """
        rows = []
        for column in self.label.T:
            start, stop, code = runs(column)
            for wanted in range(len(self.names)):
                mine = code == wanted
                count, seconds = int(mine.sum()), (stop - start)[mine].sum() / self.fps
                first = start[mine][0] / self.fps if count else np.nan
                rows.append((count, seconds / count if count else np.nan, seconds, first))
        index = pd.MultiIndex.from_product([self.animals, self.names], names=["animal", self.kind])
        return pd.DataFrame(rows, index=index, columns=["count", "mean_duration_s", "total_duration_s", "latency_s"])

    def transition_matrix(self, animal: int | None = None) -> pd.DataFrame:
        """Count how often a class (row) is followed at once by another (column), in one animal or in all together.

        Two bouts with unlabelled frames between them do not follow each other: what happened there is not known.
        """
        counts = np.zeros((len(self.names), len(self.names)), int)
        columns = self.label.T if animal is None else self.label[:, [animal]].T
        for column in columns:
            code = runs(column)[2]
            before, after = code[:-1], code[1:]
            known = (before >= 0) & (after >= 0)
            np.add.at(counts, (before[known], after[known]), 1)
        return pd.DataFrame(counts, index=pd.Index(self.names, name="from"), columns=pd.Index(self.names, name="to"))

    def smooth(self, min_bout: int = 1, fill_gap: int = 0) -> Ethogram:
        """Fill short gaps, then dissolve short bouts; the labels as they were stay in `raw_label`.

        A stretch of at most `fill_gap` frames between two bouts of one class joins them, whatever it held (from left to
        right). Then every bout of fewer than `min_bout` frames, the shortest first, goes to the longer of the bouts
        that touch it; one between unlabelled frames stays. Frames set by a rater are never changed. The paper does not
        state any smoothing.

        Parameters
        ----------
        min_bout, fill_gap
            Frames.

        Raises
        ------
        InputError
            When either is negative.
        """
        if min_bout < 0 or fill_gap < 0:
            raise InputError(f"Smoothing got min_bout {min_bout} and fill_gap {fill_gap}; both are frames, 0 or more.")
        raw = self.label if self.raw_label is None else self.raw_label
        columns = [_dissolve(_fill(column, fill_gap), min_bout) for column in raw.T]
        smoothed = np.stack(columns, axis=1) if columns else raw
        return replace(self, label=np.where(self.corrected, self.label, smoothed), raw_label=raw)

    def rename(self, names: Mapping[str, str]) -> Ethogram:
        """Call classes otherwise; classes given the same name become one, their probabilities summed.

        Raises
        ------
        InputError
            When a class to rename does not exist.
        """
        unknown = [name for name in names if name not in self.names]
        if unknown:
            raise InputError(f"There is no class {unknown[0]!r} to rename; the classes are: {', '.join(self.names)}.")
        new = [names.get(name, name) for name in self.names]
        kept = tuple(dict.fromkeys(new))
        table = np.array([*(kept.index(name) for name in new), -1], np.int16)  # a label of -1 reads the last entry
        probabilities = np.zeros((*self.label.shape, len(kept)), self.probabilities.dtype)
        for index, code in enumerate(table[:-1]):
            probabilities[..., code] += self.probabilities[..., index]
        raw = None if self.raw_label is None else table[self.raw_label]
        return replace(self, names=kept, label=table[self.label], raw_label=raw, probabilities=probabilities)

    def with_corrections(self, annotations: Annotations) -> Ethogram:
        """Let what raters scored win over the model, frame by frame; their behaviors are added to the classes.

        Raises
        ------
        InputError
            When the annotations are of another recording.
        """
        scored = annotations.labels()
        if scored.shape != self.label.shape or annotations.animals != self.animals:
            theirs = f"{annotations.n_frames} frames of {', '.join(annotations.animals)}"
            ours = f"{self.n_frames} frames of {', '.join(self.animals)}"
            raise InputError(
                f"The annotations are of {theirs}, but the ethogram is of {ours}; take those of its session."
            )
        extra = tuple(name for name in annotations.behaviors if name not in self.names)
        names = self.names + extra
        table = np.array([*(names.index(name) for name in annotations.behaviors), -1], np.int16)
        absent = np.zeros((*self.label.shape, len(extra)), self.probabilities.dtype)
        return replace(
            self,
            names=names,
            label=np.where(scored != UNSCORED, table[scored], self.label),
            probabilities=np.concatenate([self.probabilities, absent], axis=2),
            corrected_by=annotations.scored_by(),
            raters=annotations.raters,
        )

    def save(self, path: str | Path) -> None:
        """Write the ethogram to an ``.npz`` file, whole or not at all.

        Raises
        ------
        InputError
            When the disk is full or the folder cannot be written.
        """
        head = {name: getattr(self, name) for name in ("recording", "fps", "animals", "kind", "names", "raters")}
        arrays = {name: getattr(self, name) for name in _ARRAYS if getattr(self, name) is not None}
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            write_npz(file, {"head": np.array(json.dumps(head | {"schema": _SCHEMA})), **arrays})


def load_ethogram(path: str | Path) -> Ethogram:
    """Read an ethogram written by `Ethogram.save`.

    Raises
    ------
    InputError
        When the file is absent, damaged, not an ethogram, or written by a newer version.
    """
    with _open(path) as (head, file):
        for name in ("animals", "names", "raters"):
            head[name] = tuple(head[name])
        return Ethogram(**head, **{name: file[name] for name in _ARRAYS if name in file})


def ethogram_kind(path: str | Path) -> Kind:
    """Tell whether a file holds behaviors or clusters, and read no more of it; errors as in `load_ethogram`."""
    with _open(path) as (head, _):
        kind: Kind = head["kind"]
        if kind not in get_args(Kind):
            raise ValueError(f"a kind {kind!r}")
        return kind


@contextmanager
def _open(path: str | Path) -> Iterator[tuple[dict[str, Any], Any]]:
    """The head of an ethogram's file, and its arrays, which are read as they are asked for."""
    try:
        with Path(path).open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            head: dict[str, Any] = json.loads(str(file["head"]))
            if head.pop("schema") > _SCHEMA:
                raise InputError(f"{path} was written by a newer version; update napari-lookagain to read it.")
            yield head, file
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"There is no ethogram at {path}; check the path or run the analysis first.") from error
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        EOFError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise InputError(f"{path} is not an ethogram or is damaged ({error}); run the analysis again.") from error


def _fill(column: np.ndarray, fill_gap: int) -> np.ndarray:
    """Join the runs of one class that at most `fill_gap` frames part, from left to right; (T,) → (T,)."""
    joined: list[list[int]] = []  # [start, stop, code]
    for start, stop, code in zip(*(array.tolist() for array in runs(column)), strict=True):
        if len(joined) >= 2 and code >= 0 and joined[-2][2] == code and joined[-1][1] - joined[-1][0] <= fill_gap:
            joined.pop()
            joined[-1][1] = stop
        else:
            joined.append([start, stop, code])
    lengths = [stop - start for start, stop, _ in joined]
    return np.repeat(np.array([code for *_, code in joined], column.dtype), lengths)


def _dissolve(column: np.ndarray, min_bout: int) -> np.ndarray:
    """Give every bout shorter than `min_bout` frames to the longer labelled bout beside it; (T,) → (T,)."""
    while True:
        start, stop, code = runs(column)
        length = stop - start
        beside = np.pad(np.where(code >= 0, length, 0), 1)
        left, right = beside[:-2], beside[2:]
        short = (code >= 0) & (length < min_bout) & (np.maximum(left, right) > 0)
        if not short.any():
            return column
        # a short bout waits while one beside it is shorter still, or as short and earlier
        rank = np.pad(np.where(short, length, len(column) + 1), 1, constant_values=len(column) + 1)
        now = short & (rank[1:-1] < rank[:-2]) & (rank[1:-1] <= rank[2:])
        neighbor = np.pad(code, 1)
        column = np.repeat(np.where(now, np.where(left >= right, neighbor[:-2], neighbor[2:]), code), length)
