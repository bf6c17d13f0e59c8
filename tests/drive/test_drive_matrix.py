# SPDX-License-Identifier: BSD-3-Clause
"""Every platform kind against every device: data right where the truth table allows, refused by name where not.

How it works: a cell (cells.py) is run as it is, and again with a rule removed
in the device or in the driver half, which it has to notice: a cell that passes
without the rule shows nothing. Options of the ring, the pool and the requests
are combined pairwise over all of it; the slow tests combine more of them.
"""
import itertools
import random

import pytest

import cells
import vhost_user as vu
from back_end import PROTOCOL, BackEnd
from device_memory import Refused
from programs import DEVICES, DOMAINS, EXIT_REFUSED
from vhost_user import Violation

SPLIT, PACKED = "--split", "--packed"
LAYOUTS = {device: [SPLIT] if device == "qemu" else [SPLIT, PACKED] for device in DEVICES}   # the daemon has no other


def cells_by_layout():
    """Each domain with each device; layouts take turns, and all of them are in the slow run, indirect or not."""
    for n, (domain, device) in enumerate(itertools.product(DOMAINS, DEVICES)):
        for i, layout in enumerate(LAYOUTS[device]):
            for indirect in ((), ("--no-indirect",)):
                slow = indirect or len(LAYOUTS[device]) > 1 and (n + n // len(DEVICES)) % 2 != i
                yield pytest.param(domain, device, (layout, *indirect), marks=[pytest.mark.slow] if slow else [],
                                   id="-".join([domain, device, *(o[2:] for o in (layout, *indirect))]))


@pytest.mark.parametrize("domain, device, ring", cells_by_layout())
def test_a_cell(lab, domain, device, ring):
    cells.check(lab, lab.device(device), domain, options=ring)
    packed = {drive.stats["queues"]["packed"] for drive in lab.drives if drive.status == 0}
    assert packed <= {PACKED in ring}


# (rule removed, where): cells that must notice. With bit 33 set on a direct platform the rule demands equal addresses:
# a device that ignores the bit is right there, and nothing can tell.
TWINS = [("DEV-3", "device", "serve-offer", domain) for domain in DOMAINS[1:]]
TWINS += [("DEV-10", "device", "serve-offer", domain) for domain in DOMAINS[1:]]
TWINS += [("DEV-4", "device", "serve-off", domain) for domain in ("direct", "offset", "iommu")]
TWINS += [("DRV-4", "driver", device, domain) for device in ("serve-off", "qemu")
          for domain in ("bounce", "bounce+iommu", "restricted")]
TWINS = [(*twin, LAYOUTS[twin[2]][n % len(LAYOUTS[twin[2]])]) for n, twin in enumerate(TWINS)]


@pytest.mark.mutant
@pytest.mark.parametrize("rule, side, device, domain, layout", TWINS)
def test_a_cell_fails_without_its_rule(lab, rule, side, device, domain, layout):
    one = lab.device(device, **({"mutant": rule} if side == "device" else {}))
    with pytest.raises(Violation):
        cells.check(lab, one, domain, mutant=rule if side == "driver" else None,
                    options=["--timeout-ms=1500", layout])


class IgnoresBit33(BackEnd):
    """Accepts it, and takes every address for a physical one."""

    def serve(self, queue):
        self.access.locate = self.physical
        super().serve(queue)

    def physical(self, bus, permission):
        area, offset = self.areas.at_phys(bus)
        if area is None:
            raise Refused("DEV-10", bus, permission)
        return area, offset, area.size - offset


@pytest.mark.parametrize("domain", DOMAINS)
def test_a_device_that_ignores_bit_33_is_right_on_a_direct_platform_only(lab, domain):
    device = lab.lying(IgnoresBit33)
    if domain == "direct":
        return cells.journey(lab, device, domain)
    with pytest.raises(Violation):
        cells.journey(lab, device, domain, options=["--timeout-ms=700"])
    return lab.end(sound=False)


@pytest.mark.parametrize("device", ["serve-off", "qemu", "python-off"])
@pytest.mark.parametrize("domain", ["bounce", "restricted"])
def test_the_weaker_promise_runs_on_demand_and_is_logged(lab, device, domain):
    one = lab.device(device)
    cells.journey(lab, one, domain, options=["--pool-at-physical"])
    cells.addresses_differ(one, domain, "physical")
    lab.run(one, "info", domain=domain, options=["--pool-at-physical"]).must_say("DRV-4")


@pytest.mark.parametrize("device", ["serve-off", "qemu", "python-off"])
@pytest.mark.parametrize("domain", DOMAINS)
def test_bit_33_can_be_required(lab, device, domain):
    rule = "DEV-1" if domain not in cells.CONFINED_DOMAINS else "DEV-1|DRV-4"
    cells.refused(lab, lab.device(device), domain, rule, options=["--require-platform-dma"])


@pytest.mark.parametrize("device", ["serve-offer", "python-offer"])
@pytest.mark.parametrize("domain", DOMAINS)
def test_bit_33_can_be_declined_where_the_device_reaches_all(lab, device, domain):
    cells.check(lab, lab.device(device), domain, options=["--decline-platform-dma"])


@pytest.mark.parametrize("domain", ["direct", "offset", "iommu"])
def test_a_device_that_requires_bit_33_refuses_who_declines(lab, domain):
    device = lab.device("serve-require")
    lab.run(device, "info", domain=domain, options=["--decline-platform-dma"], status=(1, EXIT_REFUSED))
    device.expect_refusal("DEV-8")


@pytest.mark.parametrize("device", ["serve-off", "qemu"])
def test_a_platform_without_pass_through_refuses_bit_33_clear(lab, device):
    lab.run(lab.device(device), "info", options=["--platform", "kind=iommu granule=4096 no-pass-through"],
            status=EXIT_REFUSED).must_say("PLT-7")


FACTORS = {
    "device": ("serve-offer", "python-offer", "serve-require"),
    "domain": DOMAINS,
    "indirect": ((), ("--no-indirect",)),
    "event": ((), ("--no-event-idx",)),
    "ring": ((SPLIT,), (PACKED,)),
    "order": ((), ("--in-order",)),
    "inband": ((), ("--inband",)),
    "poll": ((), ("--poll-us=100",)),
    "request": (("--request=512",), ("--request=3584",), ("--request=65536",), (), ("--request=1M",)),
    "depth": (("--depth=1",), ("--depth=3",), (), ("--depth=300",)),
    "pool": ((), ("--pool=1M",), ("--pool=16M",)),
    "strict": ((), ("--strict",)),
    "mode": ((), ("--iommu-mode=deferred",)),
    "debug": ((), ("--debug-dma",)),
}


def options_of(row):
    return [option for name in FACTORS if name not in ("device", "domain") for option in row[name]]


def name_of(row):
    return "-".join([row["device"], row["domain"], *(o.removeprefix("--") for o in options_of(row))])


PAIRS = cells.pairwise(FACTORS)
MORE = [{name: random.Random(7919 * n + i).choice(values) for i, (name, values) in enumerate(FACTORS.items())}
        for n in range(300)]


@pytest.mark.wide
@pytest.mark.parametrize("row", [*PAIRS, *(pytest.param(row, marks=pytest.mark.slow) for row in MORE)], ids=name_of)
def test_options_combined(lab, row):
    device = lab.device(row["device"])
    cells.journey(lab, device, row["domain"], options=options_of(row))
    cells.addresses_differ(device, row["domain"], "bus")


@pytest.mark.parametrize("domain", DOMAINS)
def test_the_debug_layer_has_nothing_to_report(lab, domain):
    device = lab.device("serve-offer")
    cells.journey(lab, device, domain, options=["--debug-dma"])
    assert not any("dma-debug" in drive.err or "report" in drive.err for drive in lab.drives)


@pytest.mark.parametrize("domain", ["direct", "offset", "iommu"])
@pytest.mark.parametrize("queues", [1, 2])
def test_queues_of_a_third_partys_device(lab, domain, queues):
    device = lab.device("qemu", queues=2)
    cells.journey(lab, device, domain, options=[f"--queues={queues}", "--request=4096"])


@pytest.mark.parametrize("domain", DOMAINS)
def test_queues_with_bit_33(lab, domain):
    device = lab.device("python-offer", queues=4, shuffle=5)
    cells.journey(lab, device, domain, options=["--queues=4", "--request=4096"])
    assert len({queue for queue in device.back_end.served}) == 4


SMALL = ["--pool=128K", "--depth=64", "--request=32K"]
MUCH = 1900 * 512


@pytest.mark.parametrize("domain", ["bounce", "bounce+iommu", "restricted"])
@pytest.mark.parametrize("device", ["serve-offer", "python-offer"])
def test_a_pool_that_is_too_small_slows_down_and_says_so_once(lab, device, domain):
    """Back-pressure: everything arrives; one message names the pool, its size and the remedy."""
    one = lab.device(device)
    cells.journey(lab, one, domain, options=SMALL, piece=MUCH)
    for drive in lab.drives:
        told = [line for line in drive.err.splitlines() if "the pool" in line]
        assert len(told) == 1 and "128K" in told[0] and "--pool" in told[0], drive.err
        assert drive.stats["requests"]["waited"] and drive.stats["pool"]["failures"]


@pytest.mark.parametrize("domain", ["bounce", "bounce+iommu", "restricted"])
def test_a_pool_grows_up_to_its_bound(lab, domain):
    """Where the device has memory slots; nothing is said then, for there is nothing to do."""
    one = lab.device("python-offer", protocol=PROTOCOL | vu.MEM_SLOTS)
    cells.journey(lab, one, domain, options=[*SMALL, "--pool-max=4M"], piece=MUCH)
    for drive in lab.drives:
        assert 128 << 10 < drive.stats["pool"]["bytes"] <= 4 << 20
        assert "the pool" not in drive.err


@pytest.mark.parametrize("domain, layout", [("restricted", PACKED), ("bounce", SPLIT), ("bounce+iommu", PACKED)])
@pytest.mark.parametrize("device", ["serve-offer", "python-offer"])
def test_memory_is_handed_over_while_rings_run(lab, device, domain, layout):
    """Memory slots, one after the other, under a load that is compared."""
    one = lab.device(device, **({"protocol": PROTOCOL | vu.MEM_SLOTS} if device.startswith("python") else {}))
    drive = lab.run(one, "load", domain=domain, options=[*SMALL, "--pool-max=4M", layout, "--requests=2000"])
    assert drive.stats["pool"]["bytes"] > 128 << 10 and drive.stats["load"]["verified_bytes"] > 0


def test_a_pool_does_not_grow_where_the_device_has_no_memory_slots(lab):
    one = lab.device("python-offer")
    cells.journey(lab, one, "restricted", options=[*SMALL, "--pool-max=4M"], piece=MUCH)
    assert all(drive.stats["pool"]["bytes"] == 128 << 10 for drive in lab.drives)


def test_deferred_invalidation_saves_invalidations(lab):
    counts = []
    one = lab.device("python-offer")
    for mode in ("strict", "deferred"):
        before = one.back_end.invalidations
        cells.journey(lab, one, "iommu", options=[f"--iommu-mode={mode}", "--request=4096"])
        counts.append(one.back_end.invalidations - before)
    assert 0 < counts[1] < counts[0] / 3, counts
