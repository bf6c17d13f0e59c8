#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Write the seed corpus: fuzz/make-corpus.py [DIRECTORY] (default: fuzz/corpus).

How it works: each target reads its input as a sequence of small fields (see the top of fuzz_*.c); the functions here
write the same fields by name, so that a seed is a sentence: a ring with these descriptors, then these operations. The
files are made, never edited; a name says what the seed does.
"""

import pathlib
import struct
import sys

NEXT, WRITE, INDIRECT = 1, 2, 4


def u16(value):
    return struct.pack("<H", value & 0xFFFF)


def u32(value):
    return struct.pack("<I", value & 0xFFFFFFFF)


# --- walker -------------------------------------------------------------------

POP, USE, GRANTED, REFUSED, STOP, KICK, STORE = 2, 5, 7, 8, 9, 10, 11
COPY, EVENT, NO_INDIRECT, SMALL, HEADS_IN_RANGE, PREGRANTED = 4, 8, 16, 32, 0x40, 0x80
PACKED, IN_ORDER, ORDER_PLATFORM, ODD = 1, 2, 4, 8


def descriptor(flags=0, page=32, offset=0, length=64, following=0, *, bus=None, long=False, table=False, whole=False):
    kind = flags | (0x80 if bus is not None else 0) | (0x40 if long else 0) | (0x20 if whole else 0)
    kind |= 0x10 if table else 0
    wire = bytes([kind, page]) + u16(offset) + bytes([following]) + u16(length)
    if bus is not None:
        wire += u32(bus >> 32) + u32(bus)
    return wire + (u32(length) if long else b"")


def walker(options, available, heads, descriptors, operations, layout=0):
    heads = list(heads) + [0] * (16 - len(heads))
    descriptors = list(descriptors) + [descriptor()] * (16 - len(descriptors))
    wire = bytes([options, layout, available]) + b"".join(u16(h) for h in heads) + b"".join(descriptors)
    return wire + b"".join(bytes(o) for o in operations)


def walker_seeds():
    chain = [descriptor(NEXT, 32, 0, 16, 1), descriptor(NEXT | WRITE, 33, 100, 512, 2), descriptor(WRITE, 34, 0, 1)]
    plain = chain + [descriptor(0, 35, 8, 32), descriptor(WRITE, 36, 4000, 300)]
    tables = [descriptor(INDIRECT, 16, 0, 48, 0)] + [
        descriptor(NEXT, 32, 0, 16, 1, table=True), descriptor(WRITE, 33, 0, 64, 0, table=True)]
    finish = [(POP, 0), (POP, 0), (USE, 0), (USE, 1), (USE, 2), (KICK, 0)]
    asked = [(POP, 0), (GRANTED, 0)] * 6
    yield "chain-granted", walker(PREGRANTED | HEADS_IN_RANGE, 2, [0, 3], plain, finish)
    yield "chain-physical", walker(2 | HEADS_IN_RANGE, 2, [0, 3], plain, finish)
    yield "chain-asked", walker(HEADS_IN_RANGE, 2, [0, 3], plain, asked + finish + asked)
    yield "chain-copied", walker(COPY | HEADS_IN_RANGE, 3, [0, 3, 4], plain, asked + [(1, 33)] + finish + asked)
    yield "chain-refused", walker(HEADS_IN_RANGE, 1, [0], plain, asked[:8] + [(POP, 0), (REFUSED, 0), (POP, 0), (USE, 1)])
    yield "small-iotlb", walker(SMALL | HEADS_IN_RANGE, 3, [0, 3, 4], plain, asked * 3 + finish)
    yield "few-segments", walker(1 | PREGRANTED, 1, [0], [
        *(descriptor(NEXT, 32 + i, 0, 16, i + 1) for i in range(6)), descriptor(WRITE, 40, 0, 1)], finish)
    yield "indirect", walker(PREGRANTED | HEADS_IN_RANGE, 1, [0], tables, finish)
    yield "indirect-asked", walker(HEADS_IN_RANGE, 1, [0], tables, asked + finish)
    yield "indirect-refused", walker(HEADS_IN_RANGE, 1, [0], tables, asked[:6] + [(POP, 0), (REFUSED, 1), (POP, 0), (USE, 1)])
    yield "indirect-not-negotiated", walker(NO_INDIRECT | PREGRANTED, 1, [0], tables, finish)
    yield "nested-table", walker(PREGRANTED, 1, [0], [
        descriptor(INDIRECT, 16, 0, 16), descriptor(INDIRECT, 16, 256, 16, table=True)], finish)
    yield "loop", walker(PREGRANTED, 1, [0], [descriptor(NEXT, 32, 0, 16, 1), descriptor(NEXT, 32, 0, 16, 0)], finish)
    yield "next-beyond", walker(PREGRANTED, 1, [0], [descriptor(NEXT, 32, 0, 16, 16)], finish)
    yield "head-beyond", walker(PREGRANTED, 1, [999], plain, finish)
    yield "index-ahead", walker(PREGRANTED, 17, [0], plain, finish)
    yield "order", walker(PREGRANTED, 1, [0], [descriptor(WRITE | NEXT, 32, 0, 4, 1), descriptor(0, 33)], finish)
    yield "wrap", walker(PREGRANTED, 1, [0], [descriptor(0, 0, 0, 64, 0, bus=2**64 - 32)], finish)
    yield "four-gib", walker(PREGRANTED, 1, [0], [
        descriptor(NEXT, 32, 0, 2**32 - 1, 1, long=True), descriptor(WRITE, 33, 0, 2)], finish)
    yield "empty", walker(PREGRANTED, 1, [0], [descriptor(0, 32, 0, 0)], finish)
    yield "twice", walker(PREGRANTED | EVENT, 2, [3, 3], plain, finish)
    yield "stopped", walker(HEADS_IN_RANGE, 3, [0, 3, 4], plain, [
        (0, 35), *asked[:6], (POP, 0), (USE, 0), (STOP, 0), *asked, *finish, (STOP, 255), *finish])
    yield "revoked", walker(PREGRANTED | EVENT, 2, [0, 3], plain, [
        (POP, 0), (1, 10), (1, 33), (USE, 0), (POP, 0), (GRANTED, 0), *asked, *finish])
    yield "refused-direction", walker(PREGRANTED, 1, [0], chain, [(POP, 0), (REFUSED, 0), (POP, 0), (USE, 0)])
    yield "physical-address", walker(PREGRANTED, 1, [0], [descriptor(0, 0, 0, 64, 0, bus=0x40000000 + 50 * 4096)], [
        (1, 50), (POP, 0), (REFUSED, 0), (POP, 0), (USE, 0)])
    yield "used-too-long", walker(PREGRANTED, 1, [0], [descriptor(NEXT, 32, 0, 16, 1), descriptor(WRITE, 34, 0, 64)], [
        (POP, 0), (41, 0), (POP, 0)])  # 41: push with a length beyond all bounds
    yield "changing", walker(PREGRANTED, 2, [0, 3], plain, [
        (POP, 0), (STORE, 1, *u16(8), *u32(0xFFFFFFFF)), (POP, 0), (STORE, 8, *u16(2), *u32(9)), *finish])


# --- blk ----------------------------------------------------------------------

IN, OUT, FLUSH, GET_ID = 0, 0x40, 0x80, 0xC0
HEADER, STATUS, SECTORS, ANY = 0, 1, 2, 3
W = 4


def piece(kind, writable=False, sectors=1, size=0):
    return bytes([kind | (W if writable else 0) | (sectors - 1) * 64]) + u16(size)


def request(kind, sector, pieces, then=0, header=None):
    wire = bytes([kind | (len(pieces) - 1) | (8 if header is not None else 0), sector])
    return wire + (header or b"") + b"".join(pieces) + bytes([then])


def packed_walker_seeds():
    """The same rings, packed: descriptors one after the other, a buffer id where `following` is."""
    one = [descriptor(NEXT, 32, 0, 16, 7), descriptor(NEXT | WRITE, 35, 100, 512, 7), descriptor(WRITE, 38, 0, 1, 7)]
    plain = one + [descriptor(0, 41, 8, 32, 3), descriptor(WRITE, 44, 4000, 90, 15)]
    table = [descriptor(INDIRECT, 16, 0, 48, 2), descriptor(0, 32, 0, 16, 0, table=True),
             descriptor(WRITE, 33, 0, 64, 0, table=True)]
    finish = [(POP, 0), (POP, 0), (POP, 0), (USE, 7), (USE, 3), (USE, 0), (KICK, 0)]
    asked = [(POP, 0), (GRANTED, 0)] * 8
    for name, layout in (("packed", PACKED), ("packed-in-order", PACKED | IN_ORDER), ("packed-odd", PACKED | ODD),
                         ("packed-platform", PACKED | ORDER_PLATFORM)):
        yield f"{name}-granted", walker(PREGRANTED | EVENT, 5, [], plain, finish, layout)
        yield f"{name}-asked", walker(0, 5, [], plain, asked + finish + asked, layout)
        yield f"{name}-copied", walker(COPY, 5, [], plain, asked + [(1, 33)] + finish + asked, layout)
        yield f"{name}-table", walker(PREGRANTED, 1, [], table, finish, layout)
        yield f"{name}-stopped", walker(0, 5, [], plain, [
            *asked, (USE, 3), (STOP, 0), *asked, *finish, (STOP, 255), *finish], layout)
    yield "packed-physical", walker(2, 5, [], plain, finish, PACKED)
    yield "packed-endless", walker(PREGRANTED, 16, [], [descriptor(NEXT, 32, 0, 16, i) for i in range(16)], finish, PACKED)
    yield "packed-half", walker(PREGRANTED, 2, [], one, finish, PACKED)
    yield "packed-id-beyond", walker(PREGRANTED, 1, [], [descriptor(0, 32, 0, 16, 16)], finish, PACKED)
    yield "packed-id-twice", walker(PREGRANTED, 2, [], [descriptor(0, 32, 0, 16, 4)] * 2, finish, PACKED)
    yield "packed-order", walker(PREGRANTED, 2, [], [descriptor(WRITE | NEXT, 32, 0, 4, 1), descriptor(0, 33)], finish, PACKED)
    yield "packed-not-negotiated", walker(NO_INDIRECT | PREGRANTED, 1, [], table, finish, PACKED)
    yield "packed-revoked", walker(PREGRANTED | EVENT, 5, [], plain, [
        (POP, 0), (1, 1), (1, 35), (USE, 7), (POP, 0), (GRANTED, 0), *asked, *finish], PACKED)
    yield "packed-used-too-long", walker(PREGRANTED, 3, [], one, [(POP, 0), (41, 0), (POP, 0)], PACKED)
    yield "packed-refused-direction", walker(PREGRANTED, 2, [], [one[0], descriptor(WRITE, 33, 0, 64, 7)], [(POP, 0), (REFUSED, 0), (POP, 0), (USE, 0)], PACKED)
    yield "packed-physical-address", walker(PREGRANTED, 1, [], [descriptor(0, 0, 0, 64, 0, bus=0x40000000 + 50 * 4096)], [
        (1, 50), (POP, 0), (REFUSED, 0), (POP, 0), (USE, 0)], PACKED)
    yield "packed-two-laps", walker(PREGRANTED, 11, [], [descriptor(WRITE, 40 + i, 0, 64, i) for i in range(11)], [
        *[(POP, 0)] * 11, *[(USE, i) for i in range(11)], (STOP, 255), *[(POP, 0)] * 3, (KICK, 0)], PACKED | ODD)


def blk_seeds():
    read = request(IN, 3, [piece(HEADER), piece(SECTORS, True, 2), piece(STATUS, True)], 4)
    write = request(OUT, 5, [piece(HEADER), piece(SECTORS, False, 4), piece(STATUS, True)], 4)
    flush = request(FLUSH, 0, [piece(HEADER), piece(STATUS, True)], 1 | 4)
    ident = request(GET_ID, 0, [piece(HEADER), piece(ANY, True, size=20), piece(STATUS, True)], 4)
    for name, options in (("physical", 0), ("asked", 1), ("scattered", 3), ("copied", 7), ("events", 9), ("packed", 65),
                          ("packed-copied", 71), ("packed-events", 73), ("in-order", 129), ("packed-in-order", 193)):
        yield f"all-{name}", bytes([options]) + read + write + flush + ident
    yield "packed-late", bytes([65]) + request(IN, 1, [piece(HEADER), piece(SECTORS, True), piece(STATUS, True)], 1 | 4 | 8) + read
    yield "read-only", bytes([17]) + write + read
    yield "no-flush", bytes([33]) + write + flush
    yield "late", bytes([1]) + request(IN, 1, [piece(HEADER), piece(SECTORS, True), piece(STATUS, True)], 1 | 4 | 8) + read
    yield "failed", bytes([7]) + request(OUT, 1, [piece(HEADER), piece(SECTORS), piece(STATUS, True)], 2 | 4)
    yield "short-header", bytes([1]) + request(IN, 0, [piece(ANY, size=15), piece(SECTORS, True), piece(STATUS, True)], 4)
    yield "no-status", bytes([1]) + request(OUT, 0, [piece(HEADER), piece(SECTORS)], 4)
    yield "odd-length", bytes([1]) + request(IN, 0, [piece(HEADER), piece(ANY, True, size=700), piece(STATUS, True)], 4)
    yield "beyond", bytes([0]) + request(IN, 64, [piece(HEADER), piece(SECTORS, True), piece(STATUS, True)], 4)
    yield "split", bytes([3]) + request(IN, 2, [piece(HEADER), piece(ANY, True, size=100), piece(ANY, True, size=412),
                                               piece(STATUS, True)], 4)
    for kind in (1, 4, 11, 0xFFFFFFFF):
        header = u32(kind) + u32(0) + b"\xff" * 8
        yield f"type-{kind:x}", bytes([1]) + request(IN, 0, [piece(HEADER), piece(SECTORS, True), piece(STATUS, True)], 4,
                                                    header)


# --- messages -----------------------------------------------------------------

BIT33, EVENTS, COPIES, REQUIRED, HANDSHAKE, RING, PACKED_RING, RECORD = 1, 2, 4, 8, 16, 32, 64, 128
RAW, MEMORY, UPDATE, INVALIDATE, KICKED, LET_GO, START, ANSWER, GREET = 0, 2, 3, 4, 5, 6, 7, 8, 9


def raw(kind, payload=b"", options=1, size=0):
    return bytes([RAW, 0, kind, options, size]) + payload


def store(offset, data):
    """Into the front end's memory, at a multiple of 64 bytes, and of 4096 for code / 10."""
    page, rest = divmod(offset, 4096)
    return bytes([MEMORY + 10 * page, rest // 64]) + data.ljust(32, b"\0")[:32]


def do(code, operand=0):
    return bytes([code, operand])


def messages_seeds():
    begun = HANDSHAKE | RING
    base = 0x7F0000000000
    descriptors = struct.pack("<QIHHQIHH", base + 5 * 4096, 16, 1, 1, base + 6 * 4096, 64, 2, 0)
    ring = store(0, descriptors) + store(4096, u16(0) + u16(1) + u16(0)) + b"".join(do(UPDATE + 10, n) for n in range(8))
    served = do(KICKED) + do(ANSWER, 1) * 4 + do(KICKED) + do(LET_GO)
    yield "nothing", b""
    yield "greeting", bytes([BIT33 | HANDSHAKE])
    yield "required", bytes([REQUIRED | HANDSHAKE])
    yield "served", bytes([BIT33 | begun]) + ring + served
    yield "served-copying", bytes([BIT33 | COPIES | begun]) + ring + served
    packed = store(0, struct.pack("<QIHHQIHH", base + 5 * 4096, 16, 3, 0x81, base + 6 * 4096, 64, 3, 0x82)) + ring[68:]
    yield "packed-served", bytes([BIT33 | PACKED_RING | begun]) + packed + served
    yield "packed-copying", bytes([BIT33 | COPIES | PACKED_RING | begun]) + packed + served
    yield "packed-asked", bytes([BIT33 | EVENTS | PACKED_RING | begun]) + packed[:34] + served * 2
    yield "packed-revoked", bytes([BIT33 | PACKED_RING | begun]) + packed + do(KICKED) * 3 + do(INVALIDATE, 6) + do(LET_GO) + served
    yield "packed-stopped", (bytes([BIT33 | PACKED_RING | begun]) + packed + do(KICKED) * 3 + raw(11, u32(0) + u32(0)) +
                             do(LET_GO) + do(START, 1))
    stop = raw(11, u32(0) + u32(0)) + do(LET_GO)
    for name, options, memory in (("record", RECORD, ring), ("packed-record", RECORD | PACKED_RING, packed)):
        again = do(START, 1 | RECORD)
        yield f"{name}-served", bytes([BIT33 | options | begun]) + memory + served + stop + again + served
        yield f"{name}-stopped", bytes([BIT33 | options | begun]) + memory + do(KICKED) * 3 + stop + do(START, 1) + served
        yield f"{name}-parked", bytes([BIT33 | options | begun]) + memory[:68] + do(KICKED) + stop + again + served * 2
        yield f"{name}-reset", bytes([BIT33 | options | begun]) + memory + do(KICKED) + raw(34) + do(LET_GO) + again + served
        for at in (0, 8, 16, 32, 64):
            yield f"{name}-spoilt-{at}", (bytes([BIT33 | options | begun]) + memory + served + stop +
                                          store(24 * 4096 + at // 32 * 64, bytes(at % 32) + b"\1\2\3") + again + served)
    yield "record-made", bytes([HANDSHAKE]) + raw(31, u32(0) * 4 + u16(1) + u16(16)) + raw(31, u32(0) * 4 + u16(9) + u16(16))
    yield "asked", bytes([BIT33 | EVENTS | begun]) + ring[:68] + served * 2
    yield "refused", bytes([BIT33 | begun]) + ring[:68] + do(KICKED) + (do(ANSWER, 0) + do(KICKED)) * 3
    yield "revoked", bytes([BIT33 | begun]) + ring + do(KICKED) * 3 + do(INVALIDATE, 6) + do(LET_GO) + served
    yield "stopped", bytes([BIT33 | begun]) + ring + do(KICKED) * 3 + raw(11, u32(0) + u32(0)) + do(LET_GO) + do(START, 1)
    yield "table-replaced", bytes([BIT33 | begun]) + ring + do(KICKED) * 3 + do(GREET, 1) + do(LET_GO)
    yield "reset", bytes([BIT33 | begun]) + ring + do(KICKED) + raw(39, bytes(8)) + do(LET_GO) + do(START, 1)
    yield "by-hand", bytes([0]) + do(GREET, 1) + do(START, 1) + ring + served
    region = struct.pack("<QQQQQ", 0, 0x80000000, 0x1000, 0x660000000000, 0)
    yield "regions", bytes([BIT33 | begun]) + raw(36) + raw(37, region) + raw(38, region) + raw(38, region)
    yield "config", bytes([HANDSHAKE]) + raw(24, u32(0) + u32(60) + u32(0), 2 | 1, 72) + raw(25, u32(0) + u32(4) + bytes(8))
    for kind in range(48):
        yield f"message-{kind}", bytes([BIT33 | HANDSHAKE]) + raw(kind, bytes(8), 1) + raw(kind, b"\xff" * 40, 5)
    yield "version", bytes([HANDSHAKE]) + bytes([RAW, 0, 1, 16, 0, 2])
    yield "size", bytes([HANDSHAKE]) + raw(2, bytes(4), 3, 4)
    yield "descriptors", bytes([HANDSHAKE]) + raw(2, bytes(8), 1 | 8 | 0xC0)


# --- driver -------------------------------------------------------------------

DIRECT, OFFSET, RESTRICTED, IOMMU, BOUNCE_IOMMU = range(5)
DEFERRED, DECLINE, STRICT, PACKED_OFFERED, KEEPS_FEATURES, RESETS, IN_ORDER_OFFERED = 1, 2, 4, 8, 0x10, 0x20, 0x40
READ, WRITE_DISK, FLUSH_DISK, IDENT = 0, 1, 2, 3
LIE = 128  # of the code of a used element: its operand then says how


def submit(number, operation, sector=0, *pieces, deadline=0):
    """One request; pieces are (offset, sectors), one or two."""
    pieces = pieces or ((0, 1),)
    wire = bytes([0, number + 8 * operation + (0x80 if len(pieces) == 2 else 0), sector, deadline])
    return wire + (b"" if operation == FLUSH_DISK else b"".join(bytes([o, n - 1]) for o, n in pieces))


def used(position, sectors=1, extra=1):
    return bytes([5, 0, position, sectors * 2])


def lie(position, how, *fields):
    return bytes([LIE + 2 + 5, how, position, 1]) + b"".join(fields)


def driver_seeds():
    poll, reset, tick = bytes([3, 0]), bytes([9, 1]), bytes([8, 8])
    sane = b"\0" + u16(0) + b"\0"
    all_kinds = (submit(0, WRITE_DISK, 3, (7, 3)) + submit(1, READ, 5, (100, 2), (3, 4)) + submit(2, FLUSH_DISK) +
                 submit(3, IDENT) + poll)
    ends = b"".join(used(i, n) for i, n in enumerate((0, 6, 0, 0))) + poll
    for name, kind in (("direct", DIRECT), ("offset", OFFSET), ("restricted", RESTRICTED), ("iommu", IOMMU),
                       ("bounce-iommu", BOUNCE_IOMMU)):
        for mode, options in (("strict", STRICT), ("deferred", DEFERRED)):
            begin = bytes([options | KEEPS_FEATURES | RESETS, kind]) + sane
            yield f"served-{name}-{mode}", begin + all_kinds + ends + all_kinds + ends + reset
            yield f"reset-{name}-{mode}", begin + all_kinds + reset
            begin = bytes([options | PACKED_OFFERED | KEEPS_FEATURES | RESETS, kind]) + sane
            yield f"packed-{name}-{mode}", begin + all_kinds + ends + all_kinds + ends + reset
        yield f"declined-{name}", bytes([DECLINE | KEEPS_FEATURES | RESETS, kind]) + sane + all_kinds + ends
    begin = bytes([KEEPS_FEATURES | RESETS, RESTRICTED]) + sane
    yield "many", begin + b"".join(submit(i, i % 2, i, (i, 7), (2 * i, 7)) for i in range(8)) + (poll + used(0, 7)) * 9
    yield "wrong-id", begin + all_kinds + lie(0, 1, u32(9)) + poll
    yield "id-out-of-range", begin + all_kinds + lie(0, 1, u32(0x10003)) + poll
    yield "twice", begin + all_kinds + used(0) + used(0) + poll
    yield "too-long", begin + all_kinds + lie(1, 2, u32(1 << 20)) + poll
    yield "jump", begin + all_kinds + lie(0, 4, u16(300)) + poll
    for name, options in (("packed", PACKED_OFFERED), ("in-order", IN_ORDER_OFFERED),
                          ("packed-in-order", PACKED_OFFERED | IN_ORDER_OFFERED)):
        begun = bytes([options | KEEPS_FEATURES | RESETS, RESTRICTED]) + sane
        yield f"{name}-many", begun + b"".join(submit(i, i % 2, i, (i, 7), (2 * i, 7)) for i in range(8)) + b"".join(
            poll + used(i, 7) for i in range(9)) + poll
        yield f"{name}-wrong-id", begun + all_kinds + lie(0, 1, u32(9)) + poll
        yield f"{name}-out-of-range", begun + all_kinds + lie(0, 1, u32(0x10)) + poll
        yield f"{name}-backward", begun + all_kinds + used(2) + poll + used(0) + poll
        yield f"{name}-twice", begun + all_kinds + used(0) + used(0) + poll
        yield f"{name}-too-long", begun + all_kinds + lie(1, 2, u32(1 << 20)) + poll
        yield f"{name}-jump", begun + all_kinds + lie(0, 4, u16(5)) + poll + used(1) + poll
    yield "silent", begin + submit(0, READ, 0, (0, 1), deadline=1) + poll + tick * 9 + poll
    yield "scribbles", begin + all_kinds + b"".join(bytes([7, 0x41]) + u16(n * 97) for n in range(60)) + ends
    yield "needs-reset", begin + all_kinds + bytes([8, 64]) + poll
    yield "refuses", bytes([RESETS, OFFSET]) + sane
    yield "never-resets", bytes([KEEPS_FEATURES, OFFSET]) + sane + all_kinds + reset
    yield "no-bit-33", bytes([KEEPS_FEATURES | RESETS, RESTRICTED, 0x20]) + u16(0) + b"\0"
    yield "odd-config", bytes([KEEPS_FEATURES | RESETS, OFFSET, 0]) + u16(0x0046) + bytes([3, 8, 0x80, 12, 3, 21, 7]) + all_kinds


# --- inflight -----------------------------------------------------------------

PACKED_RECORD, CHANGES = 1, 2
TAKE, GIVE, TRY, TAKE_BACK, KILL, KILL_HALF_WAY = (0,), (3,), (5,), (6,), (7, 0), (7, 1)


def record(options, descriptors, size, used, region=b"", steps=()):
    """region: as much of it as is not zero; behind it come the steps."""
    each, head = (32, 32) if options & PACKED_RECORD else (16, 16)
    whole = -(-(head + each * descriptors) // 64) * 64
    begin = bytes([options, descriptors - 1, size - 1]) + u16(used)
    return begin + region.ljust(whole, b"\0") + b"".join(bytes((*step, 0))[:2] for step in steps)


def split_record(last, used, *marks, version=1, features=0, count=None):
    """marks: (marked, next, counter) each."""
    head = struct.pack("<QHHHH", features, version, len(marks) if count is None else count, last, used)
    return head + b"".join(struct.pack("<B5xHQ", *mark) for mark in marks)


def packed_record(heads, places, *entries, version=1):
    """heads: of the free list, now and then; places: the same of what was used; entries: (marked, next, last, num, counter, id)."""
    head = struct.pack("<QHHHHHHBB", 0, version, len(entries), *heads, *places).ljust(32, b"\0")
    return head + b"".join(struct.pack("<BxHHHQHHIQ", *entry, 0, 16, 4096) for entry in entries)


def inflight_seeds():
    work = [(0, 1), (0, 2), (0, 0x33), TRY, (7, 0), (3, 1), (0, 9), (7, 1), (6,), (0, 5), (3, 0), (3, 0), (7, 3), (3, 0), KILL]
    for name, options in (("split", 0), ("packed", PACKED_RECORD), ("split-changes", CHANGES),
                          ("packed-changes", PACKED_RECORD | CHANGES)):
        yield f"{name}-new", record(options, 16, 16, 0, steps=work * 3)
        yield f"{name}-smaller-ring", record(options, 40, 8, 7, steps=work * 3)
        yield f"{name}-ring-of-one", record(options, 1, 1, 0, steps=[(0, 0), TRY, KILL, GIVE, (0, 0), KILL_HALF_WAY] * 3)
        yield f"{name}-larger-ring", record(options, 4, 8, 0, steps=work)
        yield f"{name}-noise", record(options, 8, 8, 0x1234, bytes(range(1, 200)), work)
    marks = [(0, 0, 0), (1, 0, 7), (1, 0, 3), (0, 0, 0)]
    yield "split-two", record(0, 4, 4, 9, split_record(0, 9, *marks), work)
    yield "split-one-behind", record(0, 4, 4, 10, split_record(1, 9, *marks), work)
    yield "split-many-behind", record(0, 4, 4, 30, split_record(1, 9, *marks), work)
    yield "split-list-loops", record(0, 4, 4, 12, split_record(0, 9, *marks), work)
    yield "split-list-nowhere", record(0, 4, 4, 11, split_record(1, 9, (0, 0, 0), (1, 99, 1), *marks[2:]), work)
    yield "split-last-counter", record(0, 4, 4, 9, split_record(0, 9, (1, 0, 2**64 - 1), *marks[1:]), work)
    yield "split-mark", record(0, 4, 4, 9, split_record(0, 9, (9, 0, 0), *marks[1:]), work)
    yield "split-beyond-the-ring", record(0, 4, 2, 9, split_record(0, 9, *marks), work)
    for name, how in (("version", {"version": 2}), ("features", {"features": 1}), ("count", {"count": 3})):
        yield f"split-{name}", record(0, 4, 4, 9, split_record(0, 9, *marks, **how), work)
    free, taken = (0, 1, 0, 0, 0, 0), (1, 2, 2, 2, 5, 1)
    entries = [free, taken, (0, 3, 0, 0, 0, 1), (0, 4, 0, 0, 0, 0)]
    ends = [(0, 3, 0, 0, 0, 0), *entries[1:]]
    sound = (0, 0), (0, 0, 1, 1)
    yield "packed-one", record(1, 4, 4, 0x8000, packed_record(*sound, *ends), work)
    yield "packed-in-two-minds", record(1, 4, 4, 0x8000, packed_record((1, 0), (2, 0, 1, 1), *ends), work)
    yield "packed-in-two-minds-used", record(1 | 4 | 8, 4, 4, 0x8000, packed_record((1, 0), (2, 0, 1, 1), *ends), work)
    yield "packed-free-list-loops", record(1, 4, 4, 0, packed_record(*sound, free, (0, 0, 0, 0, 0, 0), *entries[2:]), work)
    yield "packed-free-list-nowhere", record(1, 4, 4, 0, packed_record(*sound, (0, 9, 0, 0, 0, 0), *entries[1:]), work)
    yield "packed-nobodys", record(1, 4, 4, 0, packed_record((3, 3), (0, 0, 1, 1), *ends), work)
    yield "packed-position", record(1, 4, 4, 0, packed_record((0, 0), (4, 4, 1, 1), *ends), work)
    yield "packed-wrap", record(1, 4, 4, 0, packed_record((0, 0), (0, 0, 2, 2), *ends), work)
    yield "packed-chain-too-long", record(1, 4, 4, 0, packed_record(*sound, ends[0], (1, 2, 2, 9, 5, 1), *ends[2:]), work)
    yield "packed-chain-of-none", record(1, 4, 4, 0, packed_record(*sound, ends[0], (1, 2, 1, 0, 5, 1), *ends[2:]), work)
    yield "packed-chain-loops", record(1, 4, 4, 0, packed_record(*sound, ends[0], (1, 1, 1, 2, 5, 1), *ends[2:]), work)
    yield "packed-id", record(1, 4, 4, 0, packed_record(*sound, *ends[:2], (0, 3, 0, 0, 0, 4), ends[3]), work)
    yield "packed-id-twice", record(1, 4, 4, 0, packed_record((2, 2), (0, 0, 1, 1), (1, 1, 0, 1, 0, 1), (1, 2, 1, 1, 1, 1),
                                                              (0, 3, 0, 0, 0, 0), (0, 4, 0, 0, 0, 0)), work)
    yield "packed-last-counter", record(1, 4, 4, 0, packed_record(*sound, ends[0], (1, 2, 2, 2, 2**64 - 1, 1), *ends[2:]), work)


def main():
    top = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).parent / "corpus"
    for target, seeds in (("walker", lambda: [*walker_seeds(), *packed_walker_seeds()]), ("blk", blk_seeds), ("messages", messages_seeds),
                          ("driver", driver_seeds), ("inflight", inflight_seeds)):
        directory = top / target
        directory.mkdir(parents=True, exist_ok=True)
        for old in directory.iterdir():
            old.unlink()
        for name, data in seeds():
            (directory / name).write_bytes(data)


if __name__ == "__main__":
    main()
