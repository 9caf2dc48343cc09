"""A package as an installer leaves it: a module, and the metadata that name its entry points."""

from pathlib import Path


def install(folder: Path, package: str, group: str, entries: dict[str, str], modules: dict[str, str]) -> Path:
    """Put it into a folder, which is for `sys.path` or PYTHONPATH.

    Args:
        entries: of the group: name and `module:object`.
        modules: texts by name.
    """
    about = folder / f"{package.replace('-', '_')}-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = [f"{name} = {value}" for name, value in entries.items()]
    (about / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines]) + "\n")
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text)
    return folder
