"""Where were these figures taken? The machine, the interpreter, the build of poolio, the versions of its peers."""

import importlib.metadata
import importlib.util
import os
import pathlib
import platform
import re
import ssl
import sys
import sysconfig

import poolio
from poolio.slab import BUILD_VARIANT

PEERS = ("uvloop", "rloop", "aiofastnet", "numpy")
GOVERNOR = pathlib.Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
SETUP = pathlib.Path(__file__).parent.parent / "setup.py"


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


def machine() -> dict[str, str]:
    return {
        "cpu": cpu_model(),
        "cores": f"{len(os.sched_getaffinity(0))} of {os.cpu_count()} allowed",
        "kernel": f"{platform.system()} {platform.release()}",
        "governor": governor(),
        "python": f"{platform.python_implementation()} {platform.python_version()}, {platform.python_compiler()}",
        "GIL": "on" if getattr(sys, "_is_gil_enabled", lambda: True)() else "off",
        "poolio's build": f"{BUILD_VARIANT}, {compiler_flags()}",
    }


def versions() -> dict[str, str]:
    """Of what is measured; those that are not there are named."""
    found = {"poolio": poolio.__version__, "python": platform.python_version(), "OpenSSL": ssl.OPENSSL_VERSION}
    for name in PEERS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found
