"""The documentation: snippets run, each public name has an example, README is short, what is named or linked exists."""

import contextlib
import pathlib
import re
import socket

import pytest
from kit import moved_ports
from kit.pairs import needs_own_transports
from kit.snippets import Page

import poolio

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)[1].split())
VARIANTS = set(re.findall(r"^#\?  ([\w-]+)", MAKEFILE, re.MULTILINE))
MOST_TARGETS = 20
MOST_WORDS = 800            # of README
MOST_COLUMNS = 100          # of code: docs/_static/poolio.css makes room for so many
WITH_SNIPPETS = [path for path in PAGES if "```python" in path.read_text()]
OF_POOLIO = re.compile(r"^\.\. auto(?:class|function|exception|data):: poolio\.(\w+)(?:\(.*\))?$", re.MULTILINE)
LINK = re.compile(r"(?<!`)\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)|(?:src|srcset)=\"([^\"]+)\"")


@pytest.fixture
def page_of(tmp_path, monkeypatch):
    """A page whose snippets run on free ports, in this process and in those that it starts."""
    def read(path, **options):
        page = Page(path, tmp_path, **options)
        moved_ports.move(page.ports, lambda port: None, replace=monkeypatch.setattr)
        return page

    return read


@needs_own_transports
@pytest.mark.parametrize("path", WITH_SNIPPETS, ids=lambda path: path.stem)
def test_snippets_run(path, page_of):
    with page_of(path) as page:
        assert page.run() > 0
    if page.skipped:
        pytest.skip(f"the other snippets pass; {', '.join(page.skipped)}")


@needs_own_transports
def test_snippets_of_readme_run_and_do_what_it_says(page_of):
    async def say_hello(serve):
        async def serve_and_close(reader, writer):
            with contextlib.closing(writer):
                await serve(reader, writer)

        codec = poolio.LengthPrefixed(4)
        server = await poolio.start_server(serve_and_close, "127.0.0.1", 0)
        reader, writer = await poolio.open_connection(*server.sockets[0].getsockname())
        writer.write_frame(codec, b"hello")
        writer.write_eof()
        frames = [bytes(frame) async for frame in reader.frames(codec)]
        writer.close()
        server.close()
        await server.wait_closed()
        return frames

    with page_of(ROOT / "README.md", languages=["python"]) as page:
        assert page.run() == 3
        assert page.talk(b"hello") == b"hello"
        assert page.runner.run(say_hello(page.names["serve"])) == [b"got hello"]
        assert (page.names["end"], page.names["head"], page.names["rest"]) == (4, b"\x00\x00\x00\x05hello", b"o")


def test_readme_is_read_in_a_minute():
    assert len((ROOT / "README.md").read_text().split()) <= MOST_WORDS


@pytest.mark.parametrize("path", [*ROOT.glob("*.md"), *PAGES], ids=lambda path: str(path.relative_to(ROOT)))
def test_files_linked_exist(path):
    prose = re.sub(r"^```.*?^```|`[^`\n]*`", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    assert "[](" not in prose       # it has a text on the site only, and none where the repository is read
    linked = [target or source for target, source in LINK.findall(prose)]
    assert [name for name in linked if "://" not in name and not (path.parent / name).exists()] == []


@pytest.mark.parametrize("path", [ROOT / "README.md", *PAGES], ids=lambda path: path.stem)
def test_code_fits_the_page(path):
    blocks = re.findall(r"^```(?:\w+)\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL)
    assert [line for block in blocks for line in block.splitlines() if len(line) > MOST_COLUMNS] == []


def test_broken_snippets_are_found(page_of, tmp_path):
    broken = {
        "size must be in": "```python\nimport poolio\npoolio.alloc(-1)\n```\n",
        "printed was": "```python\nprint(1 + 1)\n```\n```text\n3\n```\n",
        "no command": "```sh\nrm -r build\n```\n",
        "fails.py: no": "```python\n# fails.py\nraise SystemExit('no')\n```\n```sh\npython fails.py\n```\n",
        "forgotten.py: no": "```python\n# forgotten.py\nraise SystemExit('no')\n```\n",
        "does not serve": "```python\n# dies.py\nexit('serve_forever()')\n```\n```sh\npython dies.py\n```\n",
    }
    for complaint, text in broken.items():
        (tmp_path / "page.md").write_text(text)
        with pytest.raises((AssertionError, ValueError), match=complaint), page_of(tmp_path / "page.md") as page:
            page.run()


def test_skipped_snippet_skips_no_other(page_of, tmp_path):
    (tmp_path / "page.md").write_text("""
<!-- skip: next if(1 + 1 == 2, reason="no numbers here") -->
```python
raise ValueError
```
```python
tried = True
```
""")
    with page_of(tmp_path / "page.md") as page:
        page.run()
    assert page.names["tried"] and page.skipped == ["line 3: no numbers here"]


def test_moved_ports_are_reached_by_their_names(monkeypatch):
    ports, opened = {}, []
    moved_ports.move(ports, opened.append, replace=monkeypatch.setattr)
    with socket.create_server(("127.0.0.1", 8888)) as listener, socket.create_connection(("127.0.0.1", 8888)) as client:
        assert opened == [8888] and ports == {8888: listener.getsockname()[1]}
        assert client.getpeername() == listener.getsockname()


def test_second_socket_on_a_moved_port_is_beside_the_first(monkeypatch):
    ports, opened = {}, []
    moved_ports.move(ports, opened.append, replace=monkeypatch.setattr)
    with socket.socket() as first, socket.socket() as second:
        for sock in (first, second):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        first.bind(("127.0.0.1", 8888))
        second.bind(first.getsockname())
        second.listen()
        assert second.getsockname() == first.getsockname() and opened == [8888]


def test_reference_has_every_public_name():
    text = "".join(path.read_text() for path in DOCS.glob("reference-*.md"))
    assert sorted(OF_POOLIO.findall(text)) == sorted(poolio.__all__)


def test_reference_has_an_example_beside_every_public_name():
    """It stands between the name before and the name behind, and uses the name."""
    without = []
    for path in DOCS.glob("reference-*.md"):
        parts = OF_POOLIO.split(path.read_text())
        for before, name, behind in zip(parts[::2], parts[1::2], parts[2::2], strict=False):
            examples = "".join(re.findall(r"^```python\n(.*?)^```", before + behind, re.MULTILINE | re.DOTALL))
            if not re.search(rf"\bpoolio\.{name}\b", examples):
                without.append(name)
    assert without == []


def test_table_of_names_is_that_of_the_package():
    rows = re.findall(r"^\| (`.*?) \|", (DOCS / "reference.md").read_text(), re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+)", row)}
    meant = re.findall(r"`default_pool\(\)`", (DOCS / "reference.md").read_text())
    assert named | ({"default_pool"} if meant else set()) == set(poolio.__all__)


@pytest.mark.parametrize("path", [*ROOT.glob("*.md"), ROOT / "poolio" / "README.md", *PAGES],
                         ids=lambda path: str(path.relative_to(ROOT)))
def test_make_targets_and_variants_named_exist(path):
    code = re.findall(r"^```sh\n(.*?)^```|^```.*?^```|`([^`]+)`", path.read_text(), re.MULTILINE | re.DOTALL)
    code = "\n".join(map("\n".join, code))
    assert set(re.findall(r"\bmake\s+([a-z][\w-]*)", code)) - TARGETS == set()
    assert set(re.findall(r"\bVARIANT=([\w-]+)", code)) - VARIANTS == set()


def test_targets_and_variants_listed_have_rules():
    listed = re.findall(r"^#   make ([\w-]+)", MAKEFILE, re.MULTILINE)
    rules = set(re.findall(r"^([\w-]+):(?! [A-Z]|=)", MAKEFILE, re.MULTILINE))
    assert sorted(listed) == sorted(TARGETS) and len(TARGETS) <= MOST_TARGETS
    assert rules == TARGETS | {f"check-{variant}" for variant in VARIANTS}


@pytest.mark.parametrize("name", ("Makefile", "pyproject.toml", ".ci/run"))
def test_tests_named_by_a_check_exist(name):
    """A check that leaves out, by its name, a test that was renamed would run it, and say nothing."""
    if not (ROOT / name).exists():
        pytest.skip(f"{name} is not in the sdist")
    text = (ROOT / name).read_text()
    paths = {path.rstrip(".") for path in re.findall(r"\btests/[\w/.*-]*", text)}
    assert paths and [path for path in paths if not list(ROOT.glob(path))] == []
    defined = re.findall(r"def (test_\w+)", "".join(path.read_text() for path in ROOT.glob("tests/*/test_*.py")))
    left_out = re.findall(r"(?<![/\w])test_\w+", text)
    assert [word for word in left_out if not any(word in test for test in defined)] == []


def test_files_named_in_contributing_exist():
    named = re.findall(r"`((?:poolio|tests|benchmarks|examples|docs)/[\w/.]*)`", (ROOT / "CONTRIBUTING.md").read_text())
    assert named and [name for name in named if not (ROOT / name).exists()] == []
