"""A proxy that loses things: latency, connections reset before and after the server has acted, requests
cut off in the middle, silence.

usage: fault_proxy.py PORT UPSTREAM_PORT PERCENT SEED LOG [FAULT]

A PERCENT of the pieces that clients send meet a fault, or this FAULT. Each becomes a line of the file LOG.
"""

import asyncio
import random
import sys

port, upstream, percent, seed = map(int, sys.argv[1:5])
log = open(sys.argv[5], "a", buffering=1)
dice = random.Random(seed)
FAULTS = sys.argv[6:] or ["late", "late", "refused", "lost", "silent", "torn"]


async def replies(reader, writer, swallow):
    while data := await reader.read(1 << 16):
        if swallow.is_set():
            writer.transport.abort()
            return
        writer.write(data)
        await writer.drain()


async def handle(reader, writer):
    back, forth = None, None
    try:
        back, forth = await asyncio.open_connection("127.0.0.1", upstream)
        swallow = asyncio.Event()
        answering = asyncio.create_task(replies(back, writer, swallow))
        while data := await reader.read(1 << 16):
            fault = dice.choice(FAULTS) if dice.random() * 100 < percent else None
            if fault:
                print(fault, file=log)
            if fault == "late":
                await asyncio.sleep(dice.random() * 0.5)
            elif fault == "refused":
                break
            elif fault == "silent":
                await asyncio.sleep(2)
                break
            elif fault == "torn":
                forth.write(data[: len(data) // 2])
                await forth.drain()
                break
            elif fault == "lost":
                swallow.set()
            forth.write(data)
            await forth.drain()
        if not swallow.is_set():
            answering.cancel()
        await asyncio.gather(answering, return_exceptions=True)
    except OSError:
        pass
    finally:
        for side in (writer, forth):
            if side:
                side.transport.abort()


async def main():
    server = await asyncio.start_server(handle, "127.0.0.1", port)
    await server.serve_forever()


asyncio.run(main())
