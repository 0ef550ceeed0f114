"""Ethogram: bouts, statistics and smoothing against numbers worked out by hand; files that come back the same."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_lookagain.annotations import Annotations, Bout, runs
from napari_lookagain.errors import InputError
from napari_lookagain.ethogram import Ethogram, load_ethogram

NAMES = ("walk", "rest", "groom")


def ethogram(*columns: list[int], **changes: object) -> Ethogram:
    """An ethogram at 10 frames per second with a column of labels per animal, the model sure of its labels by 0.5."""
    label = np.array(columns, np.int16).T
    animals = tuple(f"animal {i}" for i in range(label.shape[1]))
    made = Ethogram.from_labels(label, NAMES, recording="pond", fps=10.0, animals=animals)
    probabilities = np.full((*label.shape, 3), 0.25, np.float32)
    np.put_along_axis(probabilities, np.maximum(label, 0)[..., None].astype(int), 0.5, axis=2)
    return replace(made, probabilities=probabilities, **changes)


def test_bouts_carry_their_mean_probability() -> None:
    made = ethogram([0, 0, 1, 1, 1, -1, 0])
    made.probabilities[2:5, 0, 1] = [0.6, 0.7, np.nan]
    assert made.bouts() == [
        Bout(0, "walk", 0, 2, "", 0.5),
        Bout(0, "rest", 2, 5, "", pytest.approx(0.65)),
        Bout(0, "walk", 6, 7, "", 0.5),
    ]
    assert [bout.source for bout in made.bouts()] == ["model"] * 3
    np.testing.assert_array_equal(np.isnan(made.probability[:, 0]), [0, 0, 0, 0, 1, 1, 0])


def test_time_budget_is_of_labelled_frames() -> None:
    budget = ethogram([0, 0, 1, -1], [-1, -1, -1, -1]).time_budget()
    assert budget.loc["animal 0"].tolist() == pytest.approx([2 / 3, 1 / 3, 0])
    assert budget.loc["animal 1"].isna().all()


def test_bout_statistics() -> None:
    table = ethogram([-1, 0, 0, 1, 0, 0, 0, 0]).bout_statistics()
    assert table.loc[("animal 0", "walk")].to_dict() == pytest.approx(
        {"count": 2, "mean_duration_s": 0.3, "total_duration_s": 0.6, "latency_s": 0.1}
    )
    never = table.loc[("animal 0", "groom")]
    assert (never["count"], never["total_duration_s"]) == (0, 0)
    assert never[["mean_duration_s", "latency_s"]].isna().all()


def test_transitions_go_from_row_to_column_and_not_across_unlabelled_frames() -> None:
    made = ethogram([0, 0, 1, 0, 1, -1, 2], [2, 0, 0, 0, 0, 0, 0])
    table = made.transition_matrix()
    assert (table.index.name, table.columns.name) == ("from", "to")
    assert table.loc["walk", "rest"] == 2
    assert table.loc["rest", "walk"] == 1
    assert table.loc["groom", "walk"] == 1
    assert table.to_numpy().sum() == 4
    assert made.transition_matrix(animal=0).loc["groom", "walk"] == 0


@pytest.mark.parametrize(
    ("labels", "options", "expected"),
    [
        ([0, 0, 1, 0, 0], {"fill_gap": 1}, [0, 0, 0, 0, 0]),
        ([0, 0, -1, 0, 0], {"fill_gap": 1}, [0, 0, 0, 0, 0]),
        ([0, 0, 1, 1, 0], {"fill_gap": 1}, [0, 0, 1, 1, 0]),
        ([0, 1, 0, 1, 0], {"fill_gap": 1}, [0, 0, 0, 0, 0]),
        ([0, 0, 0, 1, 2, 2], {"min_bout": 2}, [0, 0, 0, 0, 2, 2]),
        ([0, 0, 1, 2, 2, 2], {"min_bout": 2}, [0, 0, 2, 2, 2, 2]),
        ([-1, 1, -1, 0, 0], {"min_bout": 2}, [-1, 1, -1, 0, 0]),
        ([0, 0, 0, 1, 2, 1, 0], {"min_bout": 2}, [0, 0, 0, 0, 0, 0, 0]),
        ([0, 1, 2], {}, [0, 1, 2]),
    ],
)
def test_smoothing(labels: list[int], options: dict[str, int], expected: list[int]) -> None:
    smooth = ethogram(labels).smooth(**options)
    assert smooth.label[:, 0].tolist() == expected
    assert smooth.raw_label is not None
    assert smooth.raw_label[:, 0].tolist() == labels
    assert smooth.smooth().label[:, 0].tolist() == labels


@given(arrays(np.int16, st.tuples(st.integers(1, 60), st.just(1)), elements=st.integers(-1, 2)), st.integers(0, 6))
def test_no_short_bout_is_left_beside_another(label: np.ndarray, frames: int) -> None:
    made = ethogram(label[:, 0].tolist())
    start, stop, code = runs(made.smooth(min_bout=frames).label[:, 0])
    beside = np.pad(code, 1, constant_values=-1)
    touched = (beside[:-2] >= 0) | (beside[2:] >= 0)
    assert not ((code >= 0) & (stop - start < frames) & touched).any()

    start, stop, code = runs(made.smooth(fill_gap=frames).label[:, 0])
    inner = (code[:-2] == code[2:]) & (code[2:] >= 0)
    assert not (inner & ((stop - start)[1:-1] <= frames)).any()


def test_negative_smoothing_is_refused() -> None:
    with pytest.raises(InputError, match="min_bout -1"):
        ethogram([0]).smooth(min_bout=-1)


def test_classes_renamed_alike_become_one() -> None:
    made = ethogram([0, 1, 2, -1]).smooth(fill_gap=0)
    renamed = made.rename({"walk": "move", "groom": "move"})
    assert renamed.names == ("move", "rest")
    assert renamed.label[:, 0].tolist() == [0, 1, 0, -1]
    assert renamed.raw_label is not None
    assert renamed.raw_label[:, 0].tolist() == [0, 1, 0, -1]
    np.testing.assert_allclose(renamed.probabilities[0, 0], [0.75, 0.25])
    assert ethogram([0]).rename({"walk": "rest", "rest": "walk"}).names == ("rest", "walk", "groom")
    with pytest.raises(InputError, match="no class 'swim'.*walk, rest, groom"):
        made.rename({"swim": "walk"})


def corrected() -> Ethogram:
    made = ethogram([0, 0, 0, 0, 1, 1])
    annotations = Annotations(6, made.animals)
    annotations.assign(0, 1, 2, "swim", "eve")
    annotations.assign(0, 2, 6, "rest", "joe")
    return made.with_corrections(annotations)


def test_corrections_win_and_say_whose_they_are() -> None:
    made = corrected()
    assert made.names == (*NAMES, "swim")
    assert made.label[:, 0].tolist() == [0, 3, 1, 1, 1, 1]
    assert made.corrected_by is not None
    assert [made.raters[who] if who >= 0 else "model" for who in made.corrected_by[:, 0]] == [
        "model",
        "eve",
        *["joe"] * 4,
    ]
    np.testing.assert_array_equal(np.isnan(made.probability[:, 0]), [0, 1, 1, 1, 1, 1])
    assert made.bouts() == [
        Bout(0, "walk", 0, 1, "", 0.5),
        Bout(0, "swim", 1, 2, "eve"),
        Bout(0, "rest", 2, 6, "joe"),
    ]


def test_a_bout_is_of_the_rater_who_set_most_of_it() -> None:
    made = ethogram([0] * 10)
    annotations = Annotations(10, made.animals)
    annotations.assign(0, 0, 5, "walk")
    assert [b.rater for b in made.with_corrections(annotations).bouts()] == [""]
    annotations.assign(0, 5, 6, "walk")
    assert [b.rater for b in made.with_corrections(annotations).bouts()] == ["user"]


def test_smoothing_never_changes_what_a_rater_set() -> None:
    smooth = corrected().smooth(min_bout=6)
    assert smooth.label[1:, 0].tolist() == [3, 1, 1, 1, 1]


def test_corrections_of_another_recording_are_refused() -> None:
    made = ethogram([0, 0])
    with pytest.raises(InputError, match="3 frames of animal 0, but the ethogram is of 2"):
        made.with_corrections(Annotations(3, made.animals))
    with pytest.raises(InputError, match="frames of bob"):
        made.with_corrections(Annotations(2, ("bob",)))


@pytest.mark.parametrize(
    "made", [ethogram([0, 1, -1], [2, 2, 2]), corrected().smooth(2), ethogram([])], ids=["plain", "corrected", "empty"]
)
def test_a_file_gives_the_same_ethogram_back(made: Ethogram, tmp_path: Path) -> None:
    made.save(tmp_path / "ethogram.npz")
    again = load_ethogram(tmp_path / "ethogram.npz")
    for field in fields(Ethogram):
        np.testing.assert_array_equal(getattr(again, field.name), getattr(made, field.name), err_msg=field.name)
    assert again.label.dtype == np.int16
    assert [path.name for path in tmp_path.iterdir()] == ["ethogram.npz"]


def test_bad_files_are_told_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "ethogram.npz"
    with pytest.raises(InputError, match="no ethogram at"):
        load_ethogram(path)
    ethogram([0, 1, 2] * 500).save(path)
    content = path.read_bytes()
    for damaged in (b"", b"hello", content[: len(content) // 2], content[:200] + b"\0" * 40 + content[240:]):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="not an ethogram or is damaged"):
            load_ethogram(path)
    np.save(tmp_path / "array.npy", np.arange(3))
    with pytest.raises(InputError, match="not an ethogram"):
        load_ethogram(tmp_path / "array.npy")


def test_objects_in_a_file_are_never_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "ethogram.npz"
    np.savez(path, head=np.array([{"schema": 1}], dtype=object))
    with pytest.raises(InputError, match="allow_pickle=False"):
        load_ethogram(path)


def test_a_newer_file_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "ethogram.npz", head=np.array(json.dumps({"schema": 99})))
    with pytest.raises(InputError, match="newer version"):
        load_ethogram(tmp_path / "ethogram.npz")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"looked": np.zeros((2, 2), bool)}, r"looked is \(2, 2\), but \(2, 1\)"),
        ({"probabilities": np.zeros((2, 1, 2))}, r"probabilities is \(2, 1, 2\)"),
        ({"names": ("walk",), "probabilities": np.zeros((2, 1, 1))}, "reach 1, but it names 1"),
        ({"kind": "motif"}, "makes no sense"),
        ({"fps": 0.0}, "makes no sense"),
        ({"names": ("walk", "walk", "rest")}, "makes no sense"),
    ],
)
def test_parts_that_do_not_fit_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ethogram([0, 1], **changes) if "probabilities" not in changes else replace(ethogram([0, 1]), **changes)
