# SPDX-License-Identifier: BSD-3-Clause
"""Real Linux guests against `viodma serve blk`: every cell works, is counted only under rule 13, and can fail.

How it works
    A cell is run and judged by lab/cells.py; a test asserts that the list of what is wrong is empty. A twin is the same
    cell with the rule removed, judged by the same function; it asserts that the list is NOT empty, and that it names
    what the removed rule protects. Twins need the test build, whose VIODMA_MUTANT takes one requirement's check out.
"""
from __future__ import annotations

import dataclasses
import itertools

import pytest

from lab import cells
from lab.cells import Cell
from lab.machine import Machine

# Every pair of two settings occurs in one of these six; the others complete the matrix.
PAIRWISE = [(True, True, 512, False, 1), (True, True, 512, True, 2), (True, False, 4096, True, 2), (True, False, 4096, False, 1),
            (False, True, 4096, True, 1), (False, False, 512, False, 2)]


def vtd(bit33: bool, strict: bool, blk_size: int, packed: bool = False, queues: int = 1) -> Cell:
    """One cell of the VT-d matrix."""
    name = (f"vtd, bit 33 {'set' if bit33 else 'clear'}, {'strict' if strict else 'lazy'}, {blk_size}, "
            f"{'packed' if packed else 'split'}, {queues}")
    return Cell(name, Machine("vtd", bit33=bit33, strict=strict, packed=packed, queues=queues), blk_size)


def whole(cell: Cell) -> Cell:
    """The same with packed rings and two queues."""
    return dataclasses.replace(cell, name=f"{cell.name}, packed, 2",
                               machine=dataclasses.replace(cell.machine, packed=True, queues=2))


def named(cell: Cell) -> str:
    """A test id without spaces."""
    return cell.name.replace(", ", "-").replace(" ", "_")


def parameter(cell: Cell, *more: object, check: bool) -> object:
    """One parametrisation, marked for `make check` or not."""
    return pytest.param(cell, *more, id="-".join([named(cell), *map(str, more)]).replace(" ", "_"),
                        marks=[pytest.mark.check] if check else [])


OTHERS = [(*shape, *ring) for shape in itertools.product((True, False), (True, False), (512, 4096))
          for ring in ((False, 1), (True, 2))]
MATRIX = [vtd(*key) for key in [*PAIRWISE, *(key for key in OTHERS if key not in PAIRWISE)]]
SECURE = Cell("secure", Machine("secure"))
PAPR = Cell("papr", Machine("papr"))
ARM = Cell("arm", Machine("arm"))
ARM_LAZY = Cell("arm lazy", Machine("arm", strict=False))
REBIND = Cell("vtd rebind", Machine("vtd"), rebind=True)
REBOOT = Cell("vtd reboot", Machine("vtd"), reboot=True)
MANAGES = Cell("vtd manages", Machine("vtd"), manages=True)
PAUSES = Cell("vtd pauses", Machine("vtd"), pauses=True, speed_mib=16)
# Each with the layout in which `make check` removes its rule; check-all does it for every cell.
BY_PLATFORM = [vtd(True, True, 512), vtd(False, True, 4096, True), whole(SECURE), PAPR, whole(ARM)]


def both(cell: Cell, split: bool = False) -> list[object]:
    """With split rings and one queue, and with packed rings and two; `make check` runs the latter, and the former if said."""
    return [parameter(cell, check=split), parameter(whole(cell), check=True)]


@pytest.mark.parametrize("cell", [parameter(cell, check=number < len(PAIRWISE)) for number, cell in enumerate(MATRIX)])
def test_a_guest_behind_vtd_keeps_its_data(cell: Cell, runner) -> None:
    """Bit 33 set or clear, strict or lazy invalidation, 512- or 4096-byte blocks, either layout, one queue or two."""
    assert cells.failures(cell, runner(cell)) == []


@pytest.mark.parametrize("cell", both(SECURE, split=True))
def test_a_secure_guest_is_served_out_of_the_shared_memory_alone(cell: Cell, runner) -> None:
    """Rings and requests stay in the node that was handed over; a read of private memory is refused."""
    seen = runner(cell)
    assert cells.failures(cell, seen) == []
    assert int(seen.guest.values.get("swiotlb_slots", "0")) > 0, "the guest has no bounce pool"


@pytest.mark.check
def test_a_secure_guest_without_bouncing_is_refused_at_a_private_address(runner) -> None:
    """The control: without the pool the first request names memory that was never handed over."""
    control = Cell("secure, no bouncing", Machine("secure", bounce=False), timeout=120, patience=80)
    assert cells.control_failures(control, runner(control)) == []


@pytest.mark.parametrize("cell", both(REBIND))
def test_the_driver_can_be_unbound_and_bound(cell: Cell, runner) -> None:
    """Block driver, then the transport's driver; the disk comes back with its data each time."""
    assert cells.failures(cell, runner(cell)) == []


@pytest.mark.parametrize("cell", both(REBOOT))
def test_a_guest_can_reboot_while_the_back_end_runs(cell: Cell, runner) -> None:
    """Firmware and kernel come back to the same process; data of the first boot is there in the second."""
    assert cells.failures(cell, runner(cell)) == []


@pytest.mark.parametrize("cell", both(MANAGES))
def test_a_guest_discards_what_it_deleted_and_switches_the_disks_cache(cell: Cell, runner) -> None:
    """fstrim reaches the image as holes, and no byte that is in use with it; the cache mode is the disk's, too."""
    seen = runner(cell)
    assert cells.failures(cell, seen) == []
    assert seen.final["requests"]["discard"] > 0


@pytest.mark.parametrize("cell", both(PAUSES))
def test_a_guest_that_is_paused_again_and_again_notices_nothing(cell: Cell, runner) -> None:
    """Each pause stops the ring under load and starts it where it stopped: no request fails, none is lost or repeated."""
    seen = runner(cell)
    assert cells.failures(cell, seen) == []
    assert seen.final["requests"]["failed"] == 0
    assert seen.final["session_count"] >= seen.guest.pauses


@pytest.mark.parametrize("cell", both(PAPR, split=True))
def test_a_ppc64_guest_behind_tce_keeps_its_data(cell: Cell, runner) -> None:
    """The seed's own platform: pseries with its TCE IOMMU."""
    assert cells.failures(cell, runner(cell)) == []


@pytest.mark.parametrize("cell", [*both(ARM), parameter(ARM_LAZY, check=False), parameter(whole(ARM_LAZY), check=False)])
def test_an_arm64_guest_behind_smmu_keeps_its_data(cell: Cell, runner) -> None:
    """AArch64 with an SMMUv3, strict and lazy invalidation."""
    assert cells.failures(cell, runner(cell)) == []


# Rule 13 (c). DEV-10: the check that refuses accesses outside live mappings. DEV-3: translation itself. Where bit 33 is
# clear the rule is DEV-4, physical addresses as they are, and the device reaches all memory by it. In the secure
# machine, what protects the private memory is that it was never handed over, so that its twin hands it over.
def twins() -> list[object]:
    """Every cell with a rule removed; one per kind of platform in `make check`."""
    found = []
    rest = [*MATRIX, SECURE, whole(PAPR), ARM, *(shape(cell) for cell in (REBIND, REBOOT, MANAGES, PAUSES, ARM_LAZY)
                                                 for shape in (whole, lambda cell: cell))]
    for cell in BY_PLATFORM + [cell for cell in rest if cell not in BY_PLATFORM]:
        kind = cell in BY_PLATFORM
        if cell.machine.platform == "secure":
            found.append(parameter(cell, "hand over all", check=kind))
            continue
        if cell.translated:
            found.append(parameter(cell, "DEV-10", check=kind))
            found.append(parameter(cell, "DEV-3", check=kind and cell.machine.platform == "vtd"))
        else:
            found.append(parameter(cell, "DEV-4", check=kind))
    return found


@pytest.mark.parametrize("cell, mutant", twins())
def test_without_the_rule_the_cell_fails(cell: Cell, mutant: str, runner) -> None:
    """The same cell, judged by the same function, comes out wrong, and in what the rule protects."""
    twin = cells.twin(cell, mutant)
    seen = runner(twin)
    wrong = cells.failures(twin, seen)
    assert wrong, f"{cell.name} holds although {mutant} was removed: this cell proves nothing"
    if mutant in ("DEV-3", "DEV-4"):  # one kind of address taken for the other leads nowhere, or to the wrong memory
        assert seen.final.get("faults", {}).get("total") or seen.final.get("identity_translations"), wrong
    else:
        assert any(text.startswith("stray:") and "was not refused" in text for text in wrong), wrong
