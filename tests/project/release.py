"""Is the project ready to be released? The release workflow asks first. Says what is missing, and ends with 1.

    release.py            the project's addresses, the security contact, the address that guides say to clone from
    release.py v1.2.3     and whether the tag is the version, and the changelog has its date

What is not known yet has no value that looks like one: it is absent, or stands in <angle brackets>.
"""

import pathlib
import re
import sys
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
URLS = ("Changelog", "Documentation", "Issues", "Source")
PLACEHOLDER = re.compile(
    r"<[^<>]*>|\bexample\.(?:com|org|net)\b|\.(?:example|invalid|test)\b|\b(?:todo|owner|your[-_ ]\w+)\b", re.I)
CONTACT = re.compile(r"https://\S+|[\w.+-]+@[\w-]+\.[\w.-]+|<[^<>\s]+[@:][^<>\s]+>")
TO_CLONE = re.compile(r"<where you found \w+>")
REPORTING = re.compile(r"^## To report a vulnerability\n(.*?)(?=^## |\Z)", re.M | re.S)


def version_of(root):
    """It is read as text, so that nothing has to be built."""
    return re.search(r'^__version__ = "([^"]+)"$', (root / "poolio" / "__init__.py").read_text(), re.M)[1]


def about_urls(root):
    given = tomllib.loads((root / "pyproject.toml").read_text())["project"].get("urls", {})
    for name in URLS:
        if name not in given:
            yield f"pyproject.toml: [project.urls] has no {name}"
    for name, url in given.items():
        if not url.startswith("https://") or PLACEHOLDER.search(url):
            yield f"pyproject.toml: {name} is not an address yet: {url}"


def about_contact(root):
    section = REPORTING.search((root / "SECURITY.md").read_text())
    found = CONTACT.findall(section[1]) if section else []
    if not found:
        yield "SECURITY.md: says nowhere to report a vulnerability: an https address or one for mail"
    for contact in found:
        if PLACEHOLDER.search(contact):
            yield f"SECURITY.md: the contact is not filled in: {contact}"


def about_pages(root):
    for path in sorted([*root.glob("*.md"), *root.glob("docs/*.md")]):
        for words in TO_CLONE.findall(path.read_text()):
            yield f"{path.relative_to(root)}: still says {words}"


def about_tag(root, tag):
    version = version_of(root)
    if tag != f"v{version}":
        yield f"poolio/__init__.py: the version is {version}, and the tag is {tag}"
    if not re.search(rf"^## {re.escape(version)} \(\d{{4}}-\d\d-\d\d\)$", (root / "CHANGELOG.md").read_text(), re.M):
        yield f"CHANGELOG.md: has no line `## {version} (YYYY-MM-DD)`"


def problems(root, tag=None):
    return [*about_urls(root), *about_contact(root), *about_pages(root), *(about_tag(root, tag) if tag else ())]


def main(tag=None):
    found = problems(ROOT, tag)
    for problem in found:
        print(problem, file=sys.stderr)
    print(f"not ready to be released: {len(found)} to be filled in" if found else "ready to be released")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
