"""What the Python drivers share: checks by name, and the one JSON line that says how each went."""

import hashlib
import json
import os

BODY = os.urandom(3_000_000)
SUM = hashlib.sha256(BODY).hexdigest()


def sha256(data):
    """The hex digest that the app sends along."""
    return hashlib.sha256(data).hexdigest()


def pieces():
    """BODY in pieces, so that it is sent chunked."""
    for at in range(0, len(BODY), 40_000):
        yield BODY[at : at + 40_000]


def report(client, checks):
    """Runs each check (it raises where something is wrong) and prints the line."""
    said = {}
    for name, check in checks.items():
        try:
            check()
            said[name] = "ok"
        except Exception as error:  # A driver reports whatever goes wrong.
            said[name] = f"{type(error).__name__}: {error}"[:300]
    print(json.dumps({"client": client, "checks": said}))


def equal(seen, expected):
    """An assert that also works under python -O."""
    if seen != expected:
        raise AssertionError(f"{str(seen)[:100]} in place of {str(expected)[:100]}")


def http_checks(send):
    """The checks that every HTTP library can do. `send(method, path, **body)` returns (headers, bytes)."""

    def download(query):
        headers, body = send("GET", f"/bytes?n=2000000{query}")
        equal(len(body), 2_000_000)
        equal(sha256(body), headers["X-Sha256"])

    def upload(content, chunked):
        _, body = send("POST", "/upload", content=content())
        said = json.loads(body)
        equal((said["length"], said["sha256"]), (len(BODY), SUM))
        # A server of HTTP/2 knows no chunks.
        if chunked and os.environ.get("LASTCALL_BEHIND") != "2":
            equal(said["chunked"], True)

    def echo():
        _, body = send("POST", "/echo", content=pieces())
        equal(sha256(body), SUM)

    return {
        "download": lambda: download(""),
        "downloadChunked": lambda: download("&chunked"),
        "upload": lambda: upload(lambda: BODY, False),
        "uploadChunked": lambda: upload(pieces, True),
        "echo": echo,
    }
