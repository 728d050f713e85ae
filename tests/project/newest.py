"""The tests on the newest CPythons, which Debian's unstable suite has: do they pass before other systems have them?

    newest.py [--root FOLDER] [VERSION...]     make the root if there is none, then test on 3.14 and 3.15, or on VERSION
    newest.py [--root FOLDER] --make-root      only make it; status 1 if it can't be made here
    TESTS and OPTIONS of the environment are the Makefile's: these tests alone, more options of pytest.

The root is a small Debian of its own, which debootstrap makes in FOLDER (.newest) from the mirror and the keys that
this machine's apt uses. The project's files are copied into it, built there, and tested by their Makefile: `make test`,
and CPython's own tests. That takes root, debootstrap, and the right to make a mount namespace: what is mounted in it is
seen by nobody else and is gone with its last process, so the machine stays as it is.
"""

import argparse
import os
import pathlib
import shutil
import subprocess
import sys

PROJECT = pathlib.Path(__file__).resolve().parents[2]
VERSIONS = ("3.14", "3.15")
# For pip, the build and the tests: certificates, a compiler, ip for the bad link, nginx and haproxy for the guide.
PACKAGES = ("ca-certificates", "gcc", "git", "haproxy", "iproute2", "libc6-dev", "libnginx-mod-stream", "make", "nginx")
PARTS = ("{}", "{}-dev", "{}-venv", "lib{}-testsuite")
KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"
TAKEN_ALONG = ("etc/resolv.conf", "etc/hosts", "etc/ssl/certs/ca-certificates.crt")
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
# Only wheels: a dependency that has none yet for such an interpreter says so at once, and is not built for minutes.
ENVIRONMENT = {
    "HOME": "/root", "LANG": "C.UTF-8", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PIP_CERT": CERTIFICATES,
    "PIP_ONLY_BINARY": ":all:", "PIP_ROOT_USER_ACTION": "ignore",
}
HANDED_ON = ("TESTS", "OPTIONS")


def missing():
    """Return what keeps us from making a root here, or None."""
    if os.geteuid() != 0:
        return "only root may make it"
    for command in ("debootstrap", "unshare", "chroot", "apt-get"):
        if shutil.which(command) is None:
            return f"there is no {command}: on Debian, apt-get install debootstrap"
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode:
        return "this machine lets nobody make a mount namespace"
    return None


def mirror():
    """Return the address from which this machine's apt gets Debian's packages; Debian's own one, if it does not say."""
    asked = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Origin: Debian", "Label: Debian"],
        capture_output=True, text=True)
    return (asked.stdout.split() or ["http://deb.debian.org/debian"])[0]


def make_root(root):
    """Make the root beside its place, and move it there when it is whole."""
    packages = [*PACKAGES] + [part.format(f"python{version}") for version in VERSIONS for part in PARTS]
    unfinished = root.with_name(f"{root.name}-unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    print(f"making {root} from {mirror()}", flush=True)
    command = ["unshare", "--mount", "debootstrap", "--variant=minbase", f"--keyring={KEYS}",
               f"--include={','.join(packages)}", "unstable", str(unfinished), mirror()]
    with open(f"{unfinished}.log", "w") as log:
        made = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT)
    if made.returncode:
        said = pathlib.Path(log.name).read_text().splitlines()[-10:]
        raise SystemExit("\n".join(["debootstrap failed:", *said]))
    unfinished.rename(root)


def copy_project(place):
    """Copy what git has, or would add, to a new folder: an older build must not stand in for this one."""
    shutil.rmtree(place, ignore_errors=True)
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        if (PROJECT / name).exists():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / name, place / name)


def run_in(root, commands):
    """Run the shell's commands in the root, with /proc and /dev of this machine."""
    handed_on = {name: value for name, value in os.environ.items() if name in HANDED_ON or name.endswith("_proxy")}
    mounted = 'mount --rbind /proc "$0/proc" && mount --rbind /dev "$0/dev" && exec chroot "$0" sh -ec "$1"'
    command = ["unshare", "--mount", "sh", "-c", mounted, str(root), commands]
    return subprocess.run(command, env=ENVIRONMENT | handed_on).returncode


def test(root, version):
    make = f"make PYTHON=python{version} VENV=.venv-{version}"
    print(f"== Python {version}: make test", flush=True)
    failed = run_in(root, f"cd /poolio; {make} test")
    if os.environ.get("TESTS"):
        return failed
    print(f"== Python {version}: CPython's own tests", flush=True)
    return run_in(root, f"cd /poolio; {make} check VARIANT=cpython") or failed


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=pathlib.Path, default=PROJECT / ".newest", metavar="FOLDER")
    parser.add_argument("--make-root", action="store_true")
    parser.add_argument("versions", nargs="*", metavar="VERSION", default=VERSIONS)
    arguments = parser.parse_args()
    root = arguments.root.absolute()
    why = missing()
    if why is not None:
        raise SystemExit(f"no root for the newest CPythons: {why}")
    if not root.exists():
        make_root(root)
    if arguments.make_root:
        return 0
    for name in TAKEN_ALONG:
        shutil.copyfile(f"/{name}", root / name)
    copy_project(root / "poolio")
    return max(test(root, version) for version in arguments.versions)


if __name__ == "__main__":
    sys.exit(main())
