"""What measures take: labels and probabilities of one recording or several, checked and laid end to end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from napari_lookagain.annotations import UNSCORED
from napari_lookagain.errors import InputError

Arrays = np.ndarray | Sequence[np.ndarray]
ROUNDING = 2e-3  # probabilities are kept in half precision, and summed there when classes are merged


@dataclass(frozen=True)
class Scored:
    """Scored frames of all animals and recordings, end to end; between two spans lies what nobody scored.

    Parameters
    ----------
    truth
        (N,) classes, 0 or more.
    predicted
        (N,) classes; −1 = none.
    span
        (N,) which scored span a frame belongs to, rising from 0: a span is a longest stretch of scored frames of one
        animal in one recording.
    """

    truth: np.ndarray
    predicted: np.ndarray
    span: np.ndarray


def recordings(arrays: Arrays) -> list[np.ndarray]:
    """One array for each recording; a single one is a list of one."""
    if isinstance(arrays, np.ndarray):
        return [arrays]
    several = list(arrays)
    if several and not all(isinstance(each, np.ndarray) for each in several):
        return [np.asarray(several)]
    return several


def check_labels(labels: np.ndarray, n_classes: int | None, what: str) -> None:
    """Refuse, with an `InputError`, what are not labels from −1 to `n_classes` − 1 (None: without an upper end)."""
    if labels.dtype.kind not in "iu":
        raise InputError(f"The {what} labels are {labels.dtype}, but integers are expected; give the index of a class.")
    if not labels.size:
        return
    low, high = int(labels.min()), int(labels.max())
    if low < UNSCORED or (n_classes is not None and high >= n_classes):
        top = "" if n_classes is None else f" to {n_classes - 1}"
        raise InputError(f"The {what} labels reach from {low} to {high}, but −1{top} is expected; check the classes.")


def paired(
    truth: Arrays, predicted: Arrays, n_classes: int | None, n_predicted: int | None
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Labels of the same frames, recording by recording.

    Parameters
    ----------
    truth, predicted
        (T,) or (T, A) integers, −1 = unscored or none; a list of arrays for several recordings.
    n_classes, n_predicted
        How many classes each may name; None for any number.

    Raises
    ------
    InputError
        When the labels are not integers, name other classes, or are not of the same frames.
    """
    all_scored, all_told = recordings(truth), recordings(predicted)
    if len(all_scored) != len(all_told):
        raise InputError(
            f"Scored labels of {len(all_scored)} recordings and predicted ones of {len(all_told)} cannot be compared; "
            "give both for every recording."
        )
    pairs = list(zip(all_scored, all_told, strict=True))
    for scored, told in pairs:
        check_labels(scored, n_classes, "scored")
        check_labels(told, n_predicted, "predicted")
        if scored.shape != told.shape:
            raise InputError(
                f"The predicted labels are {told.shape}, but {scored.shape} is expected, as the scored ones are; "
                "compare labels of the same frames and animals."
            )
    return pairs


def pooled(
    truth: Arrays, predicted: Arrays, n_classes: int | None, n_predicted: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Labels of all scored frames, (N,) and (N,); errors as in `paired`."""
    pairs = paired(truth, predicted, n_classes, n_predicted)
    empty = np.zeros(0, np.intp)
    scored = np.concatenate([empty, *(scored[scored >= 0].astype(np.intp) for scored, _ in pairs)])
    return scored, np.concatenate([empty, *(told[scored >= 0].astype(np.intp) for scored, told in pairs)])


def scored_frames(truth: Arrays, predicted: Arrays, n_classes: int | None, n_predicted: int | None) -> Scored:
    """Scored frames end to end, with the span each belongs to; errors as in `paired`.

    Raises
    ------
    InputError
        Besides, when labels are neither (T,) nor (T, A): spans need frames in their order.
    """
    columns: list[tuple[np.ndarray, np.ndarray]] = []
    for scored, told in paired(truth, predicted, n_classes, n_predicted):
        if scored.ndim not in (1, 2):
            raise InputError(f"Bouts need labels of (frames,) or (frames, animals), but these are {scored.shape}.")
        across = scored.reshape(len(scored), -1).T, told.reshape(len(told), -1).T
        columns += zip(*across, strict=True)
    gap = np.full(1, UNSCORED)  # nothing reaches from one animal to the next
    scored = np.concatenate([gap, *(part for column, _ in columns for part in (column, gap))]).astype(np.intp)
    told = np.concatenate([gap, *(part for _, column in columns for part in (column, gap))]).astype(np.intp)
    known = scored >= 0
    span = np.cumsum(known[1:] & ~known[:-1]) - 1
    return Scored(scored[known], told[known], span[known[1:]])


def probabilities_of_scored(truth: Arrays, probabilities: Arrays, n_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Scored classes (N,) and probabilities (N, K) of the scored frames that have any.

    Frames with a NaN among their probabilities (not computed) are left out.

    Parameters
    ----------
    truth
        (T,) or (T, A) integers, −1 = unscored; a list for several recordings.
    probabilities
        (T, K) or (T, A, K) in [0, 1]; they need not sum to one.

    Raises
    ------
    InputError
        When shapes do not fit, or a probability is outside [0, 1].
    """
    scored, told = recordings(truth), recordings(probabilities)
    if len(scored) != len(told):
        raise InputError(f"Got labels of {len(scored)} recordings and probabilities of {len(told)}; give both for all.")
    classes, values = [np.zeros(0, np.intp)], [np.zeros((0, n_classes))]
    for labels, each in zip(scored, told, strict=True):
        check_labels(labels, n_classes, "scored")
        if each.shape != (*labels.shape, n_classes):
            raise InputError(
                f"The probabilities are {each.shape}, but {(*labels.shape, n_classes)} is expected: one of every class "
                "for every label."
            )
        flat = each[labels >= 0].astype(float)
        known = np.isfinite(flat).all(axis=1)
        classes.append(labels[labels >= 0][known])
        values.append(flat[known])
    probability = np.concatenate(values)
    if probability.size and not -ROUNDING <= probability.min() <= probability.max() <= 1 + ROUNDING:
        raise InputError(
            f"Probabilities reach from {probability.min():g} to {probability.max():g}, but 0 to 1 is expected; give "
            "probabilities, not logits."
        )
    return np.concatenate(classes), probability.clip(0, 1)
