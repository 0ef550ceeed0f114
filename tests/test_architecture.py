"""Who may import whom, how large things may get, and that nothing a user opens can run code: read from the source."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path

import pytest

import napari_lookagain

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "napari_lookagain"
SOURCES = sorted(PACKAGE.rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))

GUI = ("napari", "qtpy", "PyQt5", "PyQt6", "PySide2", "PySide6", "magicgui", "superqt", "pyqtgraph", "vispy")
TORCH = ("torch", "accelerate", "vector_quantize_pytorch")
TORCH_HOMES = (
    "model/",
    "vision/",
    "actions/",
    "allocation.py",
    "baselines/",
    "batches.py",
    "checkpoint.py",
    "device.py",
    "eyes/",
    "motion_pass.py",
    "train.py",
    "training_loop.py",
    "predict.py",
    "runs.py",
)
TORCH_FREE = ("session.py", "annotations.py", "ethogram.py", "video.py", "simulate", "formats/")
HOMES = {"movement": ("formats/",), "sleap_io": ("formats/",), "pynwb": ("formats/",), "matplotlib": ("pictures/",)}
MODEL_KNOWS_NOT = ("session", "annotations", "ethogram", "video", "formats", "train", "predict", "simulate")
CODE_RUNNERS = ("pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal")
DANGEROUS = ("eval", "exec", "yaml.load", "yaml.full_load", "yaml.unsafe_load", "pandas.read_pickle", "os.system")
SAFE_WITH = {"numpy.load": ("allow_pickle", False), "torch.load": ("weights_only", True)}
SHAPELESS_NAMES = {"utils", "util", "common", "helpers", "helper", "base", "registry", "misc"}

Function = ast.FunctionDef | ast.AsyncFunctionDef
every_source = pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
every_file = pytest.mark.parametrize("path", SOURCES + TESTS, ids=lambda path: path.relative_to(ROOT).as_posix())


@dataclass(frozen=True)
class Import:
    """One imported name, with its full dotted path; `lazy` when it only happens inside a function."""

    name: str
    alias: str
    lazy: bool

    def reaches(self, *modules: str) -> bool:
        return any(self.name == module or self.name.startswith(module + ".") for module in modules)


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(tree: ast.AST, package: str, lazy: bool = False) -> Iterator[Import]:
    """Every import below `tree`, relative ones resolved against `package`; type-checking ones count as lazy."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield Import(name.name, name.asname or name.name.partition(".")[0], lazy)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*parents, *filter(None, [node.module])])
            for name in node.names:
                yield Import(f"{module}.{name.name}", name.asname or name.name, lazy)
        else:
            inside = isinstance(node, Function | ast.Lambda)
            typing = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
            yield from imports(node, package, lazy or inside or typing)


def imports_of(path: Path) -> list[Import]:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return list(imports(parsed(path), ".".join(parts[:-1])))


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Every call of a plain dotted name, aliases of imports resolved: `np.load` is `numpy.load`."""
    known = {found.alias: found.name for found in imports(tree, "") if found.alias != found.name.partition(".")[0]}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and re.fullmatch(r"[\w.]+", name := ast.unparse(node.func)):
            first, dot, rest = name.partition(".")
            yield known.get(first, first) + dot + rest, node


def unsafe_calls(tree: ast.AST) -> list[str]:
    """Calls that may run code found in a file, with their lines."""
    found = []
    for name, call in calls(tree):
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        keyword, value = SAFE_WITH.get(name, ("trust_remote_code", False))
        loose = name in SAFE_WITH and given.get(keyword) != str(value)
        trusting = given.get("trust_remote_code", "False") != "False" or given.get("shell", "False") != "False"
        if name in DANGEROUS or loose or trusting or given.get("allow_pickle") == "True":
            found.append(f"line {call.lineno}: {ast.unparse(call)}")
    return found


def undocumented(tree: ast.Module) -> list[str]:
    """Public functions, classes and methods without a docstring; setters share that of their property."""
    found = []
    for node in tree.body:
        if not isinstance(node, Function | ast.ClassDef) or node.name.startswith("_"):
            continue
        found += [node.name] if ast.get_docstring(node) is None else []
        for child in node.body if isinstance(node, ast.ClassDef) else []:
            if not isinstance(child, Function) or child.name.startswith("_") or ast.get_docstring(child):
                continue
            if not any(ast.unparse(mark).endswith((".setter", "overload")) for mark in child.decorator_list):
                found.append(f"{node.name}.{child.name}")
    return found


def place(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


@every_source
def test_core_knows_no_gui(path):
    found = [found for found in imports_of(path) if found.reaches(*GUI, "napari_lookagain.gui")]
    if not place(path).startswith("gui/"):  # the command line opens the GUI, but only when it is asked to
        assert [gui.name for gui in found if not (gui.lazy and place(path).startswith("cli/"))] == []


@every_source
def test_nothing_imports_the_command_line(path):
    if not place(path).startswith("cli/"):
        assert [found.name for found in imports_of(path) if found.reaches("napari_lookagain.cli")] == []


@every_source
def test_torch_stays_where_it_is_needed(path):
    found = [found for found in imports_of(path) if found.reaches(*TORCH, "transformers")]
    if place(path).startswith(TORCH_FREE):
        assert [torch.name for torch in found] == []
    if not place(path).startswith(TORCH_HOMES):
        assert [torch.name for torch in found if not torch.lazy] == []


@every_source
def test_libraries_with_one_home(path):
    for library, homes in HOMES.items():
        if not place(path).startswith(homes):
            assert [found.name for found in imports_of(path) if found.reaches(library)] == []


@pytest.mark.parametrize("path", sorted((PACKAGE / "model").rglob("*.py")), ids=lambda path: path.name)
def test_model_knows_tensors_only(path):
    forbidden = [f"napari_lookagain.{module}" for module in MODEL_KNOWS_NOT]
    assert [found.name for found in imports_of(path) if found.reaches(*forbidden)] == []


@every_source
def test_opening_a_file_runs_no_code(path):
    assert unsafe_calls(parsed(path)) == []
    assert [found.name for found in imports_of(path) if found.reaches(*CODE_RUNNERS)] == []


@every_file
def test_files_and_functions_are_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400
    functions = [node for node in ast.walk(parsed(path)) if isinstance(node, Function)]
    lengths = {node.name: node.end_lineno - node.lineno + 1 for node in functions}
    assert {name: length for name, length in lengths.items() if length > 60} == {}


@every_file
def test_names_say_what_is_inside(path):
    assert path.stem.removeprefix("test_") not in SHAPELESS_NAMES


@every_source
def test_public_names_have_docstrings(path):
    assert not parsed(path).body or ast.get_docstring(parsed(path)), "the module itself has none"
    assert undocumented(parsed(path)) == []


@pytest.mark.parametrize(
    "source",
    [
        "import numpy as np\nnp.load(path)",
        "import numpy as np\nnp.load(path, allow_pickle=True)",
        "from numpy import load\nload(path)",
        "import torch\ntorch.load(path, weights_only=False)",
        "import yaml\nyaml.load(text, Loader)",
        "import pandas as pd\npd.read_pickle(path)",
        "AutoModel.from_pretrained(name, trust_remote_code=True)",
        "subprocess.run(command, shell=True)",
        "eval(text)",
    ],
)
def test_unsafe_calls_are_seen(source):
    assert len(unsafe_calls(ast.parse(source))) == 1


def test_safe_calls_pass():
    source = "import numpy as np, torch\nnp.load(p, allow_pickle=False)\ntorch.load(p, weights_only=True)\nmodel.eval()"
    assert unsafe_calls(ast.parse(source)) == []


def test_imports_are_seen_wherever_they_hide():
    source = "import a.b\nfrom ..c import d\nfrom . import e\ndef f():\n    import g\nif TYPE_CHECKING:\n    import h"
    found = [(found.name, found.lazy) for found in imports(ast.parse(source), "top.sub")]
    assert found == [("a.b", False), ("top.c.d", False), ("top.sub.e", False), ("g", True), ("h", True)]


def test_missing_docstrings_are_seen():
    source = 'def a(): ...\nclass B:\n    """B."""\n    def c(self): ...\n    def _d(self): ...\ndef _e(): ...'
    assert undocumented(ast.parse(source)) == ["a", "B.c"]


def test_importing_the_package_is_cheap():
    heavy = ("torch", "transformers", "qtpy", "napari", "matplotlib", "movement", "pandas", "av", "h5py", "sklearn")
    code = f"import sys, napari_lookagain; print([name for name in {heavy} if name in sys.modules])"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"


def test_every_public_name_is_there_to_import():
    assert (
        napari_lookagain.__version__
        == tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    )
    for name in napari_lookagain.__all__:
        assert getattr(napari_lookagain, name).__doc__ or name == "__version__"
        assert name in dir(napari_lookagain)
    with pytest.raises(AttributeError, match="no attribute 'Sesion'"):
        _ = napari_lookagain.Sesion


def test_a_function_is_not_hidden_by_its_module():
    code = (
        "from napari_lookagain.predict import predict\nimport napari_lookagain\n"
        "assert napari_lookagain.predict is predict\nassert callable(napari_lookagain.simulate)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_constraints_pin_what_the_project_asks_for():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [re.fullmatch(r"([A-Za-z0-9._-]+)==[0-9][0-9a-z.]*", line) for line in lines if not line.startswith("#")]
    assert all(pins), "a line is more than a name and a plain version"
    pinned = {re.sub(r"[-_.]+", "-", pin[1]).lower() for pin in pins}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [*project["dependencies"], *chain.from_iterable(project["optional-dependencies"].values())]
    assert {re.split(r"[\[<>=~ ]", requirement)[0].lower() for requirement in asked} <= pinned
    assert pinned.isdisjoint({"torchvision", "torchcodec", "timm", "napari-lookagain"})
