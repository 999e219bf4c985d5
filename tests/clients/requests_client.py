"""Drives Python's requests through the base URL; prints one JSON line."""

import sys

import requests

from checks import equal, http_checks, report, sha256

base = sys.argv[1]
session = requests.Session()


def send(method, path, content=None):
    answer = session.request(method, base + path, data=content, timeout=20)
    equal(answer.status_code, 200)
    return answer.headers, answer.content


def many():
    """200 requests of one session on one connection."""
    with requests.Session() as one:
        for _ in range(200):
            answer = one.get(f"{base}/bytes?n=1000", timeout=20)
            equal(sha256(answer.content), answer.headers["X-Sha256"])
        pools = one.get_adapter(base).poolmanager.pools
        equal([pools[key].num_connections for key in pools.keys()], [1])


report("requests", {**http_checks(send), "many": many})
