"""Where were these figures taken? The machine, the interpreter, the build of poolio, the versions of its peers."""

import importlib.metadata
import importlib.util
import os
import pathlib
import platform
import re
import shutil
import ssl
import subprocess
import sys
import sysconfig

import poolio
from benchmarks.places import IN_CLONE, ROOT
from poolio.memory.slab import BUILD_VARIANT

C_FLAGS = ("-O2",)  # of the programs in this folder
PEERS = (
    "uvloop", "rloop", "aiofastnet", "numpy", "blazio", "loopmini", "veloxloop", "zloop",
    "aiohttp", "httptools", "picows", "redis", "uvicorn", "websockets",
)
GOVERNOR = pathlib.Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
SETUP = ROOT / "setup.py"


def why_missing(modules: tuple[str, ...]) -> str | None:
    """None if all can be imported."""
    absent = [name for name in modules if importlib.util.find_spec(name) is None]
    return f"{', '.join(absent)} not installed" if absent else None


def cpu_model() -> str:
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")),
                platform.processor() or platform.machine())


def governor() -> str:
    try:
        return GOVERNOR.read_text().strip()
    except OSError:
        return "not visible"


def compiler_flags() -> str:
    """Those of setup.py for this variant, behind the interpreter's own; setup.py is read, not run."""
    own = re.search(rf'^    "{BUILD_VARIANT if BUILD_VARIANT != "portable" else "release"}": .*?(\["-.*?\])',
                    SETUP.read_text(), re.MULTILINE | re.DOTALL)
    given = (sysconfig.get_config_var("CFLAGS") or "").split()
    flags = [flag for flag in given if flag.startswith(("-O", "-m", "-fl"))]
    return " ".join([*dict.fromkeys(flags), *(re.findall(r'"(-[^"]+)"', own[1]) if own else [])])


def c_compiler() -> pathlib.Path | None:
    found = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    return pathlib.Path(found) if found else None


def first_line(*command: object) -> str:
    """The first line of what it prints; nothing if it can't be run or fails."""
    try:
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=ROOT)
    except OSError:
        return ""
    return done.stdout.partition("\n")[0] if done.returncode == 0 else ""


def source() -> str:
    """The commit, and whether anything differs from it."""
    if not IN_CLONE:        # it may lie in the repository of somebody else
        return "what came with the package"
    commit = first_line("git", "rev-parse", "--short", "HEAD")
    changed = first_line("git", "status", "--porcelain", "--untracked-files=no")
    return f"{commit}{', with changes' if changed else ''}" if commit else "not a git checkout"


def machine() -> dict[str, str]:
    return {
        "cpu": cpu_model(),
        "cores": f"{len(os.sched_getaffinity(0))} of {os.cpu_count()} allowed",
        "kernel": f"{platform.system()} {platform.release()}",
        "governor": governor(),
        "python": f"{platform.python_implementation()} {platform.python_version()}, {platform.python_compiler()}",
        "GIL": "on" if getattr(sys, "_is_gil_enabled", lambda: True)() else "off",
        "poolio's build": f"{BUILD_VARIANT}, {compiler_flags()}",
        "C programs": f"{first_line(c_compiler(), '--version') or 'no compiler'}, {' '.join(C_FLAGS)}",
    }


def versions() -> dict[str, str]:
    """The versions of what is measured; a peer that is not there is named, too."""
    found = {"poolio": poolio.__version__, "python": platform.python_version(), "OpenSSL": ssl.OPENSSL_VERSION}
    for name in PEERS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found
