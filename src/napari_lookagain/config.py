"""Every choice a user can make, in one place, with the presets.

Fields marked ◇ settle what the paper leaves open; their default is the better one of those measured
(`docs/results.md`), and the paper's own form is one of the other values.
"""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from napari_lookagain.errors import InputError
from napari_lookagain.settings import Section, Settings

Budget = Field(0.25, ge=0, le=1)
Preset = Literal["quick", "labels", "paper"]
Scope = Literal["window", "recording"]


class FeatureConfig(Section):
    """Eq. 1: what the motion encoder reads at every frame."""

    frame: Literal["egocentric", "arena"] = "egocentric"
    """◇ Frame of reference of the keypoints; "arena" is the paper's, divided by (W, H)."""
    confidence_threshold: float = Field(0.25, ge=0, le=1)
    """Keypoints below this confidence count as missing (appendix B of the paper)."""
    pace_window: float = Field(0.4, ge=0)
    """◇ Seconds over which the mean speed of every keypoint is told; 0 leaves it out, as the paper does."""
    keypoint_velocity: bool = False
    """◇ Tell also how every keypoint moves about the animal's center; not in the paper."""


class MotionConfig(Section):
    """Eq. 2–6: sizes of the motion encoder."""

    latent_width: int = Field(128, ge=1)
    codes: int = Field(512, ge=2)
    levels: int = Field(2, ge=1)
    width: int = Field(256, ge=8)
    heads: int = Field(8, ge=1)
    layers: int = Field(4, ge=1)
    social_layers: int = Field(2, ge=1)
    window: int = Field(128, ge=2)
    """Frames in a window; positions are learnt for this many."""
    dropout: float = Field(0.1, ge=0, lt=1)

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.width % self.heads or self.latent_width % self.heads:
            raise ValueError(f"width {self.width} and latent_width {self.latent_width} must be multiples of heads")
        return self


class LookConfig(Section):
    """Eq. 13–17: when to look, and what a frame not looked at inherits."""

    budget: float = Budget
    """Share of the valid frames of a window to look at."""
    select: Literal["spread", "topk", "grid", "random"] = "spread"
    """◇ How looks are chosen: by the gate with diminishing returns, the paper's top-k, a regular grid or at random."""
    scope: Scope = "window"
    """◇ What a prediction allots its budget over: every window alone, as in the paper, or the whole recording, so that
    quiet hours give their looks to busy minutes. Training is per window always; the paper does not state another."""
    decode: float = Field(1.0, gt=0, le=1)
    """◇ With the scope "recording": at most this share of the video is decoded, and looks go to where most is gained
    for what has to be decoded. Not in the paper; at 1 there is no limit."""
    fill: Literal["hold", "zero"] = "hold"
    """◇ A frame not looked at holds the nearest look, or is zero as in the paper."""
    noise: Literal["annealed", "paper", "none"] = "annealed"
    """◇ Exploration in training: on the gate's logit and annealed, as in Eq. 16 (σ = 1 on the score), or none."""
    vary_budget: float = Field(0.7, ge=0, le=1)
    """◇ Share of training batches whose budget is drawn, one in ten as 0 and the others log-uniformly from 0.02 to 1,
    so that one model serves all budgets; 0 in the paper."""
    terms: tuple[Literal["reliability", "saliency", "semantics"], ...] = ("reliability", "saliency", "semantics")
    """What the gate reads (Eq. 14); leave one out for the paper's ablation."""
    layers: int = Field(2, ge=1)

    def asked(self, scope: Scope | None = None, decode: float | None = None) -> Self:
        """These settings for a prediction, with what it is given in their place.

        Raises
        ------
        InputError
            When decoding is limited, but every window has a budget of its own.
        """
        given = {name: value for name, value in (("scope", scope), ("decode", decode)) if value is not None}
        look = self.parse({**self.model_dump(), **given})
        if look.decode < 1 and look.scope == "window":
            raise InputError(
                f"At most a share of {look.decode:g} of the video is to be decoded, but every window is to have looks "
                "of its own; allot them over the recording (--scope recording), or set no limit (--decode 1)."
            )
        return look


class VisionConfig(Section):
    """Eq. 7: which eye, and what it is shown."""

    encoder: str = "pca"
    """"pca", "beast", an alias or a name on a hub, or a folder with weights."""
    crop: Literal["turned", "plain", "frame"] = "turned"
    """◇ A crop turned to the animal's heading, an upright crop, or the whole frame."""
    crop_scale: float = Field(4.0, gt=0)
    """◇ Side of the crop in body lengths (at least 64 px): room for company, or more of the animal."""
    components: int = Field(64, ge=1)
    """Width of the "pca" encoder."""
    pooling: Literal["mean", "attention"] = "mean"
    """How the patches of an image become one vector: their mean, or by attention as in BEAST, learnt with the head."""
    keep: bool = True
    """Keep what was seen in the session's folder; otherwise it is looked at anew whenever it is read."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Numbers a vision transformer computes in on a CPU; "auto": bfloat16 where the CPU multiplies it, else float32."""
    runtime: Literal["torch", "openvino"] = "torch"
    """What runs a vision transformer: "openvino" (an extra of the package) encodes 1.6 times as many images on a CPU
    (`docs/results.md`). What was seen through it is kept apart: features differ in the third digit."""


class BeastConfig(Section):
    """The second paper: how the "beast" encoder is pretrained on the lab's own video."""

    size: Literal["tiny", "small", "base"] = "base"
    """◇ "base" is the paper's ViT-B/16 at 224 pixels; "tiny" takes grey images of 48 pixels, for a CPU."""
    start: str = "auto"
    """"scratch", a ViT-MAE of the hub, or a folder: such a model, a BEAST checkpoint, or an eye made here. "auto" is
    the paper's facebook/vit-mae-base for "base", and "scratch" for the other sizes, of which there is none."""
    select: Literal["energy", "random"] = "energy"
    """Which frames to learn from: those that move, as different as can be (appendix B.2), or any."""
    anchors: int = Field(600, ge=2)
    """Frames (with crops: animals at a frame) chosen of every recording, each with its two neighbors in time; the
    paper takes 600 of each of many, and a single one can give more."""
    mask_ratio: float = Field(0.75, gt=0, lt=1)
    """Share of the patches hidden from the encoder."""
    reconstruct_weight: float = Field(1.0, ge=0)
    """Of the reconstruction; 0 is the paper's ViT-C."""
    contrast_weight: float = Field(0.01, ge=0)
    """λ, of the contrast of times; 0 is the paper's ViT-M, which learns from the anchors alone."""
    temperature: float = Field(0.1, gt=0)
    """◇ Of the contrast; the paper states none."""
    epochs: int = Field(800, ge=1)
    batch: int = Field(2048, ge=4)
    """Images of one update, of all devices together; half of them are anchors."""
    at_once: int = Field(128, ge=4)
    """Images a device takes at a time, which are also each other's negatives; the gradients of more are added up."""
    learning_rate: float = Field(5e-5, gt=0)
    """For 256 images; the highest of the one cycle is this times `batch` / 256."""
    weight_decay: float = Field(0.05, ge=0)
    warmup_share: float = Field(0.15, gt=0, lt=1)
    """Share of the updates in which the learning rate rises."""
    warmup_factor: float = Field(10.0, ge=1)
    """How much below the highest learning rate the first one is."""
    crop_area: tuple[float, float] = (0.2, 1.0)
    """Share of an image that a random crop of it shows, drawn for every image of a pair on its own."""
    flip: float = Field(0.5, ge=0, le=1)
    """Share of images mirrored left to right."""

    @property
    def weights(self) -> str:
        """What `start` comes to."""
        ours = "facebook/vit-mae-base" if self.size == "base" else "scratch"
        return ours if self.start == "auto" else self.start

    @model_validator(mode="after")
    def _something_to_learn(self) -> Self:
        if self.reconstruct_weight == self.contrast_weight == 0:
            raise ValueError("with reconstruct_weight and contrast_weight both 0 there is nothing to learn")
        if not 0 < self.crop_area[0] <= self.crop_area[1] <= 1:
            raise ValueError(f"crop_area {self.crop_area} must go from the smallest share to the largest, at most 1")
        return self


class PretrainConfig(Section):
    """Eq. 8–12."""

    epochs: int = Field(300, ge=0)
    """With 0 there is no pretraining, and the motion encoder learns in fine-tuning (the paper's ablation)."""
    learning_rate: float = Field(1e-4, gt=0)
    final_learning_rate: float = Field(1e-5, ge=0)
    batch: int = Field(16, ge=1)
    stride: int = Field(64, ge=1)
    """Frames from the start of a window to that of the next; at most a window."""
    mask_share: float = Field(0.15, gt=0, lt=1)
    """◇ Share of frames hidden, in spans of `mask_span` frames."""
    mask_span: tuple[int, int] = (4, 16)
    horizons: tuple[int, ...] = (4, 8, 16)
    horizon_weights: tuple[float, ...] = (1.0, 0.7, 0.4)
    mask_weight: float = Field(1.0, ge=0)
    """Of Eq. 8; with 0 no frame is hidden."""
    pred_weight: float = Field(0.5, ge=0)
    rvq_weight: float = Field(0.1, ge=0)
    recon_weight: float = Field(0.1, ge=0)
    """◇ Of Eq. 10; the paper's 0.1 leaves little of fast movements in the tokens of a short pretraining."""
    commitment: float = Field(0.25, ge=0)
    patience: int = Field(50, ge=1)
    """Epochs without a better validation loss before training stops."""

    @model_validator(mode="after")
    def _lists_fit(self) -> Self:
        if len(self.horizons) != len(self.horizon_weights) or min(self.horizons, default=1) < 1:
            raise ValueError("horizons must be frames ahead, 1 or more, with one of horizon_weights each")
        if not 1 <= self.mask_span[0] <= self.mask_span[1]:
            raise ValueError(f"mask_span {self.mask_span} must go from the shortest span to the longest, 1 or more")
        if self.epochs and not any((self.mask_weight, self.pred_weight, self.rvq_weight, self.recon_weight)):
            raise ValueError("with every weight 0 there is nothing to learn; set epochs to 0 for no pretraining")
        return self


class FinetuneConfig(Section):
    """Eq. 18–25."""

    epochs: int = Field(50, ge=1)
    learning_rate: float = Field(5e-5, gt=0)
    final_learning_rate: float = Field(1e-5, ge=0)
    batch: int = Field(16, ge=1)
    patience: int = Field(20, ge=1)
    """Epochs without a better validation loss before training stops."""
    clusters: int = Field(8, ge=2)
    """How many clusters to discover."""
    discover: Literal["dec", "kmeans"] = "dec"
    """◇ How: "dec" is the paper's deep embedded clustering (Eq. 20–25); "kmeans" takes the centers of k-means on what
    is read of the motion beside what was seen, and trains nothing but the gate."""
    cluster_reads: Literal["tokens", "keypoints"] = "tokens"
    """◇ What "kmeans" reads of the motion: tokens, or the descriptor of Eq. 1 itself, which needs no pretraining."""
    cluster_reach: int = Field(6, ge=0)
    """◇ Frames to either side of a frame that "kmeans" averages it all over; about half a second together."""
    reads: Literal["both", "video"] = "both"
    """What the head reads: the motion embedding and what was seen, or only what was seen (the paper's ablation)."""
    learn_motion: bool = False
    """◇ Let the motion encoder learn on with a behavior head; the paper freezes it. Unpretrained, it always learns."""
    noise: float = Field(0.0, ge=0)
    """◇ Deviation of the noise on standardized keypoints while the motion encoder learns on; not in the paper."""
    column_dropout: float = Field(0.0, ge=0, lt=1)
    """◇ Share of the columns of the descriptor that are hidden in a window while the motion encoder learns on, so that
    it leans on none that only this animal has; not in the paper."""
    tv_weight: float = Field(0.1, ge=0)
    dropout: float = Field(0.1, ge=0, lt=1)
    motion_dropout: float = Field(0.5, ge=0, lt=1)
    """◇ Share of windows whose motion embedding the behavior head does not get, so that it learns to read the looks;
    0 in the paper, and where the budget is 0."""
    correct_prior: bool = True
    """◇ Undo the class weights of the loss in the probabilities; False in the paper."""
    smoothing_window: float = Field(0.0, ge=0)
    """◇ Seconds over which a prediction averages the probabilities of behaviors, so that the ethogram flickers less;
    keep it below the shortest bout that matters. The paper does not state any smoothing."""


class TrainingConfig(Section):
    """What both stages of training share."""

    seed: int = Field(0, ge=0)
    validation_share: float = Field(0.15, ge=0, lt=1)
    """Share of windows held out to report on, and to choose the best epoch by."""
    choose_from: int = Field(20, ge=1)
    """◇ Fewest held-out windows that the best epoch is chosen by; a handful would choose by chance, and then the last
    epoch is kept and the held-out windows only report."""
    max_windows: int = Field(2000, ge=1)
    """Longer recordings are trained on this many windows: evenly spread ones, and for pretraining the liveliest."""
    weight_decay: float = Field(0.01, ge=0)
    gradient_clip: float = Field(1.0, gt=0)


class Config(Settings):
    """All settings of a run; saved with it and with every model.

    `Config.preset("quick")` trains in minutes on two cores with the better choices; `Config.preset("labels")` learns
    behaviors from many labels alone, without pretraining; `Config.preset("paper")` has the papers' values and forms
    throughout.
    """

    features: FeatureConfig = FeatureConfig()
    motion: MotionConfig = MotionConfig()
    look: LookConfig = LookConfig()
    vision: VisionConfig = VisionConfig()
    beast: BeastConfig = BeastConfig()
    pretrain: PretrainConfig = PretrainConfig()
    finetune: FinetuneConfig = FinetuneConfig()
    training: TrainingConfig = TrainingConfig()

    @model_validator(mode="after")
    def _something_to_read(self) -> Self:
        if self.finetune.reads == "video" and self.look.budget == 0:
            raise ValueError('with look.budget 0 nothing is seen, so finetune.reads cannot be "video"')
        return self

    @classmethod
    def preset(cls, name: Preset = "quick", **changes: Any) -> Self:
        """A named set of choices, with changes such as ``look={"budget": 0.1}`` on top.

        Raises
        ------
        InputError
            When the preset or a key is unknown, or a value is out of its bounds.
        """
        if name not in _PRESETS:
            raise InputError(f"There is no preset {name!r}; choose one of {', '.join(_PRESETS)}.")
        return cls.parse(_PRESETS[name]).updated(**changes)


_QUICK: dict[str, dict[str, Any]] = {
    "motion": {"width": 128, "heads": 4, "layers": 2},
    "vision": {"crop_scale": 2.0},
    "beast": {
        "size": "tiny",
        "epochs": 60,
        "batch": 32,
        "at_once": 32,
        "learning_rate": 1.2e-2,
        "crop_area": (0.5, 1.0),
    },
    "pretrain": {
        "epochs": 80,
        "patience": 30,
        "recon_weight": 1.0,
        "learning_rate": 1e-3,
        "final_learning_rate": 1e-5,
        "batch": 4,
    },
    "finetune": {
        "epochs": 60,
        "learning_rate": 1e-3,
        "final_learning_rate": 1e-5,
        "batch": 4,
        "patience": 60,
        "learn_motion": True,
        "discover": "kmeans",
    },
    "training": {"max_windows": 200},
}
_MANY_LABELS: dict[str, dict[str, Any]] = {  # noise and dropout, or recordings would be learnt by heart
    "features": {"keypoint_velocity": True},
    "motion": {"dropout": 0.2},
    "pretrain": {"epochs": 0},
    "finetune": {
        "epochs": 10,
        "batch": 8,
        "dropout": 0.3,
        "noise": 0.2,
        "column_dropout": 0.25,
        "smoothing_window": 0.75,
    },
    "training": {"max_windows": 2000},
}
_PRESETS: dict[str, dict[str, Any]] = {
    "quick": _QUICK,
    "labels": {name: _QUICK.get(name, {}) | _MANY_LABELS.get(name, {}) for name in Config.model_fields},
    "paper": {
        "features": {"frame": "arena", "pace_window": 0.0},
        "look": {"select": "topk", "fill": "zero", "noise": "paper", "vary_budget": 0.0},
        "vision": {"encoder": "qwen3-vl", "crop": "plain"},
        "finetune": {"motion_dropout": 0.0, "correct_prior": False},
    },
}
