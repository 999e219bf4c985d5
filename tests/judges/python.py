"""What the HTTP parsers of Python's standard library make of raw bytes: an independent judge of our codec.

One JSON object a line on stdin, {"role": "request" | "response", "method", "bytes": hex}; one answer a line
on stdout, {"messages": [...], "error": text or null}. Trailers are null: Python reads and drops them. Its
server reads no bodies, so those of requests are read by its client's reader, which knows the same framing.
"""

import http.client
import http.server
import io
import json
import sys


http.client._MAXHEADERS = 1000  # The default of 100 is its limit, not its reading.


class Head(http.server.BaseHTTPRequestHandler):
    """Parses one head out of a stream; answers nobody."""

    def __init__(self, stream):
        self.rfile = stream
        self.wfile = io.BytesIO()
        self.client_address = ("127.0.0.1", 0)
        self.server = None
        self.refused = None
        self.raw_requestline = stream.readline(65537)

    def send_error(self, code, message=None, explain=None):
        self.refused = f"{code} {message}"

    def log_message(self, *_):
        pass


class Wire:
    """A socket, to http.client."""

    def __init__(self, stream):
        self.stream = stream

    def makefile(self, *_):
        return self.stream


def fields(headers):
    # The email parser keeps white space after a value, which HTTP does not count to it.
    return [[name, value.strip(" \t")] for name, value in headers.items()]


def read_response(stream, method):
    stream.close = lambda: None  # The reader closes what it has read to the end; we read on.
    while True:
        response = http.client.HTTPResponse(Wire(stream), method=method)
        response.begin()
        if response.status // 100 != 1:  # It passes over 100 by itself, and over nothing else.
            break
    body = response.read()
    if response.length not in (None, 0):
        raise http.client.IncompleteRead(body, response.length)
    return response, body


def judge_request(raw):
    stream, messages = io.BytesIO(raw), []
    while stream.tell() < len(raw):
        head = Head(stream)
        if head.raw_requestline in (b"\r\n", b"\n"):
            continue
        if not head.parse_request():
            return messages, head.refused
        body = b""
        coding = head.headers.get("Transfer-Encoding")
        length = head.headers.get("Content-Length")
        if coding or length:
            name, value = ("Transfer-Encoding", coding) if coding else ("Content-Length", length)
            rest = stream.read()
            fake = f"HTTP/1.1 200 OK\r\n{name}: {value}\r\n\r\n".encode("latin-1")
            inner = io.BytesIO(fake + rest)
            _, body = read_response(inner, "GET")
            stream = io.BytesIO(inner.read())
            raw = stream.getvalue()
        messages.append(
            {
                "method": head.command,
                "target": head.requestline.split(" ")[1],
                "fields": fields(head.headers),
                "body": body.hex(),
                "trailers": None,
            }
        )
        if head.close_connection:
            break
    return messages, None


def judge_response(raw, method):
    stream = io.BytesIO(raw)
    response, body = read_response(stream, method)
    message = {
        "status": response.status,
        "fields": fields(response.headers),
        "body": body.hex(),
        "trailers": None,
    }
    return [message], None


for line in sys.stdin:
    case = json.loads(line)
    data = bytes.fromhex(case["bytes"])
    try:
        if case["role"] == "request":
            seen, error = judge_request(data)
        else:
            seen, error = judge_response(data, case["method"])
    except Exception as refusal:  # Whatever it refuses with, it refuses.
        seen, error = [], repr(refusal)
    print(json.dumps({"messages": seen, "error": error}), flush=True)
