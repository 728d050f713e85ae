"""Owns how the snippets of a page of documentation run: from its top, as a reader would try them. Called by test_docs.

    ```python   Its first line is `# name.py`: it is kept as that file, and run if no command does. Otherwise it goes on
                where the one before it ended, and may await outside of functions, as in `python -m asyncio`. What
                serves for ever is started.
    ```sh       Commands, `python ...` alone, tried in the folder of the files. A server runs until the page ends.
    ```text     What the block before it has printed, and nothing else; ... stands for anything.

    <!-- skip: next -->                              the next block is not tried, ever: it needs a network
    <!-- skip: next if(condition, reason="...") -->  nor is this one here; all others are
    <!-- invisible-code-block: python ... -->        tried, and not shown: checks, tidying

Sybil finds the blocks and skips. Fixed ports are moved to free ones (moved_ports).
"""

import ast
import asyncio
import contextlib
import inspect
import io
import os
import pathlib
import re
import select
import shlex
import socket
import subprocess
import sys
import unittest

from sybil.document import Document
from sybil.parsers.markdown import CodeBlockParser, SkipParser

from kit import moved_ports

LONGEST_SECONDS = 60       # that a program may take until it serves or ends; it is killed then
NAME = re.compile(r"# (\w+\.py)\n")
ENDLESS = re.compile(r"serve_forever\(\)|^poolio\.serve\(|# serves until Ctrl-C", re.MULTILINE)


class Page:
    """A page and what its snippets have made so far: names, files, programs, ports. A context manager."""

    def __init__(self, path, folder, *, languages=("python", "sh", "text")):
        tries = {"python": self.try_python, "sh": self.try_shell, "text": self.compare}
        parsers = [CodeBlockParser(language, tries[language]) for language in languages]
        self.document = Document.parse(str(path), *parsers, SkipParser())
        self.folder = pathlib.Path(folder)
        self.names = self.document.namespace
        self.ports = {}
        self.printed = ""
        self.servers = []
        self.untried = []      # files that no command has run
        self.skipped = []      # reasons

    def __enter__(self):
        self.runner = asyncio.Runner()
        return self

    def __exit__(self, *exc_info):
        self.runner.close()
        for server in self.servers:
            server.kill()
        complaints = [server.communicate(timeout=LONGEST_SECONDS)[1] for server in self.servers]
        if exc_info[0] is None:
            assert not any(complaints), complaints

    def run(self):
        """Try all blocks; returns how many those were."""
        self.names.update(talk=self.talk, folder=self.folder, servers=self.servers)
        examples = list(self.document.examples())
        for example in examples:
            try:
                example.evaluate()
            except unittest.SkipTest as why:
                self.skipped.append(f"line {example.line}: {why}")
        for name in list(self.untried):
            self.run_program([name], {})
        return len(examples)

    def talk(self, data, port=8888):
        """What a server answers to these bytes, and then the end."""
        with socket.create_connection(("127.0.0.1", self.ports.get(port, port)), timeout=LONGEST_SECONDS) as client:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            return client.makefile("rb").read()

    # --- the blocks: a string is what is wrong with one -----------------------------------------------------

    def try_python(self, example):
        source = str(example.parsed)
        name = NAME.match(source)
        if name:
            (self.folder / name[1]).write_text(source)
            self.untried.append(name[1])
            return
        tree = ast.parse("\n" * (example.line + example.parsed.line_offset) + source, example.path)
        if ENDLESS.search(source) and isinstance(tree.body[-1], ast.Expr):
            (self.folder / "program.py").write_text(source)
            self.start(["program.py"], {})
            del tree.body[-1]                       # its names are for the blocks behind it
        code = compile(tree, example.path, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        with contextlib.redirect_stdout(io.StringIO()) as output:
            result = eval(code, self.names)
            if inspect.iscoroutine(result):
                self.runner.run(result)
        self.printed = output.getvalue()

    def try_shell(self, example):
        printed = ""
        for line in str(example.parsed).splitlines():
            words = shlex.split(line, comments=True)
            variables = {}
            while words and re.match(r"[A-Z_]+=", words[0]):
                name, _, variables[name] = words.pop(0).partition("=")
            if not words:
                continue
            if words[0] != "python":
                return f"{line!r} is no command that a test can try"
            printed += self.run_program(words[1:], variables)
        self.printed = printed

    def compare(self, example):
        expected = ".*".join(re.escape(part) for part in str(example.parsed).strip().split("..."))
        if not re.fullmatch(expected, self.printed.strip(), re.DOTALL):
            return f"printed was {self.printed!r}"

    # --- programs -------------------------------------------------------------------------------------------

    def run_program(self, program, variables):
        """Run it until it ends or serves. Returns what it has printed; nothing if it serves."""
        if program[0] in self.untried:
            self.untried.remove(program[0])
        if not self.is_endless(program):
            return self.output_of(program, variables)
        self.start(program, variables)
        return ""

    def is_endless(self, program):
        if program[0] == "-m":
            return program[1:3] == ["poolio", "echo"]
        return ENDLESS.search((self.folder / program[0]).read_text()) is not None

    def command(self, program, variables, descriptor):
        ports = " ".join(f"{port}={real}" for port, real in self.ports.items())
        return {
            "args": [sys.executable, moved_ports.__file__, *program], "cwd": self.folder, "text": True,
            "env": os.environ | {moved_ports.PORTS: ports, moved_ports.PORTS_FD: str(descriptor)} | variables,
            "pass_fds": [descriptor], "stdout": subprocess.PIPE,
        }

    def start(self, program, variables):
        reading, writing = os.pipe()
        with open(reading) as opened:
            server = subprocess.Popen(**self.command(program, variables, writing), stderr=subprocess.PIPE)
            self.servers.append(server)
            os.close(writing)
            if select.select([opened], [], [], LONGEST_SECONDS)[0] and (line := opened.readline()):
                port, _, real = line.partition("=")
                self.ports[int(port)] = int(real)
                return
        server.kill()
        raise AssertionError(f"{' '.join(program)} does not serve: {server.communicate()}")

    def output_of(self, program, variables):
        reading, writing = os.pipe()
        try:
            done = subprocess.run(**self.command(program, variables, writing), stderr=subprocess.STDOUT,
                                  timeout=LONGEST_SECONDS)
        finally:
            os.close(reading)
            os.close(writing)
        assert done.returncode == 0, f"{' '.join(program)}: {done.stdout}"
        return done.stdout
