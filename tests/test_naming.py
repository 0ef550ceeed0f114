"""Naming clusters: every act does what it says, can be undone without end, and survives closing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_lookagain.cluster_classes import ClusterClass
from napari_lookagain.colors import CLUSTER_COLORS
from napari_lookagain.errors import InputError
from napari_lookagain.ethogram import Ethogram
from napari_lookagain.model.lookagain import LookAgain
from napari_lookagain.naming import Naming, split_by_motion
from napari_lookagain.predict import read_motion
from napari_lookagain.progress import drain
from napari_lookagain.runs import segment

T, ANIMALS, K = 120, ("ann", "bob"), 4


@pytest.fixture
def found() -> Ethogram:
    """Four clusters in bouts of ten frames; frames 0 to 4 of bob are in none."""
    label = np.stack([np.repeat(np.arange(12) % K, 10), np.repeat((np.arange(12) + 1) % K, 10)], 1).astype(np.int16)
    probabilities = np.full((T, 2, K), 0.1, np.float32)
    np.put_along_axis(probabilities, label[..., None].astype(int), 0.7, axis=2)
    label[:5, 1] = -1
    term = np.random.default_rng(0).random((4, T, 2)).astype(np.float32)
    return Ethogram(
        recording="mice",
        fps=10.0,
        animals=ANIMALS,
        kind="cluster",
        names=tuple(f"cluster {i + 1}" for i in range(K)),
        label=label,
        probabilities=probabilities,
        gate_score=term[0],
        reliability=term[1],
        saliency=term[2],
        semantics=term[3],
        looked=term[0] > 0.8,
    )


@pytest.fixture
def naming(found, tmp_path) -> Naming:
    return Naming(found, tmp_path)


def content(naming: Naming) -> tuple:
    """All that can be asked of it."""
    made = naming.ethogram
    return naming.classes, naming.label.tolist(), made.names, made.probabilities.tolist()


def two_halves(found: Ethogram) -> np.ndarray:
    """Features (T, A, 1) that tell the first 40 frames from the others."""
    return np.broadcast_to((np.arange(T) < 40)[:, None, None], (T, 2, 1)).astype(np.float32)


def test_clusters_start_as_they_were_found(naming, found, tmp_path):
    assert naming.names == found.names
    assert [each.color for each in naming.classes] == list(CLUSTER_COLORS[:K])
    assert all((each.key, each.description, each.behavior) == ("", "", None) for each in naming.classes)
    assert (naming.label == found.label).all()
    assert list(tmp_path.iterdir()) == [], "looking writes nothing"
    assert not naming.undo()
    assert not naming.redo()


def test_what_is_said_of_a_cluster(naming, found, tmp_path):
    naming.rename(1, "walk")
    naming.recolor(1, "#A0b1c2")
    naming.set_key(1, "3")
    naming.describe(1, "on four legs,\nslowly")
    naming.assign(1, "locomotion")
    said = ClusterClass("walk", "#A0b1c2", "3", "on four legs,\nslowly", "locomotion")
    assert naming.classes[1] == said
    assert naming.ethogram.names == ("cluster 1", "walk", "cluster 3", "cluster 4")
    assert naming.ethogram.label is naming.label
    assert Naming(found, tmp_path).classes == naming.classes


def test_saying_the_same_again_is_no_act(naming, tmp_path):
    naming.rename(0, "walk")
    size = (tmp_path / "naming.jsonl").stat().st_size
    naming.rename(0, "walk")
    naming.change({})
    assert (tmp_path / "naming.jsonl").stat().st_size == size
    assert naming.undo()
    assert not naming.undo()


def test_a_key_is_taken_from_the_one_that_had_it_in_one_act(naming):
    naming.set_key(0, "1")
    naming.set_key(2, "1")
    assert [each.key for each in naming.classes] == ["", "", "1", ""]
    naming.set_key(2, "1")
    assert [each.key for each in naming.classes] == ["", "", "1", ""]
    naming.undo()
    assert [each.key for each in naming.classes] == ["1", "", "", ""]
    naming.set_key(0, "")
    assert naming.classes[0].key == ""


def test_merging_sums_probabilities_and_keeps_the_first(naming, found):
    naming.describe(0, "fast")
    naming.set_key(3, "5")
    naming.rename(3, "run")
    assert naming.merge([3, 0]) == 2
    assert naming.names == ("cluster 2", "cluster 3", "run")
    assert naming.classes[2] == ClusterClass("run", CLUSTER_COLORS[3], "5", "fast")
    merged = naming.ethogram
    assert ((merged.label == 2) == np.isin(found.label, [0, 3])).all()
    np.testing.assert_allclose(merged.probabilities[..., 2], found.probabilities[..., [0, 3]].sum(-1), rtol=1e-6)
    np.testing.assert_allclose(merged.probabilities.sum(-1), 1, rtol=1e-6)
    assert (merged.label[:5, 1] == -1).all()


def test_a_split_divides_a_cluster_by_its_features(naming, found):
    naming.set_key(1, "2")
    naming.assign(1, "groom")
    assert naming.split(1, 2, two_halves(found)) == range(1, 3)
    assert naming.names == ("cluster 1", "cluster 2.1", "cluster 2.2", "cluster 3", "cluster 4")
    first, second = naming.classes[1:3]
    assert (first.color, first.key, first.behavior) == (CLUSTER_COLORS[1], "2", "groom")
    assert (second.key, second.behavior) == ("", "groom")
    assert second.color not in {each.color for each in naming.classes if each is not second}
    own, early = found.label == 1, (np.arange(T) < 40)[:, None]
    assert ((naming.label == 1) == (own & ~early)).all(), "the larger part comes first"
    assert ((naming.label == 2) == (own & early)).all()
    assert (naming.label[~own] == np.where(found.label > 1, found.label + 1, found.label)[~own]).all()
    probabilities = naming.ethogram.probabilities
    np.testing.assert_allclose(probabilities[..., 1:3].sum(-1), found.probabilities[..., 1])
    assert (probabilities[:40, :, 1] == 0).all()
    assert (naming.label == probabilities.argmax(-1))[found.label >= 0].all()


def test_splits_and_merges_follow_each_other(naming, found):
    naming.split(1, 2, two_halves(found))
    naming.rename(2, "early")
    naming.merge([2, 0])
    assert naming.names == ("cluster 2.1", "early", "cluster 3", "cluster 4")
    early = (np.arange(T) < 40)[:, None] & (found.label == 1)
    assert ((naming.label == 1) == (early | (found.label == 0))).all()
    naming.split(1, 2, two_halves(found))
    while naming.undo():
        pass
    assert (naming.label == found.label).all()
    assert naming.classes == naming.original


def test_without_features_a_split_goes_by_the_ethogram(naming, found):
    parts = naming.split(0, 3)
    assert list(parts) == [0, 1, 2]
    sizes = [(naming.label == part).sum() for part in parts]
    assert sum(sizes) == (found.label == 0).sum()
    assert min(sizes) > 0
    assert sizes == sorted(sizes, reverse=True)


def test_the_same_split_comes_out_again(found):
    labels = []
    for _ in range(2):
        naming = Naming(found)
        naming.split(2, 3)
        labels.append(naming.label)
    assert (labels[0] == labels[1]).all()


def test_a_split_is_replayed_exactly_from_its_file(naming, found, tmp_path):
    naming.split(1, 3)
    naming.merge([0, 2])
    again = Naming(found, tmp_path)
    assert content(again) == content(naming)
    [parts] = tmp_path.glob("split-*.npz")
    parts.unlink()
    with pytest.raises(InputError, match=r"line 2 of .*naming.jsonl is damaged \(.*split-.*missing"):
        Naming(found, tmp_path)


def test_another_split_in_the_place_of_one_is_noticed(naming, found, tmp_path):
    naming.split(1, 2)
    naming.split(0, 3)
    one, other = tmp_path.glob("split-*.npz")
    one.write_bytes(other.read_bytes())
    with pytest.raises(InputError, match="does not hold what a cluster was split into"):
        Naming(found, tmp_path)


def test_undo_and_redo_survive_closing(naming, found, tmp_path):
    naming.rename(0, "walk")
    naming.merge([0, 1])
    naming.split(1, 2)
    states = [content(naming)]
    while naming.undo():
        states.append(content(naming))
    naming.redo()
    again = Naming(found, tmp_path)
    assert content(again) == states[-2]
    assert again.redo()
    assert again.redo()
    assert not again.redo()
    assert content(again) == states[0]
    again.undo()
    again.rename(0, "trot")
    assert not Naming(found, tmp_path).redo(), "a new act ends what was undone"


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    acts=st.lists(st.tuples(st.sampled_from(["rename", "merge", "split", "undo", "redo", "key"]), st.integers(0, 3)))
)
def test_any_acts_are_replayed_and_taken_back(found, tmp_path_factory, acts):
    folder = tmp_path_factory.mktemp("acts")
    naming = Naming(found, folder)
    for number, (act, index) in enumerate(acts):
        index = min(index, len(naming.classes) - 1)
        match act:
            case "rename":
                naming.rename(index, f"name {number}")
            case "merge" if len(naming.classes) > 2:
                naming.merge([index, (index + 1) % len(naming.classes)])
            case "split" if (naming.label == index).sum() > 10:
                naming.split(index, 2)
            case "key":
                naming.set_key(index, str(number % 9 + 1))
            case "undo":
                naming.undo()
            case "redo":
                naming.redo()
        np.testing.assert_allclose(naming.ethogram.probabilities.sum(-1), 1, rtol=1e-5)
    assert content(Naming(found, folder)) == content(naming)
    while naming.undo():
        pass
    assert content(naming) == content(Naming(found))


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda n: n.rename(9, "walk"), "no cluster 9; there are 4"),
        (lambda n: n.rename(-1, "walk"), "no cluster -1"),
        (lambda n: n.rename(0, "cluster 2"), "both be called 'cluster 2'; merge them"),
        (lambda n: n.rename(0, " walk"), "one line of text"),
        (lambda n: n.recolor(0, "red"), "'red' is no color; give one as #rrggbb"),
        (lambda n: n.set_key(0, "0"), "'0' cannot be a key; choose 1 to 9"),
        (lambda n: n.describe(0, None), "cannot describe"),
        (lambda n: n.assign(0, ""), "cannot name a behavior"),
        (lambda n: n.change({0: {"key": "1"}, 1: {"key": "1"}}), "both have the key '1'"),
        (lambda n: n.change({0: {"size": 1}}), "nothing to say of a cluster's size"),
        (lambda n: n.merge([1]), "at least two"),
        (lambda n: n.merge([1, 1]), "at least two"),
        (lambda n: n.merge([0, 4]), "no cluster 4"),
        (lambda n: n.split(0, 1), "split into 1; choose 2 to 9"),
        (lambda n: n.split(7, 2), "no cluster 7"),
        (lambda n: n.split(0, 2, np.zeros((T, 2, 3))), "too much alike for 2 parts"),
        (lambda n: n.split(0, 2, np.zeros((3, 2, 1))), r"features .*\(3, 2, 1\).*\(120, 2\)"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(naming, tmp_path, act, message):
    before = content(naming)
    with pytest.raises(InputError, match=message):
        act(naming)
    assert content(naming) == before
    assert not (tmp_path / "naming.jsonl").exists()


def test_an_act_that_cannot_be_written_is_not_made(naming, monkeypatch):
    naming.rename(0, "walk")
    before = content(naming)
    monkeypatch.setattr("os.fsync", lambda file: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(InputError, match="not made"):
        naming.rename(0, "trot")
    assert content(naming) == before


def test_a_damaged_or_foreign_journal_is_refused(found, tmp_path):
    Naming(found, tmp_path).rename(0, "walk")
    journal = tmp_path / "naming.jsonl"
    head, act = journal.read_text().splitlines(keepends=True)
    journal.write_text(head + act.replace("change", "chonge"))
    with pytest.raises(InputError, match="line 2 of .* is damaged"):
        Naming(found, tmp_path)
    journal.write_text(head.replace("bob", "eve") + act)
    with pytest.raises(InputError, match="of another recording"):
        Naming(found, tmp_path)


def test_statistics_count_and_time_bouts(naming, found):
    table = naming.statistics()
    assert list(table.columns) == ["count", "total_s", "mean_s", "share of ann", "share of bob"]
    assert list(table.index) == list(found.names)
    assert table["count"].tolist() == [6, 6, 6, 6]
    assert table["total_s"].tolist() == pytest.approx([6, 5.5, 6, 6])
    assert table["mean_s"].tolist() == pytest.approx([1, 5.5 / 6, 1, 1])
    assert table["share of ann"].tolist() == pytest.approx([0.25] * 4)
    assert table["share of bob"].sum() == pytest.approx(1)
    assert naming.statistics(fps=20)["total_s"].iloc[0] == pytest.approx(3)


def test_assigned_clusters_make_an_ethogram_of_behaviors(naming, found):
    naming.assign(0, "walk")
    naming.assign(2, "walk")
    naming.assign(3, "rest")
    made = naming.behaviors
    assert (made.kind, made.names) == ("behavior", ("walk", "rest"))
    assert ((made.label == 0) == np.isin(found.label, [0, 2])).all()
    assert ((made.label == -1) == np.isin(found.label, [1, -1])).all()
    np.testing.assert_allclose(made.probabilities[..., 0], found.probabilities[..., [0, 2]].sum(-1))
    assert Naming(found).behaviors.names == ()


def test_names_are_for_clusters_only(found, tmp_path):
    behaviors = Naming(found).behaviors
    with pytest.raises(InputError, match="names are for clusters"):
        Naming(behaviors)
    found.save(tmp_path / "ethogram.npz")
    assert Naming.open(tmp_path).names == found.names
    with pytest.raises(InputError, match="no ethogram at"):
        Naming.open(Path(tmp_path, "else"))


def test_a_cluster_is_split_by_what_the_model_reads_of_the_keypoints(session, tiny):
    [found] = drain(segment([session], tiny(), device="cpu"))
    run = session.run_folder("segment")
    naming = Naming.open(run)
    largest = int(naming.statistics()["total_s"].argmax())
    assert drain(split_by_motion(naming, session, largest, 3, device="cpu")) == range(largest, largest + 3)
    assert (Naming.open(run).label == naming.label).all()
    passes = list(session.features_folder.glob("motion-*"))
    read = drain(read_motion(LookAgain.load(run / "model"), session, device="cpu"))
    assert read.shape[:2] == found.label.shape
    assert list(session.features_folder.glob("motion-*")) == passes, "what was read before is read again"
    again = Naming(found)
    again.split(largest, 3, read)
    assert (again.label == naming.label).all()
    with pytest.raises(InputError, match="in memory only"):
        drain(split_by_motion(again, session, 0, 2))
    with pytest.raises(InputError, match="no cluster 99"):
        drain(split_by_motion(naming, session, 99, 2))
