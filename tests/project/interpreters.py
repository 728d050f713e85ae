"""Which interpreters that poolio promises are on this machine? `make wheel` makes a wheel for each: one a version.

Looked for are the one that asks, python3.N on PATH, and those of pyenv. One counts if it can make environments, has
headers to build extensions with, and is not free-threaded: those get no wheel.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PROMISED = "Programming Language :: Python :: 3."
USABLE = """
import ensurepip, os, sys, sysconfig, venv
headers = os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h"))
right = "3.%d" % sys.version_info[1] == sys.argv[1] and not sysconfig.get_config_var("Py_GIL_DISABLED")
sys.exit(not (headers and right))
"""


def promised():
    """["3.11", ...]: the versions that pyproject.toml names."""
    lines = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    minors = (line.removeprefix(PROMISED) for line in lines if line.startswith(PROMISED))
    return [f"3.{minor}" for minor in minors]


def is_usable(path, version):
    try:
        return subprocess.run([path, "-c", USABLE, version], capture_output=True).returncode == 0
    except OSError:
        return False


def candidates(version):
    yield sys._base_executable      # of the environment that this runs in, or itself
    on_path = shutil.which(f"python{version}")
    if on_path:
        yield on_path
    pyenv = pathlib.Path(os.environ.get("PYENV_ROOT", pathlib.Path.home() / ".pyenv"))
    yield from sorted(map(str, pyenv.glob(f"versions/{version}.*/bin/python{version}")))


def find(versions=None):
    """{version: its interpreter, or None if there is none}."""
    return {version: next((path for path in candidates(version) if is_usable(path, version)), None)
            for version in versions or promised()}
