"""The choices beside the button that runs gated segmentation; their defaults and hints are those of the core."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QFormLayout, QGridLayout, QLabel, QSpinBox, QWidget

from napari_lookagain.config import Config, Preset, Scope
from napari_lookagain.gui.fields import PercentField

ENCODERS = ("pca", "beast", "dinov2", "vit-mae", "clip", "videomae", "beit", "qwen3-vl")
_NARROW = 95
_DEVICES = ("auto", "cpu", "cuda", "mps")
_SCOPES: dict[str, Scope] = {"each window": "window", "the whole recording": "recording"}
_SCOPE_HINT = (
    "What the budget is a share of. Each window: every few seconds get their share of looks, as in the paper. "
    "The whole recording: quiet hours give their looks to busy minutes. Every animal keeps a budget of its own."
)
_DECODE_HINT = (
    "How much of the video may be decoded, where the budget is a share of the whole recording. Below 100 % looks go "
    "where most is gained for what has to be decoded: faster where decoding takes long, and blind in the rest."
)


class RunSettings(QWidget):
    """Budget and what it is a share of, clusters, encoder, preset and device."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        config = Config.preset()
        self.budget = PercentField("budget", config.look.budget, hint("look", "budget"))
        self.scope = _choice(tuple(_SCOPES), _SCOPE_HINT)
        self.scope.setAccessibleName("scope of the budget")
        self.decode = PercentField("share of the video to decode", config.look.decode, _DECODE_HINT, least=0.01)
        self.clusters = QSpinBox()
        self.clusters.setRange(2, 99)
        self.clusters.setValue(config.finetune.clusters)
        self.encoder = _choice(ENCODERS, hint("vision", "encoder"))
        self.encoder.setEditable(True)
        self.preset = _choice(("quick", "paper"), "quick: minutes on two cores; paper: the paper's values and forms")
        self.device = _choice(_DEVICES, "Where the model works: auto takes the best there is")
        self.clusters.setToolTip(hint("finetune", "clusters"))
        for wide in (self.clusters, self.encoder):  # wider than they need to be in napari's style
            wide.setMinimumWidth(_NARROW)
        self._sees = True
        self._eye_size: str = config.beast.size
        self._arrange()
        for signal in (
            self.budget.changed,
            self.scope.currentTextChanged,
            self.decode.changed,
            self.clusters.valueChanged,
            self.encoder.currentTextChanged,
            self.preset.currentTextChanged,
            self.device.currentTextChanged,
        ):
            signal.connect(lambda *_: self.changed.emit())
        self.scope.currentTextChanged.connect(self._limit_decoding)
        self.preset.currentTextChanged.connect(self._take_preset)

    def config(self) -> Config:
        """The settings of a run, as they are chosen."""
        changes: dict[str, dict[str, Any]] = {
            "look": {
                "budget": self.budget.value if self._sees else 0.0,
                **self.looking,
            },
            "finetune": {"clusters": self.clusters.value()},
            "vision": {"encoder": self.encoder.currentText().strip() or "pca"},
        }
        config = Config.preset(self.preset.currentText(), **changes)
        if self._eye_size == config.beast.size:
            return config
        return config.updated(beast={"size": self._eye_size})

    @property
    def looking(self) -> dict[str, Any]:
        """What the budget is a share of, and how much of the video may be decoded; `scope` and `decode` of a look."""
        scope = _SCOPES[self.scope.currentText()]
        return {"scope": scope, "decode": self.decode.value if scope == "recording" else 1.0}

    def take(self, config: Config, budget: float) -> None:
        """Show the settings that an earlier run was made with."""
        self.budget.set_value(budget)
        self.scope.setCurrentText(next(text for text, scope in _SCOPES.items() if scope == config.look.scope))
        self.decode.set_value(config.look.decode)
        self.clusters.setValue(config.finetune.clusters)
        self.encoder.setCurrentText(config.vision.encoder)
        if config.vision.encoder == "beast":
            self.set_eye_size(config.beast.size)

    def set_eye_size(self, size: str) -> None:
        """Let runs with the encoder "beast" have an eye of another size."""
        if size != self._eye_size:
            self._eye_size = size
            self.changed.emit()

    def allow_looks(self, sees: bool) -> None:
        """Without a video there is nothing to look at, whatever the budget."""
        self._sees = sees
        for control in (self.budget, self.scope, self.decode, self.encoder):
            control.setEnabled(sees)

    def _limit_decoding(self) -> None:
        """Only where looks may go anywhere can they keep to a part of the video."""
        self._form.setRowVisible(self.decode, self.looking["scope"] == "recording")

    def _take_preset(self, name: Preset) -> None:
        config = Config.preset(name)
        self.encoder.setCurrentText(config.vision.encoder)
        self.set_eye_size(config.beast.size)

    def _arrange(self) -> None:
        grid = QGridLayout()
        for i, (name, control) in enumerate(
            (
                ("Clusters", self.clusters),
                ("Encoder", self.encoder),
                ("Preset", self.preset),
                ("Device", self.device),
            )
        ):
            row, column = divmod(i, 2)
            label = QLabel(name)
            label.setBuddy(control)
            label.setToolTip(control.toolTip())
            grid.addWidget(label, row, 2 * column)
            grid.addWidget(control, row, 2 * column + 1)
        grid.setColumnStretch(1, 1)
        grid.setColumnStretch(3, 1)
        form = QFormLayout(self)
        form.setContentsMargins(0, 0, 0, 0)
        form.addRow("Budget", self.budget)
        form.addRow("Share of", self.scope)
        form.addRow("Decode at most", self.decode)
        form.addRow(grid)
        self._form = form
        self._limit_decoding()


def hint(section: str, key: str) -> str:
    """What the core says about a setting."""
    fields = type(getattr(Config(), section)).model_fields
    return " ".join((fields[key].description or "").removeprefix("◇ ").split())


def _choice(options: tuple[str, ...], hint: str) -> QComboBox:
    box = QComboBox()
    box.addItems(options)
    box.setToolTip(hint)
    return box
