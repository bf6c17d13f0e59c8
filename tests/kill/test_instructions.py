# SPDX-License-Identifier: BSD-3-Clause
"""A back end killed at any instruction, one of its own: nothing is lost, and nothing repeated but what was in flight.

How it works
  In the middle of a load a stepper takes the back end, and kills it N of its instructions later (instructions.py); the
  next one takes over. N is random, and so is what counts: every instruction; those of rings and record; those around the
  used element; or, from before there is a connection on, those that find out where the one before was killed. What has
  to hold is in survivor.py. Each life prints its seed and the functions in which it died: VIODMA_SEED=N does it again.
  The processes' timing is theirs, so again is not the same, but it is as many.
"""
import collections
import os
import random

import pytest

import instructions
import servers
import survivor as survivors
import vhost_user as vu
from survivor import Survivor
from test_kill import disk, layouts, options  # noqa: F401
from vhost_user import Violation

LIVES = {"split": {"packed": False}, "packed": {"packed": True},
         "split-in-order": {"packed": False, "in_order": True}, "packed-in-order": {"packed": True, "in_order": True}}
KILLS, MANY = 9, 130        # of each of four lives
lives = pytest.mark.parametrize("life", LIVES)
falls = collections.Counter()


@pytest.fixture(scope="module")
def helper(tmp_path_factory):
    return instructions.build(str(tmp_path_factory.mktemp("stepper")))


@pytest.fixture(scope="module", autouse=True)
def summary():
    yield
    print(f"\n{sum(falls.values())} kills, by what was being executed (*: rings and record):")
    for (name, matters), count in falls.most_common():
        print(f"{count:6} {'*' if matters else ' '} {name}")


def ways(chance, program, packed, count):
    """What counts; and for a stepper: from how many returns and which function on, how many of what."""
    split_or_packed = "packed" if packed else "split"
    names = None, instructions.RETURNING, instructions.RESUMING
    rings, returning, resuming = map(program.ranges, names)
    begins = program.function(f"viodma_inflight_{split_or_packed}_returning"), program.function("viodma_record_resume")
    found = {"any": lambda: (chance.randrange(1, 4), chance.randrange(1, 8000), []),
             "rings": lambda: (chance.randrange(1, 4), chance.randrange(1, 1500), rings),
             "returning": lambda: (chance.randrange(1, 4), chance.randrange(1, 250), returning, begins[0]),
             "resuming": lambda: (0, int(2 ** chance.uniform(0, 10)), resuming, begins[1])}
    order = ["any", *["rings"] * 4, *["returning"] * 3, "resuming"]
    while count:
        chance.shuffle(order)
        for how in order[:count]:
            yield how, found[how]()
        count -= min(count, len(order))


def live(tmp, disk, helper, kills, life, only=None, **how_to_start):
    seed = int(os.environ.get("VIODMA_SEED", random.randrange(1 << 32)))
    survivor = Survivor(tmp, disk, seed=seed, iommu=seed % 2 == 0, event_idx=seed // 2 % 2 == 0, **LIVES[life],
                        **how_to_start)
    program = instructions.Program(survivor.program or servers.VIODMA)
    chance, fell = survivor.random, []
    print(f"VIODMA_SEED={seed}, {life}, bit 33 {'set' if seed % 2 == 0 else 'clear'}")
    try:
        for how, steps in ways(chance, program, LIVES[life]["packed"], kills):
            if only and how != only:
                continue
            fall = survivor.live_until(lambda pid: instructions.Stepper(helper, program, pid, *steps),
                                       chance.uniform(0, 0.02), how == "resuming", *options(chance))
            fell.append(fall)
            print(f"  {how:9} {fall.counted:5} of {fall.steps:6} instructions: {fall.where}")
        survivor.finish(*options(chance))
    finally:
        survivor.close()
    return fell


def must_reach(fell):
    """Most kills fall where the rings and the record are worked on."""
    falls.update((fall.where, fall.matters) for fall in fell)
    assert sum(fall.matters for fall in fell) * 2 > len(fell)


@lives
def test_nothing_is_lost_at_random_instructions(tmp, disk, helper, life):
    must_reach(live(tmp, disk, helper, KILLS, life))


@pytest.mark.slow
@lives
def test_nothing_is_lost_at_however_many_instructions(tmp, disk, helper, life):
    fell = live(tmp, disk, helper, MANY, life)
    must_reach(fell)
    names = {fall.where for fall in fell}
    for needed in ("returning", "returned", "put_used", "resume"):
        assert any(needed in name for name in names), f"no kill fell into {needed}: {sorted(names)}"


def test_a_process_that_cannot_be_traced_fails_the_test_by_name(tmp, disk, helper):
    survivor = Survivor(tmp, disk, packed=False, iommu=False, event_idx=False, seed=1)
    program = instructions.Program(servers.VIODMA)
    try:
        survivor.start()
        first = instructions.Stepper(helper, program, survivor.serve.pid, 1, 1, [])
        with pytest.raises(instructions.Cannot, match="ptrace"):        # one tracer at a time
            instructions.Stepper(helper, program, survivor.serve.pid, 1, 1, [])
        first.end()
    finally:
        survivor.close()


# ---- twins: a record that is written out of order -------------------------------------------------------------------

TWIN = os.path.join(os.path.dirname(servers.VIODMA), "tests", "kill", "viodma-out-of-order")


@layouts
@pytest.mark.parametrize("order", ["early", "late"])
def test_a_record_out_of_order_is_noticed(tmp, disk, helper, order, packed, monkeypatch):
    servers.needs(TWIN)
    monkeypatch.setattr(vu, "PATIENCE", 5 * vu.SCALE)
    monkeypatch.setattr(survivors, "STEPPING_PATIENCE", 8 * vu.SCALE)
    twin = {"program": TWIN, "env": {"VIODMA_OUT_OF_ORDER": order}}
    life = "packed" if packed else "split"
    live(tmp, disk, helper, 0, life, **twin)        # without a kill nothing shows
    with pytest.raises(Violation) as noticed:
        for _ in range(6):
            live(tmp, disk, helper, 36, life, only="returning", **twin)
    print(f"noticed: {str(noticed.value).splitlines()[0]}")
