"""A gRPC server of Python's grpcio, on a port that the kernel chooses, which it prints.

Messages are bytes as they are, so nothing has to be generated. With --broken it does each thing wrongly: the
control, which every check of every client must notice. Ends with its standard input.
"""

import concurrent.futures
import sys
import threading

import grpc

BROKEN = "--broken" in sys.argv
ENDED = {}
CODES = {code.value[0]: code for code in grpc.StatusCode}


def spoil(message):
    """The message, or in the control something else of the same length."""
    if not BROKEN or not message:
        return message
    return message[:-1] + bytes([message[-1] ^ 1])


def tell(context):
    """Says back what metadata came, before and after the messages; ends with the status that is asked for."""
    came = dict(context.invocation_metadata())
    if BROKEN:
        return
    if "x-say" in came:
        context.send_initial_metadata((("x-said", came["x-say"]), ("x-data-bin", came["x-data-bin"])))
        context.set_trailing_metadata((("x-after", came["x-say"]), ("x-data-bin", came["x-data-bin"])))
    if "x-status" in came:
        context.abort(CODES[int(came["x-status"])], "as asked: grüße")


def unary(message, context):
    tell(context)
    return spoil(message)


def up(messages, context):
    whole = b"".join(messages)
    tell(context)
    return spoil(whole)


def down(message, context):
    """`count size`: so many messages of so many bytes, each of its own number."""
    count, size = map(int, message.split())
    for number in range(count):
        yield spoil(bytes([number % 256]) * size)
    tell(context)


def both(messages, context):
    for message in messages:
        yield spoil(message)
    tell(context)


def wait(message, context):
    """Answers when the call is over, and remembers how that came: by the client, or by its deadline."""
    if BROKEN:
        return b"over"
    over = threading.Event()
    context.add_callback(over.set)
    left = context.time_remaining()
    ENDED[message] = b"waits"
    over.wait()
    ENDED[message] = b"over " + (b"-" if left is None or left > 1e6 else str(int(left * 1000)).encode())
    return b""


def ended(message, context):
    return ENDED.get(message, b"unknown")


METHODS = {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "Up": grpc.stream_unary_rpc_method_handler(up),
    "Down": grpc.unary_stream_rpc_method_handler(down),
    "Both": grpc.stream_stream_rpc_method_handler(both),
    "Wait": grpc.unary_unary_rpc_method_handler(wait),
    "Ended": grpc.unary_unary_rpc_method_handler(ended),
}
OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
server = grpc.server(concurrent.futures.ThreadPoolExecutor(120), options=OPTIONS)
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("lastcall.Test", METHODS),))
print(server.add_insecure_port("127.0.0.1:0"), flush=True)
server.start()
sys.stdin.read()
server.stop(0)
