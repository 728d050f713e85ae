"""Owns which lines of poolio's Cython are code, and where a traced frame stands: a plugin of coverage.py.

Called by `make coverage`, and named in pyproject.toml.

Cython's own plugin reads the lines from one .c file, so it knows inline functions of a .pxd as the file that was read
last has them; it finds sources in the current folder, which tests change; and it runs Python at each call, where
compiled code relies on nothing else running. Here all .c files are read once, for the report, and sources are found
from this file.
"""

import functools
import pathlib

from coverage.plugin import CoveragePlugin, FileTracer
from Cython.Coverage import CythonModuleReporter
from Cython.Coverage import Plugin as CythonPlugin

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def is_inline_head(name, line):
    """The head of a function of a .pxd is executed in the frame of the module being loaded: never seen.

    What is seen is a line of that number in the module itself: it counts as run, whether it was or not. That is so for
    one line in thirty, so a total may be flattered by the few of them that no test runs.
    """
    return name.endswith(".pxd") and line.startswith("cdef inline ")


class Source(FileTracer):
    def __init__(self, path):
        self.path = path

    def source_filename(self):
        return str(self.path)


class Plugin(CoveragePlugin):
    def configure(self, config):
        self.config = config

    def file_tracer(self, filename):
        """Compiled frames bear the name that Cython was given, poolio/memory/slab.pyx, behind the current folder."""
        _, package, inside = filename.rpartition("poolio/")
        path = ROOT / package / inside
        return Source(path) if path.suffix in (".pyx", ".pxd") and path.exists() else None

    def file_reporter(self, filename):
        name = str(pathlib.Path(filename).relative_to(ROOT))
        lines, excluded = self.lines()
        return CythonModuleReporter(None, filename, name, lines.get(name, {}), excluded.get(name, set()))

    @functools.cache                                            # noqa: B019  (lives as long as the process)
    def lines(self):
        """{file: {line: its code}} and {file: lines excluded}: the union over all generated files."""
        lines, excluded = {}, {}
        for path in sorted((ROOT / "poolio").rglob("*.c")):
            reader = CythonPlugin()
            reader.configure(self.config)
            for name, code in reader._parse_cfile_lines(str(path)).items():
                lines.setdefault(name, {}).update(
                    (number, line) for number, line in code.items() if not is_inline_head(name, line))
            for name, numbers in reader._excluded_lines_map.items():
                excluded.setdefault(name, set()).update(numbers)
        return lines, excluded


def coverage_init(reg, options):
    plugin = Plugin()
    reg.add_configurer(plugin)
    reg.add_file_tracer(plugin)
