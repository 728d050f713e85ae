"""What a release needs: one version, the same interpreters everywhere, and nothing that is still to be filled in."""

import importlib.metadata
import importlib.util
import pathlib
import re
import subprocess
import sys
import tomllib

import pytest

import poolio

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
WORKFLOWS = ROOT / ".github" / "workflows"
READY = {
    "pyproject.toml": "[project.urls]\n" + "".join(
        f'{name} = "https://poolio.local/{name}"\n' for name in ("Changelog", "Documentation", "Issues", "Source")),
    "SECURITY.md": "# Security\n\n## To report a vulnerability\n\nWrite to security@poolio.local.\n\n## Others\n",
    "README.md": "git clone https://poolio.local/poolio.git\n",
    "CHANGELOG.md": "# Changelog\n\n## 1.2.3 (2027-01-02)\n",
    "poolio/__init__.py": '__version__ = "1.2.3"\n',
}


def load(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "tests" / "project" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


release = load("release")


# --- the version ---

def test_version_is_that_of_the_installed_package_and_of_the_documentation():
    assert release.version_of(ROOT) == poolio.__version__ == importlib.metadata.version("poolio")
    assert "release = poolio.__version__" in (ROOT / "docs" / "conf.py").read_text()


def test_version_stands_once():
    places = [*ROOT.glob("*.toml"), *ROOT.glob("*.py"), ROOT / "Makefile", ROOT / "docs" / "conf.py",
              *WORKFLOWS.glob("*.yml"), *ROOT.glob("poolio/**/*.py*")]
    places = [path for path in places if path.suffix not in (".pyc", ".pyd")]
    literal = re.compile(rf"(?<![\d.=]){re.escape(poolio.__version__)}(?![\d.])")
    found = [str(path.relative_to(ROOT)) for path in places if literal.search(path.read_text())]
    assert found == ["poolio/__init__.py"]
    assert PROJECT["project"]["dynamic"] == ["version"]


def test_changelog_begins_with_this_version():
    first = re.search(r"^## (\S+) \((?:unreleased|\d{4}-\d\d-\d\d)\)$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert first[1] == poolio.__version__


def test_changelog_is_by_kind():
    text = (ROOT / "CHANGELOG.md").read_text()
    kinds = re.findall(r"^### (.*)$", text.partition("\n## ")[2].partition("\n## ")[0], re.M)
    assert kinds and set(kinds) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert len(kinds) == len(set(kinds))


# --- interpreters ---

def minors(pattern, text):
    return {int(minor) for minor in re.findall(pattern, text)}


def test_interpreters_are_the_same_everywhere():
    promised = minors(r"Programming Language :: Python :: 3\.(\d+)", "\n".join(PROJECT["project"]["classifiers"]))
    assert promised == set(range(11, 16))
    assert PROJECT["project"]["requires-python"] == f">=3.{min(promised)}"
    assert minors(r"cp3(\d+)-", "\n".join(PROJECT["tool"]["cibuildwheel"]["build"])) == promised


@pytest.mark.skipif(not WORKFLOWS.exists(), reason="workflows are not in the sdist")
def test_interpreters_of_the_classifiers_are_tested():
    matrix, = re.findall(r"^        python: (\[.*\])$", (WORKFLOWS / "check.yml").read_text(), re.M)
    assert minors(r"3\.(\d+)", matrix) == set(range(11, 16))


# --- what is to be filled in ---

def tree(folder, **changed):
    (folder / "poolio").mkdir()
    for name, text in (READY | {name.replace("__", "."): text for name, text in changed.items()}).items():
        (folder / name).write_text(text)
    named = '[project]\nname = "poolio"\n'
    (folder / "pyproject.toml").write_text(named + (folder / "pyproject.toml").read_text())
    return folder


def test_project_that_is_filled_in_is_ready(tmp_path):
    assert release.problems(tree(tmp_path), "v1.2.3") == []


@pytest.mark.parametrize(("name", "text", "complaint"), (
    ("pyproject__toml", "", "[project.urls] has no Source"),
    ("pyproject__toml", '[project.urls]\nSource = "https://github.com/OWNER/poolio"\n', "Source is not an address yet"),
    ("pyproject__toml", '[project.urls]\nSource = "https://example.com/poolio"\n', "Source is not an address yet"),
    ("pyproject__toml", '[project.urls]\nSource = "<to be filled in>"\n', "Source is not an address yet"),
    ("SECURITY__md", "# Security\n\n## To report a vulnerability\n\nUse the tab.\n", "nowhere to report"),
    ("SECURITY__md", "# Security\n\nAsk https://poolio.local.\n", "nowhere to report"),
    ("SECURITY__md", "## To report a vulnerability\n\nsecurity@example.org\n", "contact is not filled in"),
    ("README__md", "git clone <where you found it> poolio\n", "README.md: still says <where you found it>"),
    ("CHANGELOG__md", "## 1.2.3 (unreleased)\n", "has no line `## 1.2.3 (YYYY-MM-DD)`"),
))
def test_what_is_not_filled_in_is_named(name, text, complaint, tmp_path):
    assert complaint in "\n".join(release.problems(tree(tmp_path, **{name: text}), "v1.2.3"))


def test_tag_of_another_version_is_named(tmp_path):
    said, = release.problems(tree(tmp_path), "v1.2.4")
    assert said == "poolio/__init__.py: the version is 1.2.3, and the tag is v1.2.4"


def test_program_says_each_problem_and_ends_with_its_status():
    found = release.problems(ROOT, "v0")
    program = ROOT / "tests" / "project" / "release.py"
    done = subprocess.run([sys.executable, program, "v0"], capture_output=True, text=True)
    assert (done.returncode, done.stderr.splitlines()) == (1, found)


@pytest.mark.skipif(not WORKFLOWS.exists(), reason="workflows are not in the sdist")
def test_release_workflow_asks_before_it_builds_anything():
    jobs = re.split(r"^  (?=[\w-]+:$)", (WORKFLOWS / "release.yml").read_text().partition("\njobs:\n")[2], flags=re.M)
    asking = [job.partition(":")[0] for job in jobs if "tests/project/release.py" in job]
    assert asking == ["ready"]
    assert [job for job in jobs if job.strip() and ":\n" in job and not job.startswith(("ready", "#")) and
            not re.search(r"^    needs: ", job, re.M) and "runs-on" in job] == []


# --- the wheels of this machine ---

def test_interpreter_that_asks_is_found_and_none_of_another_version():
    interpreters = load("interpreters")
    mine = f"3.{sys.version_info.minor}"
    assert interpreters.promised() == [f"3.{minor}" for minor in range(11, 16)]
    assert interpreters.is_usable(interpreters.find([mine])[mine], mine)
    assert not interpreters.is_usable(sys.executable, "3.99")
    assert not interpreters.is_usable("/nowhere/python", mine)
    assert interpreters.find(["3.99"]) == {"3.99": None}
