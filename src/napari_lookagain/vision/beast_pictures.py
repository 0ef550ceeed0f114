"""What a BEAST model paints where it was shown nothing."""

from __future__ import annotations

import numpy as np
import torch

from napari_lookagain.vision.beast import Beast, unpatchify

_GREY = 128  # of a patch that is hidden
_AT_ONCE = 16  # images in one forward pass


def reconstructions(beast: Beast, images: np.ndarray, seed: int = 0) -> np.ndarray:
    """Hide most patches of images and let the decoder paint all of them, hidden or not.

    Parameters
    ----------
    beast
        The whole model; works where it is.
    images
        (N, S, S[, 3]) uint8.
    seed
        Of what is hidden: the same of the i-th image whatever the images show.

    Returns
    -------
    np.ndarray
        (N, 3, S, S[, 3]) uint8: the image, what the encoder got of it (hidden patches grey), what the decoder painted.
    """
    shape, device = beast.shape, beast.mean.device
    out = np.empty((len(images), 3, *images.shape[1:]), np.uint8)
    out[:, 0] = images
    order = torch.rand(len(images), shape.n_patches, generator=torch.Generator().manual_seed(seed))
    n = shape.image_size // shape.patch_size
    beast.eval()
    for start in range(0, len(images), _AT_ONCE):
        some = slice(start, start + _AT_ONCE)
        pixels = beast.normalized(torch.from_numpy(np.ascontiguousarray(images[some])).to(device))  # (n, C, S, S)
        with torch.inference_mode():
            seen = beast.vit_mae.vit(pixels, noise=order[some].to(device))
            patches = beast.vit_mae.decoder(seen.last_hidden_state, seen.ids_restore).logits  # (n, P, p² · C)
            painted = unpatchify(patches, shape.patch_size) * beast.std + beast.mean
        hidden = seen.mask.bool().view(-1, n, n).cpu().numpy()
        hidden = hidden.repeat(shape.patch_size, axis=1).repeat(shape.patch_size, axis=2)  # (n, S, S)
        out[some, 1] = images[some]
        out[some, 1][hidden] = _GREY
        levels = (255 * painted).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()  # (n, S, S, C)
        out[some, 2] = levels[..., 0] if shape.channels == 1 else levels
    return out
