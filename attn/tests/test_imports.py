"""Imports run one way and libraries stay where they belong, read from the syntax tree."""

import ast
import sys

from attn.tests.conftest import ROOT

FILES = [
    path for pattern in ("*.py", "scripts/*.py", "attn/**/*.py") for path in ROOT.glob(pattern)
]

# Who may import a library, by the beginnings of paths from the root.
LIBRARIES = {
    "hydra": ("train.py", "eval.py", "scripts/status.py", "attn/config.py", "attn/cells.py"),
    "omegaconf": ("attn/config.py", "attn/cells.py"),
    "matplotlib": ("attn/report/",),
    "tensorboard": ("attn/logs.py",),
    "torch.utils.tensorboard": ("attn/logs.py",),
}
# What a part may import of attn; parts that are not named may import any.
PARTS = {
    "attn/modules/": ("attn.modules", "attn.seams", "attn.scores"),
    "attn/backbones/": ("attn.backbones", "attn.seams"),
    "attn/seams.py": (),
    "attn/scores.py": (),
    "attn/draws.py": ("attn.kernels",),
    "attn/kernels/": ("attn.kernels",),
    "attn/place.py": ("attn.modules", "attn.seams"),
    "attn/data/": ("attn.data", "attn.draws", "attn.errors", "attn.kernels"),
}


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} has a relative import"
            yield node.module


def within(name, allowed):
    return any(name == a or name.startswith(f"{a}.") for a in allowed)


def code():
    for path in FILES:
        name = path.relative_to(ROOT).as_posix()
        if not name.startswith("attn/tests/"):
            yield name, list(imported(path))


def test_libraries_stay_where_they_belong():
    wrong = [
        (name, module)
        for name, modules in code()
        for module in modules
        for library, homes in LIBRARIES.items()
        if within(module, [library]) and not name.startswith(homes)
    ]
    assert not wrong


def test_imports_run_one_way():
    wrong = [
        (name, module)
        for name, modules in code()
        for module in modules
        for part, allowed in PARTS.items()
        if name != "attn/modules/__main__.py"  # a program
        and name.startswith(part)
        and within(module, ["attn"])
        and not within(module, allowed)
    ]
    wrong += [
        (name, module)
        for name, modules in code()
        for module in modules
        if name.startswith("attn/") and within(module, ["train", "eval", "scripts"])
    ]
    assert not wrong


def test_the_programs_import_nothing_heavy_before_main():
    light = ("hydra", "omegaconf", "yaml", *(f"attn.{name}" for name in LIGHT))
    for program in ("train.py", "eval.py", *(f"attn/{name}.py" for name in LIGHT)):
        tree = ast.parse((ROOT / program).read_text())
        for node in tree.body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module]
            for name in names:
                assert (
                    within(name, light)
                    or name.split(".")[0] in sys.stdlib_module_names
                    or name == "attn"
                ), name


LIGHT = ("catalogue", "checks", "command", "config", "schema", "errors", "labels", "workers")
