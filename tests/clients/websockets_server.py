"""A WebSocket server of Python's websockets that sends back what comes. Prints its port; ends with its input.

It drives the library's protocol itself: the library's own server gives messages to another task, and whether that
answers before a close behind them is seen depends on how the bytes fall into reads."""

import asyncio
import logging
import sys

from websockets.frames import Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

# What clients do wrongly is what is tested; it is told in close frames.
logging.getLogger("websockets").addHandler(logging.NullHandler())
logging.getLogger("websockets").propagate = False


class Echo(ServerProtocol):
    """Answers each message before it reads what is behind it."""

    def __init__(self):
        super().__init__(max_size=None)
        self.kind, self.message = None, bytearray()

    def recv_frame(self, frame):
        # Refuses what may not come.
        super().recv_frame(frame)
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY):
            self.kind = frame.opcode
        if frame.opcode not in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            return
        self.message += frame.data
        if not frame.fin:
            return
        message, self.message = bytes(self.message), bytearray()
        if self.kind == Opcode.TEXT:
            # What is no UTF-8 ends the connection.
            message.decode()
            self.send_text(message)
        else:
            self.send_binary(message)


class Connection(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.echo = transport, Echo()

    def data_received(self, data):
        self.echo.receive_data(data)
        self.answer()

    def eof_received(self):
        self.echo.receive_eof()
        self.answer()

    def answer(self):
        for event in self.echo.events_received():
            if isinstance(event, Request):
                self.echo.send_response(self.echo.accept(event))
        for data in self.echo.data_to_send():
            if data:
                self.transport.write(data)
            else:
                self.transport.write_eof()


async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


asyncio.run(main())
