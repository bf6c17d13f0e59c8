# SPDX-License-Identifier: BSD-3-Clause
"""--poll-us: a ring that had work is looked at for a while without kicks; then the driver is asked for them again."""
import json
import os
import subprocess
import time

import pytest

import blk as b
import servers
import vhost_user as vu
from vhost_user import must

pytestmark = pytest.mark.usefixtures("layout")
both = pytest.mark.parametrize("event_idx", [False, True], ids=["flags", "event-index"])
LONG = "--poll-us=1000000"


@both
def test_a_ring_that_had_work_needs_no_kicks(start, image, event_idx):
    serve = start(image, LONG)
    with b.driving(serve.path, event_idx=event_idx) as blk:
        blk.still_works()
        kicks = blk.kicks
        for n in range(20):
            must(blk.read(n, 512) == image.bytes[n * 512:n * 512 + 512], "wrong bytes")
        # a machine that is busy may keep one of the two from its processor for longer than that
        must(blk.kicks - kicks <= 3, f"{blk.kicks - kicks} kicks for 20 requests to a ring that is polled")


@both
def test_a_ring_without_work_asks_for_the_next_kick(start, image, event_idx):
    serve = start(image, "--poll-us=2000")
    with b.driving(serve.path, event_idx=event_idx) as blk:
        for n in range(5):
            blk.still_works()
            blk.front_end.stay(vu.QUIET / 4)
            kicks = blk.kicks
            must(blk.read(n, 512) == image.bytes[n * 512:n * 512 + 512], "wrong bytes")
            must(blk.kicks == kicks + 1, f"{blk.kicks - kicks} kicks for a request to a ring that sleeps")


def cpu(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


@pytest.mark.parametrize("options", [[], ["--poll-us=1000"], ["--poll-us=0"]], ids=["auto", "given", "never"])
def test_a_process_whose_rings_have_no_work_sleeps(start, image, options):
    serve = start(image, *options)
    with b.driving(serve.path) as blk:
        for n in range(50):
            blk.still_works(n % 8)
        blk.front_end.stay(0.05)
        before = cpu(serve.pid)
        blk.front_end.stay(1)
        must(cpu(serve.pid) - before <= 2, "it is busy although there is nothing to do")


def test_polling_starves_neither_messages_nor_other_queues_nor_the_disk(start, image):
    serve = start(image, LONG, "--num-queues=3")
    with b.driving(serve.path) as blk:
        others = [blk.sibling(1), blk.sibling(2)]
        for queue in others:
            queue.set_up_ring()
        for n in range(6):
            blk.still_works(n)
            for queue in others:
                queue.still_works(n)
            began = time.monotonic()
            blk.config()
            must(time.monotonic() - began < 0.2 * vu.SCALE, "a message waits while rings are polled")
        must(blk.stop_ring() == blk.ring.base, "a ring that is polled stops elsewhere")
        before = blk.memory.snapshot()
        blk.offer(blk.make(b.IN, 0, length=512), publish=False)
        before = blk.memory.snapshot()
        blk.front_end.stay(vu.QUIET / 4)
        blk.memory.must_change_only(before, [])


@both
def test_a_ring_is_not_polled_if_the_program_is_told_so(start, image, event_idx):
    serve = start(image, "--poll-us=0")
    with b.driving(serve.path, event_idx=event_idx) as blk:
        blk.still_works()
        for n in range(5):
            blk.front_end.stay(vu.QUIET / 4)
            kicks = blk.kicks
            must(blk.read(n, 512) == image.bytes[n * 512:n * 512 + 512], "wrong bytes")
            must(blk.kicks == kicks + 1, f"{blk.kicks - kicks} kicks for a request to a ring that sleeps")


def notifications(serve, layout, driver):
    """Kicks and calls, each by the requests of `viodma drive`, which makes them one after the other."""
    file = serve.path + ".json"
    ended = subprocess.run([servers.VIODMA, "drive", "blk", f"--socket-path={serve.path}", f"--{layout}", "--depth=1",
                            "--request=4096", "--requests=2000", f"--poll-us={driver}", "--quiet", f"--stats-json={file}",
                            "load"], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, check=False)
    must(ended.returncode == 0, f"exit status {ended.returncode}: {ended.stderr}")
    with open(file) as text:
        rings = json.load(text)["queues"]
    return rings["kicks"] / rings["got"], rings["calls"] / rings["got"]


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="not run: there is one processor")
def test_by_itself_it_polls_where_requests_come_soon(start, image, layout):
    serve = start(image)
    for _ in range(10):     # a machine that is busy may keep the two apart for longer than polling is for
        kicks, _ = notifications(serve, layout, "auto")
        if kicks < 0.9:
            return
    must(False, f"{kicks} kicks a request, although they follow each other closely")


def test_two_that_sleep_tell_each_other_of_every_request(start, image, layout):
    kicks, calls = notifications(start(image, "--poll-us=0"), layout, "0")
    must(kicks > 0.9 and calls > 0.5, f"{kicks} kicks and {calls} calls a request")
