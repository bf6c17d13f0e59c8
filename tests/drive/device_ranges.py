# SPDX-License-Identifier: BSD-3-Clause
"""The Python back end with all that a disk can do besides data: ranges, lifetime, the cache mode.

How it works: Managed is a BackEnd that states small, odd limits and notes every range it is sent; whatever goes beyond
them, or is not said as the standard has it, is a violation. Lies are subclasses.
"""
import struct

import vhost_user as vu
from back_end import FEATURES, BackEnd
from device_disk import IN, IOERR, OK, OUT, SECTOR, UNSUPP

GET_LIFETIME, DISCARD, WRITE_ZEROES, SECURE_ERASE = 10, 11, 13, 14
F_TOPOLOGY, F_CONFIG_WCE, F_DISCARD, F_WRITE_ZEROES, F_LIFETIME, F_SECURE_ERASE = (
    1 << 10, 1 << 11, 1 << 13, 1 << 14, 1 << 15, 1 << 16)
RANGE = struct.Struct("<QII")
DISCARDED, ERASED = b"\xdd", b"\xee"


class Managed(BackEnd):
    features = FEATURES | F_TOPOLOGY | F_CONFIG_WCE | F_DISCARD | F_WRITE_ZEROES | F_LIFETIME | F_SECURE_ERASE
    limits = {DISCARD: (100, 3, 8), WRITE_ZEROES: (64, 2, 0), SECURE_ERASE: (33, 1, 0)}   # sectors, ranges, alignment
    fills = {DISCARD: DISCARDED, WRITE_ZEROES: b"\0", SECURE_ERASE: ERASED}
    lifetime = (1, 3, 11)
    writeback = 1
    ranges_status = OK

    def __init__(self, *arguments, **how):
        self.ranges, self.modes = [], []        # (kind, sector, sectors, flags); what was written
        super().__init__(*arguments, **how)

    def config(self):
        more = bytearray(super().config() + bytes(12))
        struct.pack_into("<BBHI", more, 24, 3, 0, 8, 256)
        more[32] = self.writeback
        struct.pack_into("<III", more, 36, *self.limits[DISCARD])
        struct.pack_into("<IIB", more, 48, *self.limits[WRITE_ZEROES][:2], 1)
        struct.pack_into("<III", more, 60, *self.limits[SECURE_ERASE])
        return bytes(more)

    def on_set_config(self, message):
        offset, size, _ = vu.CONFIG_HEAD.unpack_from(message.payload)
        if (offset, size) != (32, 1) or message.payload[12] > 1:
            self.wrong(f"{size} bytes written to the configuration at {offset}: {message.payload[12:]}")
        else:
            self.modes.append(message.payload[12])
            self.switch(message.payload[12])

    def switch(self, mode):
        self.writeback = mode

    def carry_out(self, chain):
        if chain.readable_bytes >= 16 and chain.writable:
            outgoing = b"".join(self.access.read(*part) for part in chain.readable)
            kind, _, sector = struct.unpack_from("<IIQ", outgoing)
            if kind not in (IN, OUT) and sector:
                self.wrong(f"sector {sector} in a request of type {kind}")
            if kind in self.limits:
                return self.carry_out_ranges(chain, kind, outgoing[16:])
            if kind == GET_LIFETIME:
                return self._into(chain, struct.pack("<HHH", *self.lifetime), chain.writable_bytes - 1)
        return super().carry_out(chain)

    def carry_out_ranges(self, chain, kind, data):
        longest, most, _ = self.limits[kind]
        if not data or len(data) % RANGE.size or len(data) // RANGE.size > most or chain.writable_bytes != 1:
            self.wrong(f"DRV-18: {len(data)} bytes of ranges, {chain.writable_bytes} to write")
            return IOERR, 0
        for sector, sectors, flags in RANGE.iter_unpack(data):
            self.ranges.append((kind, sector, sectors, flags))
            if not sectors or sectors > longest or (sector + sectors) * SECTOR > len(self.disk):
                self.wrong(f"DRV-18: a range of {sectors} sectors at {sector}")
                return IOERR, 0
            if flags > 1 or (flags and kind != WRITE_ZEROES):
                self.wrong(f"DRV-18: flags {flags:#x} in a range of type {kind}")
                return UNSUPP, 0
            self.disk[sector * SECTOR:(sector + sectors) * SECTOR] = self.fills[kind] * (sectors * SECTOR)
        return self.ranges_status, 0
