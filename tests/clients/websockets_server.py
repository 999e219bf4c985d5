"""A WebSocket server of Python's websockets that sends back what comes. Prints its port; ends with its input."""

import asyncio
import logging
import sys

from websockets.asyncio.server import serve

# What clients do wrongly is what is tested; it is told in close frames.
logging.getLogger("websockets").addHandler(logging.NullHandler())
logging.getLogger("websockets").propagate = False


async def echo(socket):
    async for message in socket:
        await socket.send(message)


async def main():
    options = {"compression": None, "max_size": None, "ping_interval": None, "close_timeout": 5}
    async with serve(echo, "127.0.0.1", 0, **options) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


asyncio.run(main())
