"""Arrays made stretch by stretch: what is finished stays, whoever made it, and what is damaged is made anew."""

from __future__ import annotations

import numpy as np
import pytest

from napari_lookagain import stretches as module
from napari_lookagain.errors import InputError
from napari_lookagain.stretches import Stretches, pieces, scratch

ARRAYS = {"long": ((2, 10, 3), np.float32), "flat": ((1, 10), np.int16)}
WHOLE = {name: np.arange(np.prod(shape)).reshape(shape).astype(kind) for name, (shape, kind) in ARRAYS.items()}


def arrays(folder):
    return Stretches(folder, ARRAYS, axis=1, length=4, what="numbers")


def fill(made, spans):
    for span in spans:
        made.put(span, **{name: whole[:, span] for name, whole in WHOLE.items()})


@pytest.mark.parametrize("kept", [True, False])
def test_what_is_put_is_read(tmp_path, kept):
    made = arrays(tmp_path / "kept" if kept else None)
    assert made.missing == made.spans == [slice(0, 4), slice(4, 8), slice(8, 10)]
    fill(made, made.spans[::-1])
    assert made.missing == []
    for name, whole in WHOLE.items():
        np.testing.assert_array_equal(made.read()[name], whole)


def test_another_process_goes_on(tmp_path):
    first, second = arrays(tmp_path / "kept"), arrays(tmp_path / "kept")
    fill(first, [slice(4, 8)])
    assert second.missing == arrays(tmp_path / "kept").missing == [slice(0, 4), slice(8, 10)]
    fill(second, second.missing)
    assert first.missing == []
    np.testing.assert_array_equal(first.read()["long"], WHOLE["long"])
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


@pytest.mark.parametrize("small", [0, 1 << 22])
def test_what_is_written_into_what_is_read_is_kept_nowhere(tmp_path, monkeypatch, small):
    monkeypatch.setattr(module, "_SMALL", small)
    made = arrays(tmp_path / "kept")
    fill(made, made.spans)
    made.read()["long"][:] = 7
    np.testing.assert_array_equal(made.read()["long"], WHOLE["long"])


@pytest.mark.parametrize("name", ["long", "flat", "done"])
@pytest.mark.parametrize("damage", ["gone", "short", "junk", "other"])
def test_what_is_damaged_is_made_anew(tmp_path, name, damage):
    made = arrays(tmp_path / "kept")
    fill(made, made.spans)
    file = tmp_path / "kept" / f"{name}.npy"
    if damage == "other":
        np.save(file, np.zeros(7))
    elif damage == "gone":
        file.unlink()
    else:
        file.write_bytes(b"junk" if damage == "junk" else file.read_bytes()[:-1])
    again = arrays(tmp_path / "kept")
    assert again.missing == again.spans
    fill(again, again.spans)
    np.testing.assert_array_equal(again.read()["long"], WHOLE["long"])


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot be written"):
        arrays(tmp_path / "file" / "kept")


@pytest.mark.parametrize("small", [0, 1 << 22])
def test_scratch_is_zeros_and_leaves_no_file(tmp_path, monkeypatch, small):
    monkeypatch.setattr(module, "_SMALL", small)
    made = scratch((5, 2), np.float32, tmp_path)
    made[2] = 3
    assert (made.dtype, made.sum(), type(made)) == (np.float32, 6, np.ndarray)
    assert list(tmp_path.iterdir()) == []
    assert scratch((5, 2), np.float32, tmp_path / "nowhere").sum() == scratch((5, 2), np.float32, None).sum() == 0


def test_pieces_are_all_of_it(monkeypatch):
    monkeypatch.setattr(module, "PIECE", 4)
    assert list(pieces(10)) == [slice(0, 4), slice(4, 8), slice(8, 10)]
