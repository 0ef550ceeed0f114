"""LookAgain: keypoints on every frame, pixels on the few that a learnt gate asks for."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal, Self

from safetensors.torch import load_file, save
from torch import Tensor, nn

from napari_lookagain.config import Config
from napari_lookagain.errors import InputError
from napari_lookagain.files import atomic_path
from napari_lookagain.model.grounding import Gate, GateScore, HeldLooks, VisualContext, explore, select_frames
from napari_lookagain.model.heads import BehaviorHead, ClusterHead, KMeansHead
from napari_lookagain.model.layers import MLP
from napari_lookagain.model.motion import Motion, MotionEncoder

SCHEMA = 1
Kind = Literal["behavior", "cluster"]


@dataclass(frozen=True)
class ModelCard:
    """What a model was made for; a session that differs in it is refused.

    Parameters
    ----------
    keypoint_names
        J names, in the order of the descriptor.
    n_coords
        C, 2 or 3.
    n_features
        N, columns of the motion descriptor.
    n_neighbors
        Neighbors in the descriptor.
    visual_width
        D_v of the vision encoder.
    n_patches
        P, where patches are pooled by attention; 0 where the encoder gives one vector of an image.
    kind
        "behavior": the head was trained on scored frames; "cluster": it discovers.
    names
        K names of behaviors or clusters.
    """

    keypoint_names: tuple[str, ...]
    n_coords: int
    n_features: int
    n_neighbors: int
    visual_width: int
    kind: Kind
    names: tuple[str, ...]
    n_patches: int = 0

    @property
    def seen_width(self) -> int:
        """Numbers that are read of an image: D_v, or P · D_v."""
        return self.visual_width * max(1, self.n_patches)

    def check_keypoints(self, names: tuple[str, ...], n_coords: int, recording: str) -> None:
        """Refuse a recording with other keypoints.

        Raises
        ------
        InputError
            With both lists of names.
        """
        if (names, n_coords) != (self.keypoint_names, self.n_coords):
            raise InputError(
                f"{recording} has the keypoints {', '.join(names)} in {n_coords} coordinates, but the model knows "
                f"{', '.join(self.keypoint_names)} in {self.n_coords}; use a model trained on such recordings, or "
                "keypoints of the same names in the same order."
            )


@dataclass(frozen=True, slots=True)
class Output:
    """What the model says of a batch of windows.

    Parameters
    ----------
    motion, gate
        What every frame told.
    looked
        (B, A, T) bool: where the pixels were looked at.
    context
        v̄, what the looks tell of every frame, (B, A, T, D); v̂ of the nearest look where clusters are of k-means.
    head
        Logits (B, A, T, K) of behaviors, or features f (B, A, T, F) to be clustered.
    """

    motion: Motion
    gate: GateScore
    looked: Tensor
    context: Tensor
    head: Tensor


class LookAgain(nn.Module):
    """The whole model (figure 1); `forward` reads as the figure, and each of its steps can be called alone.

    Parameters
    ----------
    card
        What the model is made for.
    config
        Sizes and choices.
    """

    def __init__(self, card: ModelCard, config: Config | None = None) -> None:
        super().__init__()
        self.card, self.config = card, config or Config()
        sizes, look, tuned = self.config.motion, self.config.look, self.config.finetune
        n_keypoints, dropout, reads = len(card.keypoint_names), tuned.dropout, tuned.reads
        pose_width = n_keypoints * card.n_coords
        self.motion_encoder = MotionEncoder(card.n_features, pose_width, n_keypoints, sizes)
        self.predict_keypoints = nn.Linear(sizes.width, pose_width)
        self.predict_vision = nn.ModuleList(
            MLP(sizes.width, card.visual_width, hidden=sizes.width) for _ in self.config.pretrain.horizons
        )
        self.gate = Gate(sizes.width, look.terms)
        self.visual_context: VisualContext | HeldLooks
        self.head: BehaviorHead | ClusterHead | KMeansHead
        if card.kind == "cluster" and tuned.discover == "kmeans":
            self.visual_context = HeldLooks(card.visual_width)
            width = sizes.latent_width if tuned.cluster_reads == "tokens" else card.n_features
            self.head = KMeansHead(
                width, card.visual_width, len(card.names), tuned.cluster_reach, tuned.cluster_reads, reads
            )
            return
        self.visual_context = VisualContext(
            card.visual_width,
            sizes.width,
            sizes.heads,
            sizes.window,
            look,
            dropout,
            attends=card.n_patches > 0,
            weighs=reads == "both" or look.select in ("spread", "topk"),
        )
        if card.kind == "behavior":
            hidden = tuned.motion_dropout if look.budget else 0.0  # without looks there is nothing else
            self.head = BehaviorHead(sizes.width, len(card.names), dropout, hidden, reads)
        else:
            self.head = ClusterHead(sizes.width, sizes.latent_width, len(card.names), reads)

    def forward(
        self,
        motion: Tensor,
        valid: Tensor,
        visual_features: Tensor,
        budget: float | None = None,
        progress: float = 1.0,
    ) -> Output:
        """Keypoints → motion → gate → looks → context → head.

        Parameters
        ----------
        motion
            m, (B, A, T, N).
        valid
            (B, A, T) bool; False at padding.
        visual_features
            v_raw, (B, A, T, D_v), or patches (B, A, T, P · D_v); read only where the gate looks.
        budget
            Share of valid frames to look at; by default the configured one.
        progress
            Share of the training that is done, for the noise of Eq. 16.
        """
        budget = self.config.look.budget if budget is None else budget
        encoded = self.motion_encoder(motion, valid)
        gate = self.gate(encoded)  # (B, A, T)
        looked = self.choose(gate, valid, budget, progress)  # (B, A, T)
        context = self.visual_context(visual_features, gate.score, looked, valid)  # (B, A, T, D)
        return Output(encoded, gate, looked, context, self.head(self.head.read(encoded), context))

    def choose(self, gate: GateScore, valid: Tensor, budget: float, progress: float = 1.0) -> Tensor:
        """Eq. 16: the frames to look at, (B, A, T) bool; noise in training only."""
        noise = self.config.look.noise if self.training else "none"
        return select_frames(explore(gate.logit, noise, progress), valid, budget, self.config.look.select)

    @property
    def learns_motion(self) -> bool:
        """Whether the motion encoder learns in fine-tuning.

        It does where nothing else teaches it, and with a behavior head if asked to (`finetune.learn_motion`); the paper
        freezes it. A cluster head would move the very tokens that it clusters, and k-means teaches nothing.
        """
        asked = self.card.kind == "behavior" and self.config.finetune.learn_motion
        return asked or (self.config.pretrain.epochs == 0 and not isinstance(self.head, KMeansHead))

    def finetuned_parameters(self) -> list[nn.Parameter]:
        """What fine-tuning learns: gate, visual context and head, and the motion encoder where it is not frozen."""
        parts: list[nn.Module] = [self.gate, self.visual_context, self.head]
        if self.learns_motion:
            parts.append(self.motion_encoder)
        return [p for part in parts for p in part.parameters()]

    def fingerprint(self) -> str:
        """Tell this model from another by its weights and choices, for what is kept of its work."""
        return fingerprint(self, str(self.config))

    def save(self, folder: str | Path) -> None:
        """Keep the model in a folder; see `save_model`."""
        told = {"schema": SCHEMA, "card": asdict(self.card), "config": self.config.model_dump()}
        save_model(self, told, Path(folder))

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read a model folder.

        Raises
        ------
        InputError
            When the folder holds no model, a damaged one, or one written by a newer version.
        """
        folder = Path(folder)
        told = _read_json(folder / "config.json")
        if "card" not in told and (folder / "encoder.json").exists():
            raise InputError(f"{folder} holds an eye, not a model; name it with --encoder when a model is trained.")
        if told.get("kind") == "actions":
            raise InputError(f"{folder} holds action segmentation heads, not this model; apply them with predict.")
        schema = told.get("schema")
        if isinstance(schema, int) and schema > SCHEMA:
            raise InputError(
                f"{folder} was written by a newer version (schema {schema}, this one reads up to {SCHEMA}); "
                "update napari-lookagain."
            )
        try:
            card: dict[str, Any] = {
                name: tuple(value) if isinstance(value, list) else value for name, value in told["card"].items()
            }
            model = cls(ModelCard(**card), Config.parse(told["config"]))
            model.load_state_dict(load_file(folder / "weights.safetensors"))
        except InputError:
            raise
        except Exception as error:  # safetensors, torch and json each raise their own
            reason = str(error).splitlines()[0]
            raise InputError(f"The model in {folder} is damaged ({reason}); train it again or copy it anew.") from error
        return model.eval()


def fingerprint(model: nn.Module, told: str) -> str:
    """Tell a model from another by all its weights and by what is `told` of it."""
    digest = blake2b(told.encode(), digest_size=16)
    for value in model.state_dict().values():
        digest.update(value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def save_model(model: nn.Module, told: dict[str, Any], folder: Path) -> None:
    """Write what is told of a model, ``config.json``, and then ``weights.safetensors``: with weights it is whole."""
    with atomic_path(folder / "config.json") as path:
        path.write_text(json.dumps(told, indent=2), encoding="utf-8")
    with atomic_path(folder / "weights.safetensors") as path:
        path.write_bytes(save({name: value.contiguous() for name, value in model.state_dict().items()}))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(
            f"{path.parent} is not a model folder: it has no {path.name}; name the folder that training wrote."
        ) from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}); train the model again or copy it anew.") from error
    if not isinstance(told, dict):
        raise InputError(f"{path} is not a model's configuration; name the folder that training wrote.")
    return told
