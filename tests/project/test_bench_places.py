"""Where `python -m poolio bench` writes: in a clone beside itself, elsewhere into a cache and the current folder."""

import os
import pathlib
import shutil
import types

import pytest
from kit.benchruns import ROOT

from benchmarks import cli, harness, places


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """As if the benchmarks were a wheel's, and nothing was asked yet; returns the home folder."""
    monkeypatch.setattr(places, "IN_CLONE", False)
    monkeypatch.setattr(places, "KEPT", [])
    monkeypatch.delenv(places.VARIABLE, raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    places.programs.cache_clear()
    yield tmp_path
    places.programs.cache_clear()
    for folder in places.KEPT:
        folder.cleanup()


def test_clone_has_results_and_programs_beside_the_benchmarks():
    assert places.IN_CLONE
    assert places.results() == places.programs() == ROOT / "benchmarks" / "results"


def test_installed_programs_go_to_the_cache_and_results_to_the_current_folder(installed):
    assert places.results() == pathlib.Path()
    assert places.programs() == installed / ".cache" / "poolio" / f"bench-{places.digest()}"
    assert places.programs().is_dir()


@pytest.mark.parametrize(("given", "taken"), (
    ("/tmp/somewhere", "/tmp/somewhere"), ("relative", "~/.cache"), ("", "~/.cache")))
def test_cache_is_where_xdg_says_if_that_is_absolute(given, taken, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", given)
    assert places.cache() == pathlib.Path(os.path.expanduser(taken))


def test_programs_go_to_a_folder_of_this_process_where_there_is_no_cache(installed):
    (installed / ".cache").write_text("a file, in which nobody can make a folder")
    folder = places.programs()
    assert folder.is_dir() and installed not in folder.parents
    assert folder.stat().st_mode & 0o077 == 0


def test_programs_do_not_go_where_none_may_be_run(installed, monkeypatch):
    monkeypatch.setattr(places.os, "statvfs", lambda path: types.SimpleNamespace(f_flag=os.ST_NOEXEC))
    assert installed not in places.programs().parents


def test_servers_are_told_where_programs_are(installed, monkeypatch):
    said = harness.child_environment()
    monkeypatch.setenv(places.VARIABLE, said[places.VARIABLE])
    places.programs.cache_clear()
    assert str(places.programs()) == said[places.VARIABLE]


def test_servers_of_a_wheel_find_its_benchmarks_first(installed):
    assert harness.child_environment()["PYTHONPATH"].split(os.pathsep)[0] == str(places.ROOT)


def test_other_sources_have_another_folder(installed, monkeypatch):
    before = places.digest()
    shutil.copy(places.HERE / "bench.h", installed)
    monkeypatch.setattr(places, "HERE", installed)
    assert places.digest() != before


def test_program_without_a_compiler_says_what_to_install(installed, monkeypatch):
    monkeypatch.setattr(harness, "c_compiler", lambda: None)
    with pytest.raises(harness.Unavailable, match="install a C compiler"):
        harness.build("limit")


@pytest.mark.parametrize("option", ("--json", "--html"))
def test_result_that_cannot_be_written_is_refused_before_anything_is_measured(option, tmp_path, capsys):
    (tmp_path / "file").touch()
    for path, said in ((tmp_path, "is a folder"), (tmp_path / "file" / "x", "is no folder")):
        with pytest.raises(SystemExit):
            cli.parse(["echo", option, str(path)])
        assert said in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_result_in_a_folder_of_somebody_else_is_refused(tmp_path, capsys):
    tmp_path.chmod(0o500)
    with pytest.raises(SystemExit):
        cli.parse(["echo", "--json", str(tmp_path / "x.json")])
    assert "permission denied" in capsys.readouterr().err
