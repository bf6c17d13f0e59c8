# SPDX-License-Identifier: BSD-3-Clause
"""Every case of `viodma check device`: passes on our own device, and fails on the one that breaks just its rule.

How it works: mutants.py says for each case which device that is. One test goes through all of them and prints the score; a
case without a mutant fails it, and so does a mutant of a case that is not there. Against the sound device all cases are played
over serve options that let each of them happen; where one is not played, the reason is one of those that are known here.
"""
import pytest

import devices
import mutants

TIMEOUT_MS = "400"  # of a mutant: it is expected to be silent

OFFERED = dict.fromkeys(["platform-not-offered", "update-without-platform"], "bit 33 is offered")

# Ways to serve, and which cases cannot be played there: their reason.
WAYS = {
    "usual": ("blk", ["--in-order", "--num-queues", "2"], OFFERED),
    "copies": ("blk", ["--in-order", "--num-queues", "2", "--copy"], OFFERED),
    "workers": ("blk", ["--in-order", "--num-queues", "2", "--workers", "2"], OFFERED),
    "one-queue": ("blk", ["--poll-us", "0"], {**OFFERED, "two-queues": "there is one queue",
                                              "in-order": "IN_ORDER is not offered"}),
    "no-platform": ("blk", ["--platform-dma=off"], None),
    "rng": ("rng", [], None),
}


def not_passed(outcomes, known):
    """What is neither passed nor left out for a reason that is known; known None: any reason will do."""
    wrong = []
    for case, rings in outcomes.items():
        for ring, (verdict, why) in rings.items():
            if verdict == "pass" or (verdict == "not exercised" and (known is None or why == known.get(case))):
                continue
            if known is None and verdict == "observation":
                continue
            wrong.append(f"{case} {ring or ''}: {verdict}: {why}")
    return wrong


def sound(viodma, way):
    kind, options, known = WAYS[way]
    with devices.served(viodma, kind, options) as socket:
        outcomes, status = devices.check(viodma, socket, kind=kind)
    assert not_passed(outcomes, known) == []
    assert status == 0
    return {case for case, rings in outcomes.items() if any(verdict == "pass" for verdict, _ in rings.values())}


@pytest.fixture(scope="module")
def passed():
    """What passed, by way; filled in as tests go."""
    return {}


@pytest.mark.parametrize("way", WAYS)
def test_a_sound_device_passes(viodma, way, passed):
    passed[way] = sound(viodma, way)


def test_each_case_passes_somewhere(viodma, cases, passed):
    ways = {way: passed.get(way) or sound(viodma, way) for way in ("usual", "no-platform")}
    assert set(cases) - set.union(*ways.values()) == set()


@pytest.mark.slow
@pytest.mark.parametrize("way", ["usual", "copies", "workers"])
def test_the_verdicts_are_the_same_20_times(viodma, way):
    for _ in range(20):
        sound(viodma, way)


def play(viodma, viodma_test, case):
    """What became of it: {ring: (verdict, why)}."""
    with devices.served(viodma_test, options=mutants.MUTANTS[case].serve, mutant=mutants.selected(case)) as socket:
        return devices.check(viodma, socket, "--only", case, "--timeout-ms", TIMEOUT_MS)[0].get(case, {})


def noticed(rings):
    """It fails; over the other ring layout, too, unless the device is gone."""
    verdicts = [verdict for verdict, _ in rings.values()]
    return "fail" in verdicts and set(verdicts) <= {"fail", "not exercised"}


def test_every_case_fails_on_its_mutant(viodma, viodma_test, cases, capsys):
    missed = {}
    for case in cases:
        rings = play(viodma, viodma_test, case) if case in mutants.MUTANTS else "there is none"
        if rings == "there is none" or not noticed(rings):
            missed[case] = rings
    with capsys.disabled():
        print(f"\nmutant score: {len(cases) - len(missed)} of {len(cases)}")
    assert missed == {}
    assert set(mutants.MUTANTS) - set(cases) == set()


def test_what_is_noticed_is_noticed_for_a_reason(viodma, viodma_test):
    """The test build without a mutant is sound; a mutant of another case does not fail this one."""
    with devices.served(viodma_test) as socket:
        assert devices.check(viodma, socket, "--only", "used-length,lie-head,invalidated")[1] == 0
    with devices.served(viodma_test, mutant="stop-base") as socket:
        assert devices.check(viodma, socket, "--only", "invalidated,lie-head,platform-declined")[1] == 0


def test_a_case_that_is_not_played_is_not_noticed():
    assert not noticed({})
    assert not noticed({"split": ("not exercised", "")})
    assert not noticed({"split": ("fail", ""), "packed": ("pass", "")})
    assert not noticed({"split": ("fail", ""), "packed": ("observation", "")})
    assert noticed({"split": ("fail", ""), "packed": ("not exercised", "gone")})
