"""Computed once, stored with its identity, resumed, audited.

An experiment is a module of this folder, or of ``recorded``, that defines ``PLUGIN``: its subclass
of `signseg_utils.experiments.base.Experiment`. Put there, it has its command (``signseg experiment
NAME``), and what ships of it is audited.
"""

from pathlib import Path


def modules() -> dict[str, str]:
    """Name of each experiment to the full name of its module; nothing of them is imported."""
    root = Path(__file__).parent
    files = [*root.glob("*.py"), *root.glob("recorded/*.py"), *root.glob("*/__init__.py")]
    plugins = [file for file in files if "\nPLUGIN = " in file.read_text(encoding="utf-8")]
    parts = [file.relative_to(root).with_suffix("").parts for file in plugins]
    inner = sorted(part[:-1] if part[-1] == "__init__" else part for part in parts)
    return {part[-1]: ".".join((__name__, *part)) for part in sorted(inner, key=lambda p: p[-1])}


def about(module: str) -> str:
    """First line of the docstring of an experiment's module."""
    path = Path(__file__).parent.joinpath(*module.removeprefix(f"{__name__}.").split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return file.read_text(encoding="utf-8").splitlines()[0].strip('"')
