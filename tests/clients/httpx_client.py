"""Drives Python's httpx through the base URL; prints one JSON line. With LASTCALL_HTTP=2 it speaks HTTP/2."""

import asyncio
import os
import sys

import httpx

from checks import BODY, equal, http_checks, report, sha256

base = sys.argv[1]
http2 = os.environ.get("LASTCALL_HTTP") == "2"
# In clear text HTTP/2 is spoken where HTTP/1 is not.
speaks = {"http1": not http2, "http2": http2, "timeout": 20, "base_url": base}
version = "HTTP/2" if http2 else "HTTP/1.1"
client = httpx.Client(**speaks)


def send(method, path, content=None):
    answer = client.request(method, path, content=content)
    equal((answer.status_code, answer.http_version), (200, version))
    return answer.headers, answer.content


def many():
    """200 requests of one client on one connection."""
    streams = set()
    with httpx.Client(**speaks) as one:
        for _ in range(200):
            answer = one.get("/bytes?n=1000")
            equal(sha256(answer.content), answer.headers["X-Sha256"])
            address = answer.extensions["network_stream"].get_extra_info("client_addr")
            streams.add(address)
    equal(len(streams), 1)


async def at_once():
    async with httpx.AsyncClient(**speaks) as one:
        await one.get("/bytes?n=1")
        answers = await asyncio.gather(*[one.get(f"/bytes?n={1000 + number}") for number in range(100)])
        for number, answer in enumerate(answers):
            equal((len(answer.content), answer.http_version), (1000 + number, version))
            equal(sha256(answer.content), answer.headers["X-Sha256"])
        if http2:
            equal(len({answer.extensions["network_stream"].get_extra_info("client_addr") for answer in answers}), 1)


def concurrent():
    """100 requests at once, of HTTP/2 on one connection."""
    asyncio.run(at_once())


async def upload_until_told(one, file):
    count = 0
    while os.path.exists(file):
        answer = await one.post("/upload?wait=20", content=BODY[:20_000])
        equal((answer.status_code, answer.http_version), (200, version))
        equal(answer.json()["sha256"], sha256(BODY[:20_000]))
        count += 1
    return count


async def rolling(file):
    """Uploads, eight at once, as long as the file is there."""
    async with httpx.AsyncClient(**speaks) as one:
        counts = await asyncio.gather(*[upload_until_told(one, file) for _ in range(8)])
    equal(min(counts) > 0, True)


told = os.environ.get("LASTCALL_ROLLING")
if told:
    report("httpx", {"rolling": lambda: asyncio.run(rolling(told))})
else:
    report("httpx", {**http_checks(send), "many": many, "concurrent": concurrent})
