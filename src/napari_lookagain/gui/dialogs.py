"""Questions that stop everything until they are answered: which file, which folder, whether to go on."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtWidgets import QFileDialog, QMessageBox, QWidget


def ask_folder(parent: QWidget, title: str, start: Path) -> Path | None:
    """Let the user choose a folder that is there."""
    chosen = QFileDialog.getExistingDirectory(parent, title, str(start))
    return Path(chosen) if chosen else None


def ask_file(parent: QWidget, title: str, start: Path, kinds: str) -> Path | None:
    """Let the user choose a file that is there; `kinds` as Qt takes them: "Videos (*.mp4 *.avi)"."""
    chosen, _ = QFileDialog.getOpenFileName(parent, title, str(start), f"{kinds};;All files (*)")
    return Path(chosen) if chosen else None


def ask_new_file(parent: QWidget, title: str, start: Path, kinds: str) -> Path | None:
    """Let the user name a file to write, and ask before one that is there would be written over."""
    dialog = QFileDialog(parent, title, str(start.parent), kinds)
    dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
    dialog.setDefaultSuffix(start.suffix)  # before the dialog looks whether the file is there
    dialog.selectFile(start.name)
    return Path(dialog.selectedFiles()[0]) if dialog.exec() else None


def confirm(parent: QWidget, question: str, yes: str, no: str) -> bool:
    """Ask a question that two buttons answer; no is what Escape means."""
    box = QMessageBox(QMessageBox.Icon.Question, "LookAgain", question, parent=parent)
    agreed = box.addButton(yes, QMessageBox.ButtonRole.AcceptRole)
    refused = box.addButton(no, QMessageBox.ButtonRole.RejectRole)
    box.setDefaultButton(refused)
    box.setEscapeButton(refused)
    box.exec()
    return box.clickedButton() is agreed
