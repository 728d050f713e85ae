"""Sub-interpreters and free-threaded builds: refused with an ImportError that says so, never silently wrong."""

import subprocess
import sys

IN_ANOTHER = """
import sys
import poolio
import {module} as interpreters
code = '''
import sys
sys.path[:] = {{path!r}}
try:
    import poolio
except ImportError as error:
    print("refused:", error, flush=True)
else:
    print("imported", flush=True)
'''.format(path=sys.path)
for kind in {kinds}:
    interpreter = interpreters.create(*kind)
    interpreters.{run}(interpreter, code)
    interpreters.destroy(interpreter)
with poolio.from_bytes(b"goes on") as buf:
    print(buf.decode())
"""


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_second_interpreter_is_refused_and_the_first_goes_on():
    if sys.version_info >= (3, 13):
        code = IN_ANOTHER.format(module="_interpreters", kinds=[("isolated",), ("legacy",)], run="exec")
    else:
        code = IN_ANOTHER.format(module="_xxsubinterpreters", kinds=[()], run="run_string")
    done = run(code)
    *refusals, last = done.stdout.splitlines() or [""]
    assert (done.returncode, last) == (0, "goes on"), done.stderr
    assert refusals and all(line.startswith("refused: ") and "interpreter" in line for line in refusals)


def test_import_without_the_gil_is_refused():
    done = run("import sys\nsys._is_gil_enabled = lambda: False\nimport poolio")
    assert done.returncode == 1
    assert done.stderr.strip().endswith("run this free-threaded Python without PYTHON_GIL=0 and -X gil=0")
