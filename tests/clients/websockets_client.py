"""Drives Python's websockets through the base URL; prints one JSON line."""

import os
import sys

from websockets.sync.client import connect

from checks import equal, report

url = sys.argv[1].replace("http", "ws", 1) + "/ws"


def echo(message):
    with connect(url, open_timeout=20, close_timeout=5, max_size=None) as socket:
        socket.send(message)
        equal(socket.recv(timeout=20), message)


def many():
    """Messages of many sizes, both kinds, in turn on one connection, then a clean close."""
    with connect(url, open_timeout=20, close_timeout=5, max_size=None) as socket:
        for size in [1, 125, 126, 65535, 65536, 1_000_000]:
            for message in [os.urandom(size), "x" * size]:
                socket.send(message)
                equal(socket.recv(timeout=20), message)
        socket.close(1000, "done")
        equal(socket.close_code, 1000)


report("websockets", {"text": lambda: echo("grüße"), "binary": lambda: echo(os.urandom(100_000)), "many": many})
