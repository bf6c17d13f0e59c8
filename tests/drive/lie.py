# SPDX-License-Identifier: BSD-3-Clause
"""How a lie is registered: each device of lies_*.py breaks one rule and keeps all others.

How it works
  @lie(result, rule) registers a back end. The driver half has to end with
  `status` (1: failed, 3: refused) and to name one of the results and the rule;
  or, `status` 0, to get by with the data right. Where a lie concerns one
  request, that is request number `at`. `domains`: where it can be told at all.
  `options`: of viodma drive.
"""
from back_end import BackEnd

BUS = ("offset", "bounce", "iommu", "bounce+iommu", "restricted")
IOMMU = ("iommu", "bounce+iommu")
ALL = ("direct", *BUS)
LIES = []


class Lie:
    def __init__(self, device, result, rule, status, domains, options, command, seen):
        self.device, self.rule, self.status = device, rule, status
        self.results = (result,) if isinstance(result, str) else tuple(result)
        self.domains, self.options, self.command, self.seen = domains, options, command, seen
        # A lie that concerns a ring is about one layout; those about messages take turns.
        if not {"--packed", "--split"} & set(options):
            packed = device.__module__ != "lies_rings" and len(LIES) % 2
            self.options = (*options, "--packed" if packed else "--split")

    @property
    def name(self):
        return self.device.__name__

    def __repr__(self):
        return self.name


def lie(result, rule, status=1, domains=ALL, options=(), command="copy", seen=True):
    """seen: the front end of the protocol suite must stumble over it as well, so that it is known to be a lie."""
    def register(device):
        LIES.append(Lie(device, result, rule, status, domains, tuple(options), command, seen))
        return device
    return register


class AtRequest(BackEnd):
    """Lies at one request."""
    at = 3

    def now(self):
        return self.requests == self.at
