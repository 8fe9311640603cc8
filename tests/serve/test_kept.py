import asyncio

import pytest

from inat.serve.kept import MOST, Kept
from inat.serve.worker import WorkerError


async def told(kept, key, stamp):
    """What is kept for the key once the attempt that this question begins has ended."""
    entry = kept.get(key, stamp)
    if entry.task:
        await entry.task
    return entry


def test_a_value_is_made_again_only_if_its_stamp_changes():
    made = []

    async def make(key):
        made.append(key)
        return len(made)

    async def run():
        kept = Kept(make, pause=0.0, share=0.0)
        return [(await told(kept, "a", stamp)).value for stamp in (1, 1, 2, 2)]

    assert asyncio.run(run()) == [1, 1, 2, 2]


def test_while_the_next_value_is_made_the_last_one_is_shown():
    async def run():
        gate = asyncio.Event()
        gate.set()

        async def make(key):
            await gate.wait()
            return object()

        kept = Kept(make, pause=0.0, share=0.0)
        first = (await told(kept, "a", 1)).value
        gate.clear()
        during = kept.get("a", 2)
        assert (during.value, during.task is not None) == (first, True)
        gate.set()
        assert (await told(kept, "a", 2)).value is not first

    asyncio.run(run())


def test_a_pause_follows_each_value():
    async def run():
        async def make(key):
            return object()

        kept = Kept(make, pause=60.0)
        first = (await told(kept, "a", 1)).value
        assert (await told(kept, "a", 2)).value is first

    asyncio.run(run())


@pytest.mark.parametrize(("error", "text"), [(WorkerError("no trial"), "no trial"), (KeyError("x"), "KeyError: 'x'")])
def test_a_failure_keeps_the_value_before_it(error, text):
    async def run():
        answers = [1]

        async def make(key):
            if not answers:
                raise error
            return answers.pop()

        kept = Kept(make, pause=0.0, share=0.0)
        await told(kept, "a", 1)
        entry = await told(kept, "a", 2)
        return entry.value, entry.error

    assert asyncio.run(run()) == (1, text)


def test_the_values_asked_for_longest_ago_go_first():
    async def run():
        made = []

        async def make(key):
            made.append(key)
            return key

        kept = Kept(make, pause=0.0)
        for key in range(MOST + 2):
            await told(kept, key, 1)
        await told(kept, MOST + 1, 1)
        await told(kept, 0, 1)
        return made

    assert asyncio.run(run()) == [*range(MOST + 2), 0]
