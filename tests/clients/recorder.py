"""uvicorn with a record: answers `own METHOD target`, and appends `METHOD target` to the file that it was given.

Prints its port; ends with its standard input.
"""

import logging
import os
import socket
import sys
import threading

import uvicorn

RECORD = sys.argv[1]


def write(line):
    with open(RECORD, "a", encoding="utf-8") as file:
        file.write(line + "\n")


async def app(scope, receive, send):
    target = scope["raw_path"].decode("latin-1")
    if scope["query_string"]:
        target += "?" + scope["query_string"].decode("latin-1")
    line = f"{scope['method']} {target}"
    while True:
        event = await receive()
        if event["type"] != "http.request":
            return  # Never whole, so no request.
        if not event.get("more_body"):
            break
    write(line)
    body = f"own {line}".encode("latin-1")
    length = str(len(body)).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
    await send({"type": "http.response.body", "body": body})


class Refusals(logging.Handler):
    """uvicorn says in its log what it does not take for a request."""

    def emit(self, record):
        if "Invalid HTTP" in record.getMessage():
            write("! " + record.getMessage())


logging.getLogger("uvicorn.error").addHandler(Refusals())
listening = socket.socket()
listening.bind(("127.0.0.1", 0))
listening.listen(128)
print(listening.getsockname()[1], flush=True)
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
config = uvicorn.Config(app, http="h11", ws="none", lifespan="off", access_log=False, log_config=None, timeout_keep_alive=60)
uvicorn.Server(config).run(sockets=[listening])
