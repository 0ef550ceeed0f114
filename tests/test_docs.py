"""What the documentation shows is there: settings, commands, options, imports, files, links; and its example runs."""

from __future__ import annotations

import ast
import json
import re
import shlex
from collections.abc import Iterator
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

import napari_lookagain.config
from napari_lookagain.cli import app
from napari_lookagain.config import Config
from napari_lookagain.formats.labels import read_labels

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "napari_lookagain"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
EVERYWHERE = {"--device", "--seed", "--json"}  # options of every command

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def every_command(group: Any, *before: str) -> Iterator[tuple[str, Any]]:
    """Words and command of all there are; a group stands for its own commands."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from every_command(command, *before, name)
        else:
            yield " ".join((*before, name)), command


COMMANDS = dict(every_command(get_command(app)))


def text_of(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def blocks(page: Path, language: str) -> list[str]:
    """Fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def shown_commands(page: Path) -> Iterator[list[str]]:
    """Words of every command after a prompt."""
    for line in chain.from_iterable(block.splitlines() for block in blocks(page, "console")):
        assert line.startswith("$ "), f"a console block of {page.name} holds {line!r}"
        yield shlex.split(line[2:], comments=True)


def command_in(words: list[str]) -> tuple[str, list[str]]:
    """The command that is typed, of one word or two, and the words after it."""
    n = 2 if " ".join(words[:2]) in COMMANDS else 1
    return " ".join(words[:n]), words[n:]


def options_of(command: str) -> set[str]:
    return {name for parameter in COMMANDS[command].params for name in parameter.opts if name.startswith("--")}


def settings_rows() -> Iterator[tuple[str, str, dict[str, str]]]:
    """Section, key and cells of every row of the tables in settings.md."""
    for section, table in re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", text_of("settings.md"), re.DOTALL | re.MULTILINE):
        for key, row in re.findall(r"^\| `(\w+)` \|(.*)\|$", table, re.MULTILINE):
            cells = [cell.strip().strip("`") for cell in row.split("|")]
            assert len(cells) == 5, f"{section}.{key} has {len(cells)} cells besides its key"
            yield section, key, dict(zip(("default", "quick", "paper", "ours", "meaning"), cells, strict=True))


def value_of(cell: str) -> Any:
    """A cell as --set reads it."""
    try:
        return json.loads(cell)
    except ValueError:
        return cell


def test_every_setting_is_in_the_table_with_its_values():
    shown: dict[str, dict[str, dict[str, Any]]] = {"default": {}, "quick": {}, "paper": {}}
    for section, key, cells in settings_rows():
        for name, settings in shown.items():
            settings.setdefault(section, {})[key] = value_of(cells[name] or cells["default"])
    presets = {"quick": Config.preset("quick"), "paper": Config.preset("paper")}
    for name, config in {"default": Config(), **presets}.items():
        assert shown[name] == config.model_dump(mode="json"), name


def test_the_preset_for_many_labels_is_shown_as_it_is():
    listed = re.search(r"\| setting \| `labels` \|\n\|[-|]+\|\n(.*?)\n\n", text_of("settings.md"), re.DOTALL)
    assert listed
    config = Config.preset("quick")
    for section, key, value in re.findall(r"^\| `(\w+)\.(\w+)` \| `(.*?)` \|$", listed[1], re.M):
        config = config.updated(**{section: {key: value_of(value)}})
    assert config == Config.preset("labels")


def test_choices_of_ours_are_marked():
    marked = {(section, key) for section, key, cells in settings_rows() if cells["ours"] == "◇"}
    named = dict(re.findall(r"^    (\w+): (\w+) = \2\(\)$", source := Path(config_file()).read_text("utf-8"), re.M))
    sections = {type_name: section for section, type_name in named.items()}
    for node in ast.parse(source).body:
        if not isinstance(node, ast.ClassDef) or node.name not in sections:
            continue
        for field, words in zip(node.body, node.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(words, ast.Expr):
                ours = ast.literal_eval(words.value).startswith("◇")
                assert ((sections[node.name], field.target.id) in marked) == ours, ast.unparse(field)


def config_file() -> str:
    assert napari_lookagain.config.__file__
    return napari_lookagain.config.__file__


@every_page
def test_commands_shown_would_be_accepted(page):
    for program, *arguments in shown_commands(page):
        if program == "make":
            makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
            assert all(re.search(rf"^{target}:", makefile, re.M) for target in arguments if "=" not in target)
        if program == "lookagain":
            name, rest = command_in(arguments)
            told = COMMANDS[name].make_context(name, rest).params
            config = Config.preset(told.get("preset") or "quick")
            for setting in told.get("settings") or []:
                place, _, value = setting.partition("=")
                section, _, key = place.partition(".")
                config.updated(**{section: {key: value_of(value)}})


@every_page
def test_commands_and_options_named_exist(page):
    text = page.read_text(encoding="utf-8")
    words = re.findall(r"`lookagain (\w+)", text)
    assert set(words) <= {command.split()[0] for command in COMMANDS}, page.name
    named = set(re.findall(r"(?<![\w-])--[a-z]+(?:-[a-z]+)*", text))
    there = set().union(*map(options_of, COMMANDS)) | {"--help"} | {"--num", "--cpu"}  # the last two are accelerate's
    assert named <= there, page.name


def test_the_architecture_lists_every_command_with_its_options():
    listing = re.search(r"```text\n(lookagain demo.*?)```", text_of("architecture.md"), re.DOTALL)
    assert listing
    listed = {}
    for usage in re.split(r"^lookagain ", listing[1], flags=re.M)[1:]:
        listed[command_in(usage.split())[0]] = set(re.findall(r"--[a-z]+(?:-[a-z]+)*", usage)) | EVERYWHERE
    assert listed == {name: options_of(name) for name in COMMANDS}


def test_the_architecture_lists_every_file():
    layout = re.search(r"## Layout\n\n```text\n(.*?)```", text_of("architecture.md"), re.DOTALL)
    assert layout
    top = [path for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()]
    missing = [path.name for path in top if not re.search(rf"(?<![\w.]){re.escape(path.name)}\b", layout[1])]
    inside = [path for folder in top if folder.is_dir() for path in folder.glob("*.py") if path.stem != "__init__"]
    missing += [f"{path.parent.name}/{path.name}" for path in inside if not re.search(rf"\b{path.stem}\b", layout[1])]
    assert missing == []
    named = re.findall(r"\b(\w+\.py)\b", layout[1])
    known = {path.name for folder in (PACKAGE, ROOT / "tests") for path in folder.rglob("*.py")}
    assert set(named) <= known


@every_page
def test_python_shown_can_be_imported(page):
    for block in blocks(page, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("napari_lookagain"):
                for name in node.names:
                    module = import_module(node.module)
                    assert hasattr(module, name.name) or import_module(f"{node.module}.{name.name}")


def test_the_example_of_the_library_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code = "\n".join(blocks(ROOT / "docs" / "api.md", "python"))
    exec(compile(code, "api.md", "exec"), {"__name__": "api"})
    printed = capsys.readouterr().out
    assert printed.startswith("256 ('mouse1', 'mouse2') ('tailbase', 'nose')")
    assert (tmp_path / "mice.lookagain" / "runs" / "clusters" / "ethogram.npz").is_file()


def test_label_files_shown_are_read_as_said(tmp_path):
    sections = re.findall(r"^### `(\w+)`\n.*?^```text\n(.*?)^```$", text_of("formats.md"), re.DOTALL | re.MULTILINE)
    assert [format for format, _ in sections] == ["bouts", "frames", "onehot", "boris"]
    counts = {}
    for format, table in sections:
        path = tmp_path / f"{format}.csv"
        path.write_text(table, encoding="utf-8")
        animals = ("mouse1",) if format == "onehot" else ("mouse1", "mouse2")
        n_frames = 3 if format in ("frames", "onehot") else 100
        read = [read_labels(path, n_frames=n_frames, animals=animals, fps=25, format=f) for f in (None, format)]
        assert read[0] == read[1], "the header tells the format"
        counts[format] = [(bout.behavior, bout.start, bout.stop) for bout in read[0]]
    assert counts == {
        "bouts": [("walk", 0, 38), ("groom", 38, 86), ("rest", 10, 60)],
        "frames": [("walk", 0, 2), ("groom", 2, 3), ("rest", 1, 3)],
        "onehot": [("walk", 0, 1), ("groom", 1, 2)],
        "boris": [("walk", 0, 38), ("groom", 50, 51)],
    }


@every_page
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    inside = [link.partition("#")[0] for link in links if "://" not in link]
    assert [link for link in inside if link and not (page.parent / link).exists()] == []
