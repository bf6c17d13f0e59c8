# SPDX-License-Identifier: BSD-3-Clause
"""What any good block device does: the same journeys on viodma and on third parties' back ends."""
import vhost_user as vu
from blk import FLUSH, GET_ID, IN, OK, OUT, SECTOR, UNSUPP, pattern
from driver import PAGE, RO, WO, WRITE
from vhost_user import must


def reads_what_the_image_holds(blk, image):
    for sector, length in ((0, 512), (1, 512), (7, 4096), (100, 65536), (image.size // 512 - 1, 512)):
        must(blk.read(sector, length) == image.bytes[sector * 512:sector * 512 + length],
             f"sector {sector}: other bytes than the image's")


def writes_reach_the_image(blk, image):
    expected = bytearray(image.bytes)
    for n, (sector, length) in enumerate(((0, 512), (9, 4096), (64, 65536), (image.size // 512 - 1, 512))):
        data = pattern(length, seed=n)
        blk.write(sector, data)
        expected[sector * 512:sector * 512 + length] = data
        must(blk.read(sector, length) == data, f"sector {sector}: written bytes do not come back")
    blk.flush()
    image.must_be(expected)


def many_in_flight(blk, image, rounds=4, each=12):
    """Fills the queue with reads again and again, answered in any order."""
    for n in range(rounds):
        batch = [blk.make(IN, (n * each + i) * 3, length=2 * SECTOR) for i in range(each)]
        for request in batch:
            blk.offer(request)
        for request in batch:
            must(blk.wait(request) == OK, "a read failed")
            at = request.sector * 512
            must(blk.data(request) == image.bytes[at:at + 2 * SECTOR], "a read returned other bytes")


def header_split_over_descriptors(blk, image):
    """A header of 1 + 5 + 10 bytes, and the data in three unequal parts, at odd places."""
    memory, m = blk.memory, blk.domain.map
    request = blk.make(IN, 5, data_at=[(memory.alloc(100, 77), 100), (memory.alloc(900, 4001), 900),
                                       (memory.alloc(24, 4090), 24)])
    head = [(request.header, 1), (request.header + 1, 5), (request.header + 6, 10)]
    request.chain = [(m(phys, n, RO), n, 0) for phys, n in head]
    request.chain += [(m(phys, n, WO), n, WRITE) for phys, n in request.data]
    request.chain += [(m(request.status, 1, WO), 1, WRITE)]
    must(blk.run(request) == OK, "a split header was not understood")
    must(request.used == 1025, f"used length {request.used}")
    must(blk.data(request) == image.bytes[5 * 512:7 * 512], "other bytes than the image's")


def header_and_data_share_a_descriptor(blk, image):
    """A write whose header and data are one descriptor; a read whose data and status are one."""
    memory, m = blk.memory, blk.domain.map
    place = memory.alloc(16 + 512, 0x301)
    data = pattern(512, seed=99)
    request = blk.make(OUT, 40, data_at=[])
    memory.write(place, memory.read(request.header, 16) + data)
    request.chain = [(m(place, 528, RO), 528, 0), (m(request.status, 1, WO), 1, WRITE)]
    must(blk.run(request) == OK, "header and data in one descriptor were not understood")
    place = memory.alloc(513, 0x3fe)
    request = blk.make(IN, 40, data_at=[(place, 512)])
    request.status = place + 512
    memory.write(request.status, b"\xee")
    request.chain = [(m(request.header, 16, RO), 16, 0), (m(place, 513, WO), 513, WRITE)]
    must(blk.run(request) == OK, "data and status in one descriptor were not understood")
    must(blk.data(request) == data, "what was written does not come back")


def data_over_both_regions(blk, image):
    """One request whose parts lie in both memory regions, alternating."""
    parts = [(blk.memory.alloc(512, 8 * i + 5, region=i % 2), 512) for i in range(8)]
    request = blk.make(IN, 11, data_at=parts)
    must(blk.run(request) == OK, "a request over both regions failed")
    must(blk.data(request) == image.bytes[11 * 512:19 * 512], "other bytes than the image's")


def indirect_requests(blk, image):
    data = pattern(8192, seed=3)
    blk.write(200, data, indirect=True)
    must(blk.read(200, 8192, indirect=True) == data, "indirect: other bytes came back")
    parts = [(blk.memory.alloc(512, 3 * i), 512) for i in range(24)]
    request = blk.make(IN, 200, data_at=parts)
    must(blk.run(request, indirect=True) == OK, "a request of 26 indirect descriptors failed")
    must(blk.data(request)[:8192] == data, "indirect: other bytes came back")


def event_index_saves_kicks_and_calls(blk, image):
    """Kicks only when asked for; calls only where used_event says so."""
    fe, ring = blk.front_end, blk.ring
    for n in range(40):
        blk.still_works(n)
    ring.wants_calls = False
    fe.stay(0.02)
    calls = fe.events[blk.call_fd]
    ring.call_after(3)          # call at the fourth from here
    for n in range(3):
        blk.still_works(n)
    fe.stay(vu.QUIET / 2)
    must(fe.events[blk.call_fd] == calls, "a call though used_event lies ahead")
    blk.still_works(3)
    fe.wait_until(lambda: fe.events[blk.call_fd] == calls + 1, "the one call at used_event")


def unknown_type_is_unsupported(blk, image):
    request = blk.make(77, 0, length=512)
    must(blk.run(request) == UNSUPP, "an unknown request type was not answered with UNSUPP")


def get_id_is_padded_with_nul(blk, image):
    """Text, then nothing but NUL; an empty id is one, too."""
    must(b"\0" not in blk.get_id(20).rstrip(b"\0"), "NUL within the id")
