"""Imports run one way and libraries stay where they belong, read from the syntax tree."""

import ast
import subprocess
import sys

import pytest

import attn
import attn.names
from attn.tests.conftest import ROOT

PROGRAMS = ("train.py", "eval.py", "scripts/", "attn/data/__main__.py", "attn/modules/__main__.py")
RUNS_AS_FILES = ("runs.files", "runs.folder", "runs.environment", "runs.whole")
# The rooms of attn, and what of attn each may import at the top of a file: itself is understood.
ROOMS = {
    "__init__": (),
    "errors": (),
    "names": (),
    "stats": (),
    "formats": (),
    "draws": ("compute.kernels",),
    "config": ("errors", "names"),
    "compute": ("errors", "config.schema"),
    "data": ("errors", "names", "draws"),
    "backbones": ("network.seams",),
    "modules": ("errors", "network.seams", "network.scores"),
    "network": ("errors", "names", "draws", "config", "backbones", "modules"),
    "evaluation": ("config.schema", "names", "compute", "draws", "data", "network"),
    "runs": (
        *("errors", "names", "config", "compute", "data", "network", "modules", "evaluation"),
    ),
    "training": (
        *("errors", "names", "draws", "config", "compute", "data", "network", "evaluation"),
        "runs",
    ),
    # Finished runs as files: neither torch nor a network. The evidence knows nothing of its looks.
    "evidence": ("errors", "names", "stats", "config", *RUNS_AS_FILES),
    "report": ("errors", "names", "stats", "formats", "config", "evidence", *RUNS_AS_FILES),
}
# What a room may import within a function besides: a check builds the network that it is asked of.
LATER = {
    "__init__": ("config", "network"),
    "config": ("backbones", "modules", "network"),
}
# Who may import a library, by the beginnings of paths from the root.
LIBRARIES = {
    "hydra": ("train.py", "eval.py", "attn/config/"),
    "omegaconf": ("attn/config/",),
    "matplotlib": ("attn/report/figures/",),
    "torch": (
        *("attn/draws.py", "attn/config/", "attn/compute/", "attn/data/", "attn/backbones/"),
        *("attn/modules/", "attn/network/", "attn/evaluation/", "attn/runs/", "attn/training/"),
        "scripts/",
    ),
    "tensorboard": ("attn/runs/log.py",),
    "torch.utils.tensorboard": ("attn/runs/log.py",),
}
# What programs import before they know what they are asked: nothing that takes a second.
LIGHT = ("attn.config", "attn.errors", "attn.names", "attn.training.cells", "attn.training.workers")


def parsed():
    """(path from the root, syntax tree) of every file but the tests."""
    for pattern in ("*.py", "scripts/*.py", "attn/**/*.py"):
        for path in ROOT.glob(pattern):
            name = path.relative_to(ROOT).as_posix()
            if not name.startswith("attn/tests/"):
                yield name, ast.parse(path.read_text())


def imported(nodes):
    """What some syntax nodes import, by its whole name."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def within(name, allowed):
    return any(name == a or name.startswith(f"{a}.") for a in allowed)


def room_of(name):
    return name.removeprefix("attn/").partition("/")[0].removesuffix(".py")


def upward(name, tree):
    """What a file of attn imports and its room may not."""
    first = (room_of(name), *ROOMS[room_of(name)])
    later = (*first, *LATER.get(room_of(name), ()))
    return [
        used
        for nodes, allowed in ((tree.body, first), (ast.walk(tree), later))
        for used in imported(nodes)
        if within(used, ["train", "eval", "scripts"])
        or (within(used, ["attn"]) and not within(used.removeprefix("attn."), allowed))
    ]


def test_every_file_is_in_a_room_that_is_listed():
    for name, _ in parsed():
        assert name.startswith(PROGRAMS) or room_of(name) in ROOMS, name
    there = {path.stem for path in (ROOT / "attn").iterdir() if path.suffix in ("", ".py")}
    assert there - {"tests", "__pycache__"} == set(ROOMS)


def test_imports_run_one_way():
    wrong = {name: upward(name, tree) for name, tree in parsed() if not name.startswith(PROGRAMS)}
    assert not {name: imports for name, imports in wrong.items() if imports}


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("attn/training/trainer.py", "from attn.report import tables"),
        ("attn/runs/files.py", "from attn.training.session import train"),
        ("attn/stats.py", "def f():\n    import attn.errors"),
        ("attn/data/noise.py", "from attn import config"),
        ("attn/report/page.py", "import train"),
        ("attn/evidence/scores.py", "from attn.report.columns import to_baseline"),
    ],
)
def test_an_upward_import_is_noticed(name, line):
    assert upward(name, ast.parse(line))


def test_libraries_stay_where_they_belong():
    wrong = [
        (name, module)
        for name, tree in parsed()
        for module in imported(ast.walk(tree))
        for library, homes in LIBRARIES.items()
        if within(module, [library]) and not name.startswith(homes)
    ]
    assert not wrong


def test_the_programs_import_nothing_heavy_before_main():
    light = ("hydra", "omegaconf", "yaml", *LIGHT, *sys.stdlib_module_names)
    for name, tree in parsed():
        module = name.removesuffix(".py").replace("/", ".")
        if name in ("train.py", "eval.py") or within(module, LIGHT):
            assert all(within(used, light) for used in imported(tree.body)), name


def test_importing_the_package_is_instant_and_its_face_is_whole():
    code = "import attn, sys; assert 'torch' not in sys.modules\n"
    code += "assert all(getattr(attn, name) for name in attn.__all__)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
    with pytest.raises(AttributeError, match="attn has no train; it has BACKBONES, "):
        attn.train  # noqa: B018


def test_the_report_needs_no_torch():
    code = "import attn.report.report, attn.report.network, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_the_colours_of_mechanisms_are_in_a_fixed_order():
    assert tuple(attn.MECHANISMS) == attn.names.MECHANISMS
