# SPDX-License-Identifier: BSD-3-Clause
"""For each case of `viodma check device` our own device with the rule of that case broken.

A mutant is VIODMA_MUTANT's value: the id of the case itself (tests/broken), unless the switch of a requirement's check does it
(VIODMA_REQUIRE), and how the device is served.
"""
from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """`switch`: instead of the case's id."""

    switch: str = ""
    serve: tuple = ("--in-order", "--num-queues", "2", "--revoke-timeout-ms", "100")


OF_ITS_OWN = Mutant()

MUTANTS = {
    # what is offered and accepted
    "platform-offered": OF_ITS_OWN,
    "platform-not-offered": Mutant("DEV-5", ("--platform-dma=off",)),
    "platform-without-version-1": Mutant("DEV-6"),
    "platform-declined": Mutant("DEV-4"),
    "platform-accepted": Mutant("DEV-3"),
    # where things are
    "buffer-at-zero": OF_ITS_OWN,
    "buffer-at-the-end": OF_ITS_OWN,
    "buffer-at-57-bits": OF_ITS_OWN,
    "buffer-unaligned": OF_ITS_OWN,
    "buffer-over-two-mappings": OF_ITS_OWN,
    "buffer-over-two-mappings-readable": OF_ITS_OWN,
    "buffer-over-many-mappings": OF_ITS_OWN,
    "buffer-over-many-mappings-readable": OF_ITS_OWN,
    "ring-over-many-mappings": OF_ITS_OWN,
    "table": OF_ITS_OWN,
    "table-over-two-mappings": OF_ITS_OWN,
    # what comes back
    "writes-nothing-else": OF_ITS_OWN,
    "leaves-readable": OF_ITS_OWN,
    "used-length": OF_ITS_OWN,
    "many-at-once": OF_ITS_OWN,
    "around-the-ring": OF_ITS_OWN,
    "ring-of-four": OF_ITS_OWN,
    "ring-of-1024": OF_ITS_OWN,
    "tables-at-once": OF_ITS_OWN,
    "in-order": OF_ITS_OWN,
    "two-queues": OF_ITS_OWN,
    "call": OF_ITS_OWN,
    # what is reached
    "write-asks-to-read-only": OF_ITS_OWN,
    "write-to-read-only": Mutant("DEV-9"),
    "read-of-write-only": Mutant("DEV-9"),
    "write-to-unmapped": OF_ITS_OWN,
    "read-of-unmapped": OF_ITS_OWN,
    "write-to-withdrawn": OF_ITS_OWN,
    "read-of-withdrawn": OF_ITS_OWN,
    "write-beyond-mapping": OF_ITS_OWN,
    "physical-address": Mutant("DEV-10"),
    "user-address": OF_ITS_OWN,
    "bus-is-physical": OF_ITS_OWN,
    # questions
    "miss-permission": OF_ITS_OWN,
    "miss-once": OF_ITS_OWN,
    "miss-late": OF_ITS_OWN,
    "miss-any-order": OF_ITS_OWN,
    "miss-others-go-on": OF_ITS_OWN,
    "miss-refused": OF_ITS_OWN,
    "miss-other-page": OF_ITS_OWN,
    "miss-less-permission": OF_ITS_OWN,
    "ring-unmapped": OF_ITS_OWN,
    # revocation, acknowledgements
    "invalidated": OF_ITS_OWN,
    "invalidated-and-moved": OF_ITS_OWN,
    "update-replaces": OF_ITS_OWN,
    "ring-invalidated": OF_ITS_OWN,
    "update-outside-memory": OF_ITS_OWN,
    "update-without-platform": Mutant(serve=("--platform-dma=off",)),
    "update-beyond-region": OF_ITS_OWN,
    "update-user-wraps": OF_ITS_OWN,
    "update-bus-wraps": OF_ITS_OWN,
    "update-no-permission": OF_ITS_OWN,
    "update-no-bytes": OF_ITS_OWN,
    "invalidate-nothing": OF_ITS_OWN,
    # life
    "stop-base": OF_ITS_OWN,
    "stop-and-go-on": OF_ITS_OWN,
    "stopped": OF_ITS_OWN,
    "stop-while-waiting": OF_ITS_OWN,
    "disabled": OF_ITS_OWN,
    "reset": OF_ITS_OWN,
    "reset-and-again": OF_ITS_OWN,
    "connection-forgotten": OF_ITS_OWN,
    "connection-again": OF_ITS_OWN,
    "connection-ends-while-waiting": OF_ITS_OWN,
    # the record of what is in flight
    "record-resumed": OF_ITS_OWN,
    "record-too-large": OF_ITS_OWN,
    # memory
    "region-added": OF_ITS_OWN,
    "region-removed": OF_ITS_OWN,
    "region-overlaps": OF_ITS_OWN,
    "region-beyond-file": OF_ITS_OWN,
    "region-unknown": OF_ITS_OWN,
    "memory-table-again": OF_ITS_OWN,
    # kicks and values
    "kick-by-flags": OF_ITS_OWN,
    "kick-by-events": OF_ITS_OWN,
    "status": OF_ITS_OWN,
    "config": OF_ITS_OWN,
    # drivers that lie
    "lie-head": Mutant("DRV-11,DRV-24"),
    "lie-next": OF_ITS_OWN,
    "lie-loop": OF_ITS_OWN,
    "lie-order": OF_ITS_OWN,
    "lie-length-zero": OF_ITS_OWN,
    "lie-address-wraps": OF_ITS_OWN,
    "lie-bytes": OF_ITS_OWN,
    "lie-table-half": OF_ITS_OWN,
    "lie-table-empty": OF_ITS_OWN,
    "lie-table-next": OF_ITS_OWN,
    "lie-table-in-table": Mutant("DRV-14"),
    "lie-table-next-beyond": OF_ITS_OWN,
    "lie-index": OF_ITS_OWN,
    "lie-head-twice": OF_ITS_OWN,
}


def selected(case):
    """VIODMA_MUTANT's value."""
    return MUTANTS[case].switch or case
