"""Every place where a process of Jaga begins configures its logs before it does anything else."""

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("privacy", "edge", "aggregator", "simulations")
NOT_OURS = {
    "simulations/tether.py",  # becomes another program before it imports anything
    "simulations/benchmarks/peers/flower_peer.py",  # other projects' code, in an environment of its own
    "simulations/benchmarks/peers/pfl_peer.py",
}
FILES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
TREES = {str(path.relative_to(ROOT)): ast.parse(path.read_text("utf-8")) for path in FILES}
SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]


def is_main(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'"


def configures(statement: ast.stmt) -> ast.Call | None:
    call = statement.value if isinstance(statement, ast.Expr) else None
    return call if isinstance(call, ast.Call) and ast.unparse(call.func) == "configure_process" else None


def first(function: ast.FunctionDef) -> ast.stmt:
    """The first statement that does something."""
    body = [node for node in function.body if not isinstance(node, ast.Global)]
    documented = isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant)
    return body[1] if documented else body[0]


def function(file: str, name: str) -> ast.FunctionDef:
    return next(n for n in ast.walk(TREES[file]) if isinstance(n, ast.FunctionDef) and n.name == name)


def begins() -> dict[str, ast.stmt]:
    """The first statement of each process, by where it is."""
    found: dict[str, ast.stmt] = {}
    for script, target in SCRIPTS.items():
        module, name = target.split(":")
        found[script] = first(function(f"{module.replace('.', '/')}.py", name))
    for file, tree in TREES.items():
        if file in NOT_OURS:
            continue
        for node in tree.body:
            if is_main(node):
                body = node.body[0]
                commands = {f"{target.split(':')[0].replace('.', '/')}.py" for target in SCRIPTS.values()}
                found[file] = first(function(file, "main")) if file in commands else body
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func).split(".")[-1]
            given = {word.arg: ast.unparse(word.value) for word in node.keywords}
            if called == "Process" and "target" in given:
                found[f"{file}: {given['target']}"] = first(function(file, given["target"]))
            if called == "ProcessPoolExecutor":
                name = given.get("initializer") or (ast.unparse(node.args[2]) if len(node.args) > 2 else "")
                found[f"{file}: {name}"] = first(function(file, name))
            if called == "remote" and node.args and ast.unparse(node.func) == "ray.remote":
                name = ast.unparse(node.args[0])
                actor = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == name)
                found[f"{file}: {name}"] = first(next(n for n in actor.body if getattr(n, "name", "") == "__init__"))
    return found


BEGINS = begins()


def test_the_processes_that_are_known_are_found():
    assert {"jaga-node", "jaga-central", "jaga-sim"} <= BEGINS.keys()
    children = {f"edge/{name}/__main__.py" for name in ("learning", "sensing", "page", "room", "tracing")}
    assert children <= BEGINS.keys()
    assert {"edge/page/spending.py", "simulations/engine/processes.py: _serve"} <= BEGINS.keys()
    assert "simulations/engine/ray_workers.py: Actor" in BEGINS


@pytest.mark.parametrize("place", BEGINS)
def test_a_process_configures_its_logs_first(place):
    assert configures(BEGINS[place]) is not None, ast.unparse(BEGINS[place])


@pytest.mark.parametrize("place", [place for place in BEGINS if place.startswith(("edge", "jaga-node"))])
def test_a_process_of_a_node_prints_no_messages(place):
    call = configures(BEGINS[place])
    assert call is not None
    assert [word.arg for word in call.keywords] == []


def test_what_runs_before_the_first_statement_only_imports_and_defines():
    allowed = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign)
    for file in BEGINS:
        if file.startswith("edge/"):
            does = [n for n in TREES[file].body if not isinstance(n, allowed) and not is_main(n)]
            said = [ast.unparse(n) for n in does if not isinstance(getattr(n, "value", None), ast.Constant)]
            assert [line for line in said if line != "flower.quieten()"] == [], file


def test_every_module_that_is_started_as_a_process_has_such_a_place():
    for file, tree in TREES.items():
        for node in ast.walk(tree):
            words = [w.value if isinstance(w, ast.Constant) else None for w in getattr(node, "elts", [])]
            if "-m" not in words or not isinstance(words[words.index("-m") + 1], str):
                continue
            module = words[words.index("-m") + 1].replace(".", "/")
            if module.split("/")[0] in PACKAGES:
                assert {f"{module}.py", f"{module}/__main__.py"} & BEGINS.keys(), (file, module)
