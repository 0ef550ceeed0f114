"""Eq. 2–6: the motion encoder, which reads keypoints on every frame."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from vector_quantize_pytorch import ResidualVQ

from napari_lookagain.config import MotionConfig
from napari_lookagain.model.layers import MLP, TemporalConv, Transformer

MIN_SCALE = 0.02  # a column that hardly varies, such as a confidence near 1, is not blown up to unit variance


@dataclass(frozen=True, slots=True)
class Motion:
    """What the motion encoder says of a batch of windows.

    Parameters
    ----------
    latent
        z_e, (B, A, T, D_z): the encoder's output before quantization.
    tokens
        z_q, (B, A, T, D_z): sum of the codes of all levels; its gradient goes straight through to `latent`.
    codes
        (B, A, T, levels) int: which code of every level; −1 at padded frames.
    embedding
        ê, (B, A, T, D), in which the animal knows of the others.
    reliability
        c_t, (B, A, T): mean keypoint confidence.
    descriptor
        m, standardized, (B, A, T, N): what was encoded.
    """

    latent: Tensor
    tokens: Tensor
    codes: Tensor
    embedding: Tensor
    reliability: Tensor
    descriptor: Tensor


class MotionEncoder(nn.Module):
    """Keypoints of a window to motion tokens and motion embeddings (Eq. 2–6, figure 1A).

    Every column of the descriptor is standardized with the training windows' own mean and deviation; the paper does not
    state this.

    Parameters
    ----------
    n_features
        N, columns of the motion descriptor.
    pose_width
        How many of them, from the first, are coordinates of keypoints.
    n_keypoints
        J; the J columns after the coordinates are confidences.
    config
        Sizes.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, n_features: int, pose_width: int, n_keypoints: int, config: MotionConfig) -> None:
        super().__init__()
        self.pose_width, self.n_keypoints = pose_width, n_keypoints
        latent, width = config.latent_width, config.width
        self.register_buffer("mean", torch.zeros(n_features))
        self.register_buffer("scale", torch.ones(n_features))
        self.mask_token = nn.Parameter(torch.zeros(n_features))
        self.encode_conv = TemporalConv(n_features, latent, latent, last=False)
        self.encode_attention = Transformer(latent, config.heads, 1, config.dropout)
        self.quantizer = ResidualVQ(
            dim=latent,
            num_quantizers=config.levels,
            codebook_size=config.codes,
            decay=0.95,  # the paper does not state it; short trainings need codebooks that follow
            kmeans_init=True,
            threshold_ema_dead_code=1,
        )
        self.decode_attention = Transformer(latent, config.heads, 1, config.dropout)
        self.decode_conv = TemporalConv(latent, n_features, latent, last=True)
        self.project = nn.Linear(latent, width)
        self.position = nn.Parameter(torch.randn(config.window, width) * 0.02)
        self.temporal = Transformer(width, config.heads, config.layers, config.dropout)
        self.social = Transformer(width, config.heads, config.social_layers, config.dropout)
        self.social_mlp = MLP(2 * width, width)

    def fit_scale(self, motion: Tensor) -> None:
        """Take mean and deviation of every column from `motion` (M, N), the valid frames to be trained on."""
        self.mean.copy_(motion.mean(0))
        self.scale.copy_(motion.std(0, correction=0).clamp_min(MIN_SCALE))

    def standardize(self, motion: Tensor) -> Tensor:
        """The descriptor as the encoder sees it and as the losses compare it."""
        return (motion - self.mean) / self.scale

    def confidence(self, motion: Tensor) -> Tensor:
        """The confidence columns of a descriptor, (..., J); 0 where a keypoint is missing."""
        return motion[..., self.pose_width : self.pose_width + self.n_keypoints]

    def jitter(self, motion: Tensor, deviation: float, hidden: float = 0.0) -> Tensor:
        """A descriptor with noise of this deviation on its standardized columns, and a share of them hidden.

        What is hidden is at its mean in all of a window, drawn for every animal. Confidence stays as it is.
        """
        sure = slice(self.pose_width, self.pose_width + self.n_keypoints)
        noise = deviation * self.scale * torch.randn_like(motion)
        noise[..., sure] = 0
        if not hidden:
            return motion + noise
        hide = torch.rand_like(motion[:, :, :1]) < hidden  # (B, A, 1, N)
        hide[..., sure] = False
        return torch.where(hide, self.mean, motion + noise)

    def forward(self, motion: Tensor, valid: Tensor, hidden: Tensor | None = None) -> Motion:
        """Encode a batch of windows.

        Parameters
        ----------
        motion
            m, (B, A, T, N).
        valid
            (B, A, T) bool; padded frames and padded animals are False.
        hidden
            (B, A, T) bool: frames replaced by the learnt mask token (Eq. 8).
        """
        confidence = self.confidence(motion)
        x = self.standardize(motion)
        if hidden is not None:
            x = torch.where(hidden.unsqueeze(-1), self.mask_token, x)
        latent = self.encode(x, valid)  # (B, A, T, D_z)
        tokens, codes = self.quantize(latent, valid)  # (B, A, T, D_z), (B, A, T, levels)
        embedding = self.embed(tokens, valid)  # (B, A, T, D)
        if motion.shape[1] > 1:
            present = valid & (confidence > 0).any(-1)
            company = valid.any(-1).sum(1) > 1  # (B,): who is alone stays so in a batch padded for others
            embedding = torch.where(company.view(-1, 1, 1, 1), self.socialize(embedding, present), embedding)
        return Motion(latent, tokens, codes, embedding, confidence.mean(-1), x)

    def encode(self, x: Tensor, valid: Tensor) -> Tensor:
        """Eq. 2: ``z_e = f_enc(m)``."""
        batch, animals, frames, _ = x.shape
        each = valid.flatten(0, 1)  # (B·A, T)
        z = self.encode_attention(self.encode_conv(x.flatten(0, 1), each), each)  # (B·A, T, D_z)
        return z.view(batch, animals, frames, -1)

    def quantize(self, latent: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Eq. 3: residual vector quantization of the valid frames alone, so that padding never moves a codebook.

        Codebooks start, by k-means, at the first batch in training mode. Before that there are no tokens, only zeros.
        """
        tokens = torch.zeros_like(latent)
        codes = torch.full((*valid.shape, self.quantizer.num_quantizers), -1, device=latent.device)
        # The library would start its codebooks, zeros before, in eval mode as well.
        started = self.training or bool(self.quantizer.codebooks.any())
        if started and valid.any():
            packed = latent[valid]  # (M, D_z)
            nearest, packed_codes, _ = self.quantizer(packed.detach().unsqueeze(0))  # (1, M, D_z), (1, M, levels)
            # The library would turn the gradient (its rotation trick) and count it once for every level.
            tokens[valid] = nearest.squeeze(0) + (packed - packed.detach())
            codes[valid] = packed_codes.squeeze(0)
        return tokens, codes

    def decode(self, tokens: Tensor, valid: Tensor) -> Tensor:
        """``f_dec(z_q)``: the standardized descriptor from tokens (Eq. 10); mirrors the encoder."""
        batch, animals, frames, _ = tokens.shape
        each = valid.flatten(0, 1)
        x = self.decode_conv(self.decode_attention(tokens.flatten(0, 1), each), each)  # (B·A, T, N)
        return x.view(batch, animals, frames, -1)

    def embed(self, tokens: Tensor, valid: Tensor) -> Tensor:
        """Eq. 4: ``e = f_temp(Proj(z_q) + p)``."""
        batch, animals, frames, _ = tokens.shape
        x = self.project(tokens) + self.position[:frames]  # (B, A, T, D)
        return self.temporal(x.flatten(0, 1), valid.flatten(0, 1)).view(batch, animals, frames, -1)

    def socialize(self, embedding: Tensor, present: Tensor) -> Tensor:
        """Eq. 5–6: attend across the animals present at a frame, ``ê = e + MLP([e ‖ S_t])``."""
        batch, animals, frames, width = embedding.shape
        stack = embedding.transpose(1, 2).reshape(batch * frames, animals, width)  # (B·T, A, D)
        social = self.social(stack, present.transpose(1, 2).reshape(batch * frames, animals))
        social = social.view(batch, frames, animals, width).transpose(1, 2)  # (B, A, T, D)
        return embedding + self.social_mlp(torch.cat([embedding, social], -1))
