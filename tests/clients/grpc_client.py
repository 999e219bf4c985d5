"""Drives Python's grpcio through the target (`http://HOST:PORT`, or https); prints one JSON line."""

import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc

from checks import equal, report

scheme, target = sys.argv[1].split("://")
# What fails is to be seen, not tried again by the client.
OPTIONS = [("grpc.enable_retries", 0), ("grpc.max_receive_message_length", -1), ("grpc.enable_http_proxy", 0)]
if scheme == "https":
    with open(os.environ["SSL_CERT_FILE"], "rb") as file:
        credentials = grpc.ssl_channel_credentials(file.read())
    channel = grpc.secure_channel(target, credentials, OPTIONS)
else:
    channel = grpc.insecure_channel(target, OPTIONS)

METADATA = (("x-say", "a word"), ("x-data-bin", bytes(range(256))))
LIMIT = 20


def method(kind, name):
    return getattr(channel, kind)("/lastcall.Test/" + name)


unary_call = method("unary_unary", "Unary")
up_call = method("stream_unary", "Up")
down_call = method("unary_stream", "Down")
both_call = method("stream_stream", "Both")
wait_call = method("unary_unary", "Wait")
ended_call = method("unary_unary", "Ended")


def unary():
    equal(unary_call(b"hello", timeout=LIMIT), b"hello")


def metadata():
    _, call = unary_call.with_call(b"hello", timeout=LIMIT, metadata=METADATA)
    for pairs, name in [(call.initial_metadata(), "x-said"), (call.trailing_metadata(), "x-after")]:
        seen = dict(pairs)
        equal((seen[name], seen["x-data-bin"]), ("a word", bytes(range(256))))


def client_stream():
    pieces = [os.urandom(10_000) for _ in range(100)]
    equal(up_call(iter(pieces), timeout=LIMIT), b"".join(pieces))


def server_stream():
    messages = list(down_call(b"300 2000", timeout=LIMIT))
    equal(messages, [bytes([number % 256]) * 2000 for number in range(300)])


def both():
    """One message answers another: nothing may be held back."""
    turn = threading.Semaphore(1)

    def asked():
        for number in range(50):
            turn.acquire()
            yield str(number).encode()

    got = []
    for message in both_call(asked(), timeout=LIMIT):
        got.append(message)
        turn.release()
    equal(got, [str(number).encode() for number in range(50)])


def refused(call):
    try:
        call()
    except grpc.RpcError as error:
        return error
    raise AssertionError("it was not refused")


def status():
    for code in [code for code in grpc.StatusCode if code.value[0] != 0]:
        asked = (("x-status", str(code.value[0])),)
        calls = [lambda: unary_call(b"a", timeout=LIMIT, metadata=asked)]
        # After some messages, in trailers.
        calls.append(lambda: list(down_call(b"2 5", timeout=LIMIT, metadata=asked)))
        for call in calls:
            error = refused(call)
            equal((error.code(), error.details()), (code, "as asked: grüße"))


def how_it_ended(name):
    """What the server says of a call that waited, once it is over."""
    begin = time.monotonic()
    while time.monotonic() < begin + LIMIT:
        said = ended_call(name, timeout=LIMIT)
        if said.startswith(b"over"):
            return said
        time.sleep(0.01)
    raise AssertionError(f"the server does not know of its end: {said}")


def deadline():
    # Server, client and what is between them each have a clock; whichever is first, it is the deadline that is over.
    name = os.urandom(16).hex().encode()
    error = refused(lambda: wait_call(name, timeout=1.5))
    equal(error.code(), grpc.StatusCode.DEADLINE_EXCEEDED)
    # grpcio rounds it up.
    left = int(how_it_ended(name).split()[1])
    if not 0 < left <= 1600:
        raise AssertionError(f"the server had {left} ms")


def cancel():
    name = os.urandom(16).hex().encode()
    call = wait_call.future(name, timeout=LIMIT)
    while ended_call(name, timeout=LIMIT) != b"waits":
        equal(call.done(), False)
        time.sleep(0.01)
    call.cancel()
    how_it_ended(name)


def large():
    message = os.urandom(4 * 1024 * 1024)
    equal(unary_call(message, timeout=LIMIT), message)
    equal(list(both_call(iter([message] * 3), timeout=LIMIT)), [message] * 3)


def many():
    messages = [str(number).encode() * 1000 for number in range(100)]
    with ThreadPoolExecutor(100) as pool:
        equal(list(pool.map(lambda message: unary_call(message, timeout=LIMIT), messages)), messages)


report(
    "grpcio",
    {
        "unary": unary,
        "metadata": metadata,
        "clientStream": client_stream,
        "serverStream": server_stream,
        "both": both,
        "status": status,
        "deadline": deadline,
        "cancel": cancel,
        "large": large,
        "many": many,
    },
)
