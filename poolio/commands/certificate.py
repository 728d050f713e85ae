"""Owns the certificate of `python -m poolio echo --tls`: for localhost, for this run, trusted by nobody.

It is made by trustme if that is installed, and otherwise by the `openssl` command, so that poolio itself needs neither.
Refuses to know who serves with it. Called by echo.
"""

import importlib.util
import pathlib
import shutil
import subprocess

NAMES = ("localhost", "127.0.0.1", "::1")
DAYS = 7
OPENSSL_SECONDS = 60    # for what takes a tenth of one


class CertificateError(RuntimeError):
    """No certificate can be made here; says why, and what to install."""


def make(folder: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
    """Write a certificate with its private key, and what a client has to trust; return both paths."""
    if importlib.util.find_spec("trustme") is not None:
        return by_trustme(folder)
    command = shutil.which("openssl")
    if command is None:
        raise CertificateError(
            "--tls makes a certificate with the openssl command or with trustme, and finds neither: "
            "install openssl, or pip install 'poolio[tls]'")
    return by_openssl(command, folder)


def by_trustme(folder: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
    import trustme

    pem, trusted = folder / "localhost.pem", folder / "trusted.pem"
    authority = trustme.CA()
    pem.touch(mode=0o600)
    authority.issue_cert(*NAMES).private_key_and_cert_chain_pem.write_to_path(pem)
    authority.cert_pem.write_to_path(trusted)
    return pem, trusted


def by_openssl(command: str, folder: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
    """It signs itself, so that clients have to trust the certificate itself."""
    key, trusted, pem = folder / "key.pem", folder / "trusted.pem", folder / "localhost.pem"
    names = ",".join(f"{'DNS' if name == 'localhost' else 'IP'}:{name}" for name in NAMES)
    done = subprocess.run(
        [command, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-days", str(DAYS), "-subj", "/CN=localhost", "-addext", f"subjectAltName={names}",
         "-keyout", str(key), "-out", str(trusted)],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=OPENSSL_SECONDS)
    if done.returncode:
        raise CertificateError(f"{command} could not make a certificate: {done.stderr.strip()}\n"
                               "pip install 'poolio[tls]' does without it")
    pem.touch(mode=0o600)
    pem.write_text(key.read_text() + trusted.read_text())
    key.unlink()
    return pem, trusted
