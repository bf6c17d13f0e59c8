# SPDX-License-Identifier: BSD-3-Clause
"""One cell of the matrix: a platform, a device, and what the truth table says about the two.

How it works
  outcome()  the truth table (spec/platform-dma.md, section 4) for a --domain.
  journey()  write, verify, read back, copy; then the disk compared byte by
             byte with what it must hold, whatever device it is.
  stray()    an access that nobody granted: made, and refused by the device
             with its requirement id where it has any.
Whatever is not as it must be is a Violation, so that the twin of a cell, with
one rule removed, can be seen to fail.
"""
import os

from blk import pattern
from programs import EXIT_FAILED, EXIT_REFUSED, TRANSLATED
from vhost_user import must

CONFINED_DOMAINS = ("bounce", "bounce+iommu", "restricted")
PIECE = 300 * 512
# where viodma drive has its memory, for a device that would take bus addresses for physical ones; not in use there
PRIVATE_PHYS, POOL_PHYS = 0x1_0000_1000, 0x9_4020_0000


def outcome(domain, offers, options=()):
    """("bus" | "physical" | "refused", rule)"""
    if offers and "--decline-platform-dma" not in options:
        return "bus", "DRV-2"
    if "--require-platform-dma" in options:
        return "refused", "DEV-1"
    if domain not in CONFINED_DOMAINS:
        return "physical", "DRV-3"
    if "--pool-at-physical" in options and domain != "bounce+iommu":
        return "physical", "DRV-4"
    return "refused", "DRV-4"


def journey(lab, device, domain, options=(), mutant=None, piece=PIECE):
    """Data goes to the disk and comes back, and nothing else changes."""
    expected = bytearray(device.contents())
    data = pattern(piece, seed=len(domain or options[-1]))
    path, place, second = lab.file(data), 64 * 512, 4000 * 512 - piece

    def run(*command, status=0, more=()):
        return lab.run(device, *command, domain=domain, options=[*options, *more], mutant=mutant, status=status)

    run("write", path, more=[f"--offset={place}"])
    expected[place:place + piece] = data
    must(device.contents() == expected, f"{domain}: the disk differs after a write")
    run("verify", path, more=[f"--offset={place}"])
    run("copy", place, second, more=[f"--length={piece}"])
    expected[second:second + piece] = data
    must(device.contents() == expected, f"{domain}: the disk differs after a copy")
    back = os.path.join(lab.tmp, "back")
    run("read", back, more=[f"--offset={second - 512}", f"--length={piece + 512}"])
    with open(back, "rb") as file:
        must(file.read() == expected[second - 512:second + piece], f"{domain}: a read brought other bytes")
    run("verify", path, more=[f"--offset={place + 512}"], status=EXIT_FAILED).must_say("differ")
    must(device.contents() == expected, f"{domain}: reading changed the disk")


def addresses_differ(device, domain, addressing):
    """Rule 13 (a): no bus address is its physical one, except where the rule demands that all are."""
    counts = device.identical()
    if counts is None:              # a third party's does not count
        return
    accesses, identical = counts
    must(accesses > 0, "the device counted no access at all")
    if addressing == "bus" and domain in TRANSLATED:
        must(identical == 0, f"{domain}: {identical} of {accesses} bus addresses equal their physical ones")
    elif addressing == "physical" or domain == "direct":
        must(identical == accesses, f"{domain}: {accesses - identical} of {accesses} addresses are not physical ones")


def stray(lab, device, domain, addressing, options=(), mutant=None):
    """Rule 13 (b): what nobody granted is refused, by name."""
    addresses = [[]]
    if addressing == "bus" and domain in TRANSLATED:
        addresses += [[PRIVATE_PHYS], [POOL_PHYS]]
    for address in addresses:
        device.refusals()
        lab.run(device, "stray", *address, domain=domain, options=options, mutant=mutant).must_say("refused")
        if device.ids:
            device.expect_refusal("DEV-10")


def refused(lab, device, domain, rule, options=(), mutant=None):
    before = device.contents()
    path = lab.file(pattern(4096, seed=5))
    for command in (["info"], ["write", path], ["read", os.path.join(lab.tmp, "back")], ["copy", "0", "4096"]):
        more = [] if command == ["info"] else ["--length=4096"]
        lab.run(device, *command, domain=domain, options=[*options, *more], status=EXIT_REFUSED,
                mutant=mutant).must_say(rule, "refused")
    must(device.contents() == before, f"{domain}: refused, and yet the disk changed")


def check(lab, device, domain, options=(), mutant=None):
    """The whole cell."""
    addressing, rule = outcome(domain, device.offers, options)
    if addressing == "refused":
        return refused(lab, device, domain, rule, options, mutant)
    journey(lab, device, domain, options, mutant)
    addresses_differ(device, domain, addressing)
    return stray(lab, device, domain, addressing, options, mutant)


def pairwise(factors, limit=None):
    """Rows of choices that hold every pair of values of two factors: greedy, and the same every time.

    factors: name → values. A row is a dict."""
    names = list(factors)
    left = {(a, i, b, j) for x, a in enumerate(names) for b in names[x + 1:]
            for i in range(len(factors[a])) for j in range(len(factors[b]))}
    rows = []
    while left and (limit is None or len(rows) < limit):
        a, i, b, j = min(left)
        row = {a: i, b: j}
        for name in names:
            if name not in row:
                def gain(k, name=name):
                    return sum((n, row[n], name, k) in left or (name, k, n, row[n]) in left for n in row)
                count = len(factors[name])
                row[name] = max(range(count), key=lambda k: (gain(k), -((k + len(rows)) % count)))
        left -= {(x, row[x], y, row[y]) for at, x in enumerate(names) for y in names[at + 1:]}
        rows.append({name: factors[name][row[name]] for name in names})
    return rows
