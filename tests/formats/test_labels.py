"""Label files of other programs: read rightly, or refused in one line that says where and why."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from napari_lookagain.annotations import BACKGROUND, Annotations, Bout
from napari_lookagain.errors import InputError
from napari_lookagain.formats.labels import read_labels

ANIMALS = ("ann", "bob")
BOUTS = "animal,behavior,start_frame,stop_frame\n"
BORIS = (
    "Observation id,pond,,,\n,,,,\nTime offset (s),0.0,,,\n,,,,\n"
    "Time,Media file path,Total length,FPS,Subject,Behavior,Behavioral category,Comment,Status\n"
)


def read(folder: Path, text: str, animals: tuple[str, ...] = ANIMALS, n_frames: int = 100, **options) -> list[Bout]:
    path = folder / "labels.csv"
    path.write_text(text, encoding="utf-8")
    return read_labels(path, n_frames=n_frames, animals=animals, fps=options.pop("fps", 10.0), **options)


def boris(*events: str) -> str:
    """A BORIS table at 10 frames per second of events such as "1.5 ann walk START"."""
    rows = (event.split() for event in events)
    return BORIS + "".join(f"{time},pond.avi,10.0,10.0,{who},{what},,,{status}\n" for time, who, what, status in rows)


def test_a_table_of_bouts(tmp_path: Path) -> None:
    text = BOUTS + "bob,rest,5,9\nann,walk,0,5\nann,rest,5,8.0\n"
    expected = [Bout(0, "walk", 0, 5), Bout(0, "rest", 5, 8), Bout(1, "rest", 5, 9)]
    assert read(tmp_path, text) == expected
    assert read(tmp_path, text.replace(",", ";")) == expected
    assert read(tmp_path, "\ufeff" + text.replace(",", "\t").replace("\n", "\r\n") + "\r\n") == expected
    assert {bout.rater for bout in read(tmp_path, text, rater="eve")} == {"eve"}


def test_one_animal_need_not_be_named(tmp_path: Path) -> None:
    text = "start_frame,stop_frame,behavior\n3,7,walk\n"
    assert read(tmp_path, text, animals=("ann",)) == [Bout(0, "walk", 3, 7)]
    with pytest.raises(InputError, match=r"does not say whose labels .* ann, bob"):
        read(tmp_path, text)


def test_raters_may_differ_but_not_one_with_himself(tmp_path: Path) -> None:
    text = "rater,animal,behavior,start_frame,stop_frame\neve,ann,walk,0,9\njoe,ann,rest,5,12\n,bob,rest,5,12\n"
    assert read(tmp_path, text) == [
        Bout(0, "walk", 0, 9, "eve"),
        Bout(0, "rest", 5, 12, "joe"),
        Bout(1, "rest", 5, 12, "user"),
    ]
    with pytest.raises(InputError, match=r"'walk' \(frames 0 to 9, line 2\) and 'rest' \(5 to 12, line 3\) of ann"):
        read(tmp_path, text, rater="eve")


def test_a_table_of_several_recordings_gives_the_one_asked_for(tmp_path: Path) -> None:
    text = "recording,animal,behavior,start_frame,stop_frame\npond,ann,walk,0,9\nlake,ann,rest,5,12\n"
    assert read(tmp_path, text, recording="lake") == [Bout(0, "rest", 5, 12)]
    with pytest.raises(InputError, match=r"several recordings \(lake, pond\), but none is 'sea'"):
        read(tmp_path, text, recording="sea")
    renamed = "recording,animal,behavior,start_frame,stop_frame\npond,ann,walk,0,9\n"
    assert read(tmp_path, renamed, recording="sea") == [Bout(0, "walk", 0, 9)]


def test_scored_all_fills_with_background(tmp_path: Path) -> None:
    text = BOUTS + "ann,walk,10,20\nann,rest,20,30\n"
    assert read(tmp_path, text, scored="all") == [
        Bout(0, BACKGROUND, 0, 10),
        Bout(0, "walk", 10, 20),
        Bout(0, "rest", 20, 30),
        Bout(0, BACKGROUND, 30, 100),
        Bout(1, BACKGROUND, 0, 100),
    ]
    assert read(tmp_path, BOUTS, ("ann",), scored="all", rater="eve") == [Bout(0, BACKGROUND, 0, 100, "eve")]
    assert read(tmp_path, BOUTS) == []
    with pytest.raises(InputError, match="'labelled' or 'all'"):
        read(tmp_path, text, scored="some")


def test_a_label_per_frame(tmp_path: Path) -> None:
    one = ",0\n" + "".join(f"{i / 10},{label}\n" for i, label in enumerate(["na", "walk", "walk", "NaN", "", "rest"]))
    expected = [Bout(0, "walk", 1, 3), Bout(0, "rest", 5, 6)]
    assert read(tmp_path, one, ("ann",), n_frames=6) == expected
    with pytest.warns(UserWarning, match="ends after 6 frames; the recording has 9"):
        assert read(tmp_path, one, ("ann",), n_frames=9) == expected
    with pytest.raises(InputError, match="does not say whose"):
        read(tmp_path, one, n_frames=6)
    two = "time,bob,ann\n0,walk,rest\n0.1,walk,na\n"
    assert read(tmp_path, two, n_frames=2) == [Bout(0, "rest", 0, 1), Bout(1, "walk", 0, 2)]


def test_a_row_per_frame_and_animal(tmp_path: Path) -> None:
    text = "frame,time_s,animal,behavior,cluster\n0,0,ann,walk,3\n1,0.1,ann,,3\n0,0,bob,rest,2\n1,0.1,bob,rest,2\n"
    assert read(tmp_path, text) == [Bout(0, "walk", 0, 1), Bout(1, "rest", 0, 2)]
    with pytest.raises(InputError, match="line 6: frame 1 of bob is labelled a second time"):
        read(tmp_path, text + "1,0.1,bob,walk,2\n")


def test_onehot(tmp_path: Path) -> None:
    text = ",background,Walk,rest\n0,1,0,0\n1,0,1,0\n2,0,1,0\n3,0,0,0\n4,-1,-1,-1\n5,0,0,1\n"
    assert read(tmp_path, text, ("ann",), n_frames=6) == [
        Bout(0, BACKGROUND, 0, 1),
        Bout(0, "Walk", 1, 3),
        Bout(0, "rest", 5, 6),
    ]
    with pytest.raises(InputError, match="does not say whose"):
        read(tmp_path, text, n_frames=6)
    with pytest.raises(InputError, match="line 8: Walk and rest are shown at once"):
        read(tmp_path, text + "6,0,1,1\n", ("ann",))
    with pytest.raises(InputError, match="line 8: a cell is neither 0 nor 1"):
        read(tmp_path, text + "6,0,0.3,0.7\n", ("ann",), format="onehot")


def test_boris_events(tmp_path: Path) -> None:
    text = boris(
        "1.04 ann walk START", "1.2 bob rest START", "2.0 ann walk STOP", "3.3 ann peck POINT", "4 bob rest STOP"
    )
    expected = [Bout(0, "walk", 10, 20), Bout(0, "peck", 33, 34), Bout(1, "rest", 12, 40)]
    assert read(tmp_path, text) == expected
    new_layout = text[text.index("Time,") :].replace("Status", "Behavior type")
    assert read(tmp_path, new_layout) == expected
    # an event shorter than a frame takes one, and rounding up does not step over the end
    assert read(tmp_path, boris("5 x peck START", "5.01 x peck STOP"), ("ann",)) == [Bout(0, "peck", 50, 51)]
    assert read(tmp_path, boris("9 x walk START", "10.06 x walk STOP"), ("ann",)) == [Bout(0, "walk", 90, 100)]


def test_boris_counts_frames_by_its_own_rate(tmp_path: Path) -> None:
    text = boris("1 x walk START", "2 x walk STOP")
    with pytest.warns(UserWarning, match="counts 10 frames per second, the recording 25"):
        assert read(tmp_path, text, ("ann",), fps=25.0) == [Bout(0, "walk", 10, 20)]
    assert read(tmp_path, text.replace("10.0,10.0", "10.0,NA"), ("ann",), fps=25.0) == [Bout(0, "walk", 25, 50)]
    with pytest.warns(UserWarning, match="time offset of 5.0 s"):
        read(tmp_path, text.replace("(s),0.0", "(s),5.0"), ("ann",))


@pytest.mark.parametrize(
    ("events", "message"),
    [
        (["1 ann walk START"], "line 6: the START of 'walk' has no STOP"),
        (["1 ann walk STOP"], "line 6: STOP of 'walk' does not match"),
        (["1 ann walk START", "2 ann walk START"], "line 7: START of 'walk' does not match"),
        (["1 cat walk START"], "line 6: the animal 'cat' is unknown; this recording has: ann, bob"),
        (["00:01 ann walk START"], "line 6: '00:01' is not a time in seconds"),
        (["1 ann walk START", "99 ann walk STOP"], "line 6: frame 989 is past the end"),
        (["1 ann walk START", "2 ann rest START", "3 ann walk STOP", "4 ann rest STOP"], "'walk'.*and 'rest'.*overlap"),
    ],
)
def test_bad_boris_events_are_refused(events: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        read(tmp_path, boris(*events))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOUTS + "ann,walk,0,5\ncat,walk,0,5\n", "line 3: the animal 'cat' is unknown; this recording has: ann, bob"),
        (BOUTS + "ann,walk,90,101\n", "line 2: frame 100 is past the end; this recording has 100 frames"),
        (BOUTS + "ann,walk,-5,5\n", "line 2: frame -5 is negative"),
        (BOUTS + "ann,walk,5,5\n", "line 2: the bout from frame 5 to 5 is empty"),
        (BOUTS + "ann,walk,9,5\n", "line 2: the bout from frame 9 to 5 is empty"),
        (BOUTS + "ann,walk,0.5,5\n", "line 2: '0.5' is not a whole frame"),
        (BOUTS + "ann,walk,0,inf\n", "line 2: 'inf' is not a frame"),
        (BOUTS + "ann,walk,0\n", "line 2: '' is not a frame"),
        (BOUTS + "ann,,0,5\n", "line 2: the bout has no behavior"),
        (
            BOUTS + "ann,walk,0,5\nann,rest,4,9\n",
            r"'walk' \(frames 0 to 5, line 2\) and 'rest' \(4 to 9, line 3\) of ann",
        ),
        (
            "animal,start_frame\nann,0\n",
            "no column behavior and no column stop_frame; its columns are: animal, start_frame",
        ),
        (",ann,bob\n" + "0,walk,walk\n" * 101, "line 102: frame 100 is past the end"),
        (",ann,cat\n0,walk,walk\n", "the animal 'cat' is unknown"),
        ("name,age\nann,old\n", "no labels we know: its columns are name, age"),
        ("", "not a text table"),
        (" \n\n", "not a text table"),
        ("a\0b", "not a text table"),
    ],
)
def test_bad_tables_are_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path, text)
    assert "\n" not in str(caught.value)
    assert "labels.csv" in str(caught.value)


def test_files_that_are_no_tables_are_refused(tmp_path: Path) -> None:
    (tmp_path / "video.csv").write_bytes(b"\x00\xff\xfe" * 50)
    (tmp_path / "project.boris").write_text("{}")
    for name, message in (
        ("video.csv", "not a text table"),
        ("project.boris", "tabular"),
        ("none.csv", "cannot be read"),
    ):
        with pytest.raises(InputError, match=message):
            read_labels(tmp_path / name, n_frames=100, animals=ANIMALS, fps=10)
    with pytest.raises(InputError, match="'xml' is not known; choose one of: bouts, frames, onehot, boris"):
        read(tmp_path, BOUTS, format="xml")


def test_scored_mice(data: Path) -> None:
    files = sorted((data / "subtle_mice" / "annots").glob("*.csv"))
    assert len(files) == 7
    for file in files:
        n_frames = len((data / "subtle_mice" / "coords" / file.name).read_text().splitlines())
        annotations = Annotations(n_frames, ("mouse",))
        annotations.add_bouts(read_labels(file, n_frames=n_frames, animals=annotations.animals, fps=20))
        expected = pd.read_csv(file, keep_default_na=False).iloc[:, 1].to_numpy()
        got = np.array([*annotations.behaviors, "na"], dtype=object)[annotations.labels()[:, 0]]
        np.testing.assert_array_equal(got, expected)
        assert set(annotations.behaviors) == {"walking", "rearing", "grooming", "standing"}


def test_boris_exports(data: Path) -> None:
    folder = data / "label_formats" / "boris"
    found = {}
    for file in folder.glob("*_reencode.csv"):
        found[file.name[8:23]] = read_labels(file, n_frames=10500, animals=("adult", "juvenile"), fps=30)
    assert sorted(map(len, found.values())) == [8, 10, 15, 29, 32]
    assert {(bout.animal, bout.behavior) for bouts in found.values() for bout in bouts} == {(0, "interact")}
    assert found["20210610T120637"][0] == Bout(0, "interact", 512, 663)  # 17.075 to 22.100 s
    with pytest.raises(InputError, match="BORIS project"):
        read_labels(folder / "test-multi-behaviors.boris", n_frames=10500, animals=("mouse",), fps=30)
    (pose,) = folder.glob("*DLC_*.csv")
    with pytest.raises(InputError, match="no labels we know"):
        read_labels(pose, n_frames=5700, animals=("adult", "juvenile"), fps=30)


def test_onehot_fly(data: Path) -> None:
    (file,) = (data / "label_formats" / "lightning_action").glob("*.csv")
    assert read_labels(file, n_frames=1999, animals=("fly",), fps=60) == [
        Bout(0, "background", 0, 1215),
        Bout(0, "back_groom", 1215, 1265),
        Bout(0, "background", 1265, 1999),
    ]
