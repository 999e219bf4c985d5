"""Drives Python's httpx through the base URL; prints one JSON line."""

import sys

import httpx

from checks import equal, http_checks, report, sha256

base = sys.argv[1]
client = httpx.Client(base_url=base, timeout=20)


def send(method, path, content=None):
    answer = client.request(method, path, content=content)
    equal(answer.status_code, 200)
    return answer.headers, answer.content


def many():
    """200 requests of one client on one connection."""
    streams = set()
    with httpx.Client(base_url=base, timeout=20) as one:
        for _ in range(200):
            answer = one.get("/bytes?n=1000")
            equal(sha256(answer.content), answer.headers["X-Sha256"])
            address = answer.extensions["network_stream"].get_extra_info("client_addr")
            streams.add(address)
    equal(len(streams), 1)


report("httpx", {**http_checks(send), "many": many})
