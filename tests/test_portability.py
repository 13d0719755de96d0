"""No call that one system alone has: read from the code, for macOS and Windows are not at hand."""

import ast
import functools
import importlib.util
import pathlib

import pytest

SYSTEMS = ("linux", "darwin", "win32")


def holds(condition, system):
    """Evaluates a condition of typeshed's on `sys.platform`; one of any other kind holds."""
    if isinstance(condition, ast.BoolOp):
        parts = [holds(part, system) for part in condition.values]
        return all(parts) if isinstance(condition.op, ast.And) else any(parts)
    if isinstance(condition, ast.Compare) and ast.unparse(condition.left) == "sys.platform":
        equal = condition.comparators[0].value == system
        return equal if isinstance(condition.ops[0], ast.Eq) else not equal
    return True


def defined(body, system):
    """Yields the names that statements of a stub define on a system."""
    for node in body:
        if isinstance(node, ast.If):
            taken = node.body if holds(node.test, system) else node.orelse
            yield from defined(taken, system)
        elif isinstance(node, ast.Assign):
            yield from (each.id for each in node.targets if isinstance(each, ast.Name))
        elif isinstance(node, ast.AnnAssign):
            yield node.target.id
        elif isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
            if isinstance(node, ast.ClassDef) and node.name == "Signals":
                yield from defined(node.body, system)  # `signal` has its members too.
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name for alias in node.names)


@functools.cache
def lacking(module):
    """Returns the names of a module of Python's that some of the systems lack: what mypy knows."""
    stubs = pathlib.Path(importlib.util.find_spec("mypy").origin).parent / "typeshed" / "stdlib"
    for path in (stubs / f"{module}.pyi", stubs / module / "__init__.pyi"):
        if path.is_file():
            body = ast.parse(path.read_text(encoding="utf-8")).body
            everywhere, *others = ({*defined(body, system)} for system in SYSTEMS)
            return set.union(everywhere, *others) - set.intersection(everywhere, *others)
    return set()


# Windows opens no such file twice, and renames nothing to a name that is taken.
OTHERWISE_ON_WINDOWS = {("tempfile", "NamedTemporaryFile"), ("os", "rename")}


def unguarded(code):
    """Returns the uses ("os.fork") of what some systems lack, but those that `hasattr` guards."""
    tree = ast.parse(code)
    used, guarded = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            used.add((node.value.id, node.attr))
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            used |= {(node.module, alias.name) for alias in node.names}
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("hasattr", "getattr"):
            place, name = node.args[:2]
            if isinstance(place, ast.Name) and isinstance(name, ast.Constant):
                guarded.add((place.id, name.value))
    faults = {(module, name) for module, name in used - guarded if name in lacking(module)}
    return {".".join(fault) for fault in faults | (used & OTHERWISE_ON_WINDOWS)}


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("import os\nos.pwrite(1, b'', 0)", {"os.pwrite"}),
        ("import os\nif hasattr(os, 'pwrite'):\n    os.pwrite(1, b'', 0)", set()),
        (
            "import signal\nsignal.SIGKILL, signal.SIGTERM, signal.pthread_kill",
            {"signal.SIGKILL", "signal.pthread_kill"},
        ),
        ("import signal\ngetattr(signal, 'SIGKILL', None)", set()),
        ("from fcntl import flock", {"fcntl.flock"}),
        ("import os, tempfile\nos.rename('a', 'b'), tempfile.mkstemp()", {"os.rename"}),
        (
            "import msvcrt, resource\nmsvcrt.getch(), resource.getrusage(0)",
            {"msvcrt.getch", "resource.getrusage"},
        ),
        (
            "import os, socket\nos.sched_getaffinity(0), socket.AF_UNIX",
            {"os.sched_getaffinity", "socket.AF_UNIX"},
        ),
        ("import os\nos.getpid(), os.replace('a', 'b'), os.O_RDONLY", set()),
    ],
)
def test_what_one_system_alone_has_is_found(code, found):
    assert unguarded(code) == found


def test_what_one_system_alone_has_is_called_in_one_place(repository):
    found = {}
    for path in (repository / "tf_deconv").rglob("*.py"):
        uses = unguarded(path.read_text(encoding="utf-8"))
        if uses:
            found[path.relative_to(repository / "tf_deconv").as_posix()] = sorted(uses)
    # There each system has its own way, and one that knows none has no locks.
    assert found.pop("utils/locks.py")
    assert found == {}
