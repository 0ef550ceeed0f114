"""What every vision encoder offers, and how one is kept beside a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

import numpy as np

from napari_lookagain.errors import InputError
from napari_lookagain.files import atomic_path

if TYPE_CHECKING:
    from napari_lookagain.config import VisionConfig

What = Literal["mean", "cls", "patches"]
Precision = Literal["auto", "float32", "bfloat16"]
Runtime = Literal["torch", "openvino"]

_FILE = "encoder.json"


class VisionEncoder(Protocol):
    """Frozen map from images to visual features: f_vision, and by default the mean over patches (Eq. 7)."""

    @property
    def kind(self) -> str:
        """What kind of encoder this is: "pca", "beast" or "hub"."""

    @property
    def name(self) -> str:
        """What users call it; for a hub encoder, what it is loaded from."""

    @property
    def width(self) -> int:
        """Number of visual features, D_v: of one patch as of their mean and of the class token."""

    @property
    def n_patches(self) -> int:
        """Number of patches of an image, P; 0 for an encoder that cuts none."""

    @property
    def size(self) -> int:
        """Side of the square images it takes, pixels."""

    @property
    def grey(self) -> bool:
        """Whether images are (N, size, size) instead of (N, size, size, 3)."""

    @property
    def fingerprint(self) -> str:
        """Equal for two encoders only if they give equal features."""

    def encode(self, images: np.ndarray, what: What = "mean") -> np.ndarray:
        """Encode uint8 images (N, size, size[, 3]) into float32 features.

        Parameters
        ----------
        images
            As `size` and `grey` say.
        what
            "mean": over patches, (N, D_v); "cls": the class token, (N, D_v); "patches": all of them, (N, P, D_v), row
            by row from the upper left.

        Raises
        ------
        InputError
            When the encoder has no class token or no patches, or the images do not fit it.
        """

    def save(self, folder: Path) -> None:
        """Write to a folder those weights that are kept nowhere else."""


@runtime_checkable
class ComputesAsTold(Protocol):
    """A vision encoder that can compute in numbers of half the length, or through another library than torch."""

    def computing(self, precision: Precision, runtime: Runtime = "torch") -> VisionEncoder:
        """Give the same encoder, weights shared, computing in this precision and through this library.

        One that computes in bfloat16 on a CPU, or through OpenVINO, has a fingerprint of its own, because its features
        differ by rounding.

        Raises
        ------
        InputError
            When OpenVINO is not installed, does not know this encoder, or the encoder is on a GPU.
        """


@runtime_checkable
class OnDevice(Protocol):
    """A vision encoder that may compute elsewhere than on the CPU."""

    @property
    def device(self) -> str:
        """Where it computes, as torch names it."""


def as_configured(encoder: VisionEncoder, vision: VisionConfig) -> VisionEncoder:
    """The encoder that looks by these settings; what is seen is kept under its fingerprint.

    Raises
    ------
    InputError
        When it cannot compute through `vision.runtime`.
    """
    if not isinstance(encoder, ComputesAsTold):
        return encoder
    return encoder.computing(vision.precision, vision.runtime)


def save_encoder(encoder: VisionEncoder, folder: str | Path) -> None:
    """Keep an encoder in a folder, as `encoder.json` beside the weights it alone has.

    A hub encoder is kept by its name and the fingerprint of its weights, which are not copied.

    Raises
    ------
    InputError
        When the folder cannot be written or its disk is full.
    """
    folder = Path(folder)
    encoder.save(folder)
    kept = {"kind": encoder.kind, "name": encoder.name, "fingerprint": encoder.fingerprint}
    with atomic_path(folder / _FILE) as path:
        path.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")


def load_encoder(folder_or_name: str | Path, device: str = "cpu") -> VisionEncoder:
    """Load an encoder kept by `save_encoder`, or one of the hub by its name, alias or local folder.

    Parameters
    ----------
    folder_or_name
        A folder that holds `encoder.json`, or whatever `HubEncoder` takes.
    device
        Where the encoder works, as torch names it. PCA always works on the CPU.

    Raises
    ------
    InputError
        When there is no such encoder, a kept one is damaged or its weights have changed since, or "pca" or "beast"
        is asked for, which are no encoders before they are fitted.
    """
    if str(folder_or_name) in ("pca", "beast"):
        raise InputError(
            f"The encoder {str(folder_or_name)!r} is fitted on a session's own crops and has no weights before; "
            "name the folder in which a fitted one was saved, or make one with PCAEncoder.fit or lookagain beast "
            "pretrain."
        )
    if not (Path(folder_or_name) / _FILE).is_file():
        from napari_lookagain.vision.hub import HubEncoder

        return HubEncoder(str(folder_or_name), device)
    return _load_kept(Path(folder_or_name), device)


def _load_kept(folder: Path, device: str) -> VisionEncoder:
    try:
        kept = json.loads((folder / _FILE).read_text(encoding="utf-8"))
        kind, name, fingerprint = kept["kind"], str(kept["name"]), kept["fingerprint"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder / _FILE} does not describe a vision encoder; save the model again.") from error
    encoder: VisionEncoder
    if kind == "pca":
        from napari_lookagain.vision.pca import PCAEncoder

        encoder = PCAEncoder.load(folder)
    elif kind == "beast":
        from napari_lookagain.vision.beast_encoder import BeastEncoder

        encoder = BeastEncoder.load(folder, device)
    elif kind == "hub":
        from napari_lookagain.vision.hub import HubEncoder

        encoder = HubEncoder(name, device)
    else:
        raise InputError(
            f"{folder / _FILE} names the kind {kind!r}, expected 'pca', 'beast' or 'hub'; update napari-lookagain."
        )
    if encoder.fingerprint != fingerprint:
        raise InputError(
            f"The vision encoder {name} no longer has the weights with which {folder} was saved; "
            "put the old weights back or train again with the new ones."
        )
    return encoder
