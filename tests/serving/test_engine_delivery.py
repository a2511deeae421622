"""However many events a step brings, the loop is woken once, and all of them come in order."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from serving.engines.delivery import Delivery


class Counted:
    """A loop that counts how often another thread wakes it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.woken = 0

    def is_closed(self) -> bool:
        return self.loop.is_closed()

    def call_soon_threadsafe(self, callback: Callable[[], object], /) -> object:
        self.woken += 1
        return self.loop.call_soon_threadsafe(callback)


async def test_the_loop_is_woken_once_for_many_events_and_gets_them_in_order() -> None:
    loop = Counted(asyncio.get_running_loop())
    delivery = Delivery(loop)
    got: list[int] = []

    def post() -> None:
        for number in range(100):
            delivery.post(got.append, number)

    thread = threading.Thread(target=post)
    thread.start()
    thread.join()  # the loop is busy meanwhile
    await asyncio.sleep(0.01)
    assert got == list(range(100))
    assert loop.woken == 1


def test_what_comes_after_the_loop_has_closed_harms_nobody() -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    got: list[int] = []
    Delivery(loop).post(got.append, 1)
    assert got == []
