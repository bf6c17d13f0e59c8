# SPDX-License-Identifier: BSD-3-Clause
"""One cell of the guest matrix: run it, observe it, and say everything that is wrong with it.

How it works
    run_cell() makes a disk, starts `viodma serve`, boots a guest and follows this order: the guest writes files (through
    the page cache and with O_DIRECT), remounts and reads them back; then it plants a secret in one page of its memory
    and waits. The host finds that page's physical address, reads the statistics, and has the device half attempt reads
    of its own there (the test build's "stray-read"). The guest goes on: rebinds drivers or reboots where the cell says
    so, writes again, reads all back, powers off. Then the host checks the image.

    All judgement is in functions that take what was observed and return a list of sentences, empty when the cell holds:
    failures() for a cell that must work, control_failures() for the secure machine's control, which must break in one
    particular way. A twin (the same cell with a check removed, VIODMA_MUTANT, or with all memory handed over) is
    judged by the same function and must not come out empty: that is how a cell shows that it can fail.

    A cell's sessions: each driver's use of the queue. Firmware has its own, before the kernel's; the kernel's is the
    one that runs while the secret is planted, and what is said about addresses is about that one.
"""
from __future__ import annotations

import collections.abc
import contextlib
import dataclasses
import fcntl
import os
import pathlib
import secrets
import shutil
import time

from . import disk, serve as serve_module
from .initramfs import SECRET_PREFIX, GuestFile, Scenario
from .machine import Disk, Machine
from .serve import Json, Serve, Stray
from .vm import Guest, GuestResult, LabError

SERIAL = "viodma-lab"
FIRST = (GuestFile("first", "viodma-first", 1_500_003), GuestFile("direct", "viodma-direct", 1 << 20))
LATER = (GuestFile("later", "viodma-later", 700_001),)
OUTSIDE_IDS = ("DEV-10",)
"""The requirement a read outside live mappings must be refused under."""


@dataclasses.dataclass(frozen=True)
class Cell:
    """One cell: a machine, a disk, and what happens to the driver on the way."""

    name: str
    machine: Machine
    blk_size: int = 512
    rebind: bool = False
    reboot: bool = False
    manages: bool = False  # it discards what it deleted, and switches the disk's cache
    pauses: bool = False  # the machine is stopped and goes on, again and again
    mutant: str = ""
    speed_mib: int = 0
    timeout: float = 240
    patience: int = 600  # tenths of a second the guest waits for its disk

    @property
    def translated(self) -> bool:
        """Whether an IOMMU stands before the device and the device is put behind it."""
        return self.machine.bit33 and self.machine.platform != "secure"

    @property
    def files(self) -> tuple[GuestFile, ...]:
        """Everything the disk must hold at the end."""
        return FIRST + LATER

    def scenario(self) -> Scenario:
        """What the guest does."""
        node = "0" if self.machine.platform == "secure" else ""
        sums = [f"lab_sum {file.name}" for file in FIRST]
        steps = [f"lab_disk {self.patience}", "lab_facts", "lab_mount", f"lab_write {_words(FIRST[0])}",
                 f"lab_write_direct {_words(FIRST[1])}", "lab_remount", *sums, f"lab_sum_direct {FIRST[1].name}",
                 f"lab_secret {node}", "lab_wait planted"]
        if self.speed_mib:
            steps += [f"lab_speed {self.speed_mib}", "lab_wait measured"]
        if self.manages:
            steps += ["lab_trim", 'lab_cache "write through"']
        if self.rebind:
            steps += ["lab_umount", "lab_rebind", "lab_mount", *sums]
        finish = [f"lab_write {_words(LATER[0])}", "lab_remount", *sums, f"lab_sum {LATER[0].name}", "lab_umount"]
        if self.reboot:
            return Scenario((*steps, 'lab_unplant "$ANSWER"', "lab_reboot"), ("lab_facts", "lab_mount", *sums, *finish))
        return Scenario((*steps, 'lab_unplant "$ANSWER"', *finish))


def _words(file: GuestFile) -> str:
    """A file as arguments of lab_write."""
    return f"{file.name} {file.seed} {file.size}"


@dataclasses.dataclass
class Observation:
    """Everything a run left behind, for the judging functions and the reports."""

    guest: GuestResult
    live: Json = dataclasses.field(default_factory=dict)  # statistics while the secret is planted, before the strays
    after: Json = dataclasses.field(default_factory=dict)  # the same after them
    final: Json = dataclasses.field(default_factory=dict)  # statistics at the end
    secret: str = ""
    secret_address: int = 0
    on_secret: Stray | None = None  # the attempt to read the planted page at its physical address
    outside: Stray | None = None  # the attempt to read where this machine has no memory
    image: list[str] = dataclasses.field(default_factory=list)  # what is wrong with the image
    serve_exit: int | None = None
    serve_log: pathlib.Path = pathlib.Path()
    trace: pathlib.Path = pathlib.Path()
    milestones: list[tuple[int, str]] = dataclasses.field(default_factory=list)  # CLOCK_MONOTONIC ns, what
    lab_errors: list[str] = dataclasses.field(default_factory=list)
    seconds: float = 0.0

    @property
    def session(self) -> Json:
        """The kernel's session, as it was when the secret was planted; empty if it never came to that."""
        found = serve_module.sessions(self.live)
        return found[-1] if found else {}

    @property
    def verified(self) -> bool:
        """Whether the bytes were right everywhere: in the guest after remounting and in the image."""
        return not self.image and not _data_failures(self.guest, FIRST + LATER)


MILESTONES = {
    "init": "kernel is up", "sectors": "disk found", "written.first": "files written", "direct.direct": "read back",
    "speed_read_cs": "speed measured", "sum.later": "read back again", "end": "power off",
}
"""Results of the guest worth telling whoever waits."""


def run_cell(cell: Cell, program: pathlib.Path, directory: pathlib.Path, *, trace: bool = False,
             tell: collections.abc.Callable[[str], None] = lambda _: None) -> Observation:
    """Run one cell from an empty disk to a checked one. Never raises for what the program or the guest did.

    tell gets a few words as things happen.
    """
    with _own(directory) as directory:
        return _run_cell(cell, program, directory, trace, tell)


@contextlib.contextmanager
def _own(directory: pathlib.Path) -> collections.abc.Iterator[pathlib.Path]:
    """An empty directory for one run; with another name if somebody else is running the same cell just now."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    with open(directory.with_name(f".{directory.name}.lock"), "w", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            directory = directory.with_name(f"{directory.name}.{os.getpid()}")
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir()
        yield directory


def _run_cell(cell: Cell, program: pathlib.Path, directory: pathlib.Path, trace: bool,
              tell: collections.abc.Callable[[str], None]) -> Observation:
    """run_cell, in a directory of its own."""
    started = time.monotonic()
    image = disk.make(directory / "disk.img")
    seen = Observation(GuestResult(), secret=secrets.token_hex(32))
    page = f"{SECRET_PREFIX}{seen.secret}\n".encode()

    def milestone(text: str) -> None:
        seen.milestones.append((time.monotonic_ns(), text))
        tell(text)

    def planted(guest: Guest) -> str:
        milestone("secret planted")
        try:
            seen.live = seen.after = server.device()
            seen.secret_address = guest.find_secret(page)
            seen.on_secret = server.stray(seen.secret_address, len(page))
            tell(f"stray read of the secret at {seen.secret_address:#x}: {seen.on_secret}")
            seen.outside = server.stray(cell.machine.outside, len(page))
            seen.after = server.device()
        except LabError as error:
            seen.lab_errors.append(str(error))
        return SECRET_PREFIX + seen.secret

    try:
        with Serve(program, image, directory, blk_size=cell.blk_size, queues=cell.machine.queues, mutant=cell.mutant,
                   trace=trace) as server:
            seen.serve_log, seen.trace = server.log, server.trace_path
            with Guest(cell.machine, cell.scenario(), Disk(socket=server.socket), directory) as guest:
                seen.guest = guest.result
                guest.pause_every = 0.1 if cell.pauses else 0.0
                guest.observer = lambda key, _: milestone(MILESTONES[key]) if key in MILESTONES else None
                if cell.mutant in ("DEV-3", "DEV-4"):  # every access goes astray: one refusal says it all
                    guest.hopeless = lambda: "fault:" in server.log_text()
                guest.run(cell.timeout, {"plant": lambda _: seen.secret, "planted": planted,
                                         "measured": lambda _: SECRET_PREFIX + seen.secret})
            if server.running():
                seen.final = server.device()
            seen.serve_exit = server.stop()
            if seen.serve_exit == 0:
                seen.final = server.device(refresh=False)
    except LabError as error:
        seen.lab_errors.append(str(error))
    seen.image = disk.check(image, cell.files)
    seen.seconds = time.monotonic() - started
    if not seen.image and not cell.mutant:
        image.unlink()
    return seen


def _data_failures(guest: GuestResult, files: tuple[GuestFile, ...]) -> list[str]:
    """What is wrong with the checksums the guest computed after remounting."""
    failures = []
    for file in files:
        for kind in ("sum", "direct"):
            said = guest.lists.get(f"{kind}.{file.name}", [])
            if not said and (kind == "sum" or file.name == "direct"):
                failures.append(f"data: the guest never read {file.name} back")
            if any(value != file.sha256() for value in said):
                failures.append(f"data: the guest read other bytes from {file.name} than it was told to write")
    return failures


def _guest_failures(cell: Cell, seen: Observation) -> list[str]:
    """What the guest itself saw."""
    guest = seen.guest
    failures = [f"lab: {error}" for error in seen.lab_errors]
    if guest.ended != "off" or guest.values.get("end") != "done":
        why = guest.values.get("failed", "see its log")
        failures.append(f"guest: ended by {guest.ended} ({why}; {guest.log})")
    failures += _data_failures(guest, cell.files)
    failures += [f"image: {text}" for text in seen.image]
    expected = {"block_size": str(cell.blk_size), "serial": SERIAL, "secret": "intact"}
    if cell.machine.platform in ("vtd", "arm"):
        expected["iommu_type"] = "DMA" if cell.machine.strict else "DMA-FQ"
    for key, value in expected.items():
        if guest.values.get(key) != value:
            failures.append(f"guest: {key} is {guest.values.get(key)}, not {value}")
    if guest.bit(33) != cell.machine.bit33 or not guest.bit(32):
        failures.append(f"guest: accepted bits 32, 33 are {guest.bit(32)}, {guest.bit(33)}")
    if guest.bit(34) != cell.machine.packed or guest.bit(12) != (cell.machine.queues > 1):
        failures.append(f"guest: accepted bits 12, 34 are {guest.bit(12)}, {guest.bit(34)}: other queues than were asked for")
    if cell.rebind and guest.lists.get("rebind") != ["virtio", "pci"]:
        failures.append("guest: the disk did not come back after unbind and bind")
    if cell.manages:
        if guest.values.get("trimmed") != "yes" or guest.values.get("cache") != "write through":
            failures.append(f"guest: trimmed {guest.values.get('trimmed')}, cache {guest.values.get('cache')}")
        if guest.values.get("discard_max", "0") == "0" or guest.values.get("write_zeroes_max", "0") == "0":
            failures.append("guest: the disk offers it neither to discard nor to zero")
    if cell.pauses and guest.pauses < 10:
        failures.append(f"guest: it was paused {guest.pauses} times, too few to tell")
    if cell.reboot and guest.lists.get("boot") != ["1", "2"]:
        failures.append(f"guest: boots are {guest.lists.get('boot')}, not two")
    return failures


def _address_failures(cell: Cell, seen: Observation) -> list[str]:
    """Where the kernel's rings lie and what its addresses are: rule 13 (a)."""
    session, failures = seen.session, []
    low, high = cell.machine.shared_range
    kernels = serve_module.sessions(seen.live)[-cell.machine.queues:]  # one for each queue
    rings = [(f"{part} of {each}", int(str(one.get(part, "0")), 0)) for each, one in enumerate(kernels)
             for part in ("desc", "avail", "used")]
    if len({address for _, address in rings}) != 3 * cell.machine.queues:
        failures.append(f"rings: {len(kernels)} queues have {rings}, which are not {cell.machine.queues} of their own")
    for part, address in rings:
        if address == 0:
            failures.append(f"rings: the session has no address for {part}")
        elif cell.translated and cell.machine.ram_base <= address < cell.machine.ram_base + cell.machine.ram_bytes:
            failures.append(f"rings: {part} at {address:#x} is a physical address, not a bus address")
        elif not cell.translated and not low <= address < high:
            failures.append(f"rings: {part} at {address:#x} is not in the memory handed over, {low:#x} to {high:#x}")
    used = {again.get("desc") for again in kernels + serve_module.sessions(seen.final) if again.get("requests")}
    if not all(one.get("desc") in used for one in kernels):
        failures.append(f"rings: one of {cell.machine.queues} queues was never used")
    if session.get("bit33") != cell.translated or session.get("iotlb_active") != cell.translated:
        failures.append(f"device: bit33, iotlb_active are {session.get('bit33')}, {session.get('iotlb_active')} "
                        f"in the kernel's session, not {cell.translated}")
    # A paused ring starts a session of its own when it goes on, perhaps to do nothing more.
    own = [one for one in serve_module.sessions(seen.final) if one.get("desc") in {ring.get("desc") for ring in kernels}]
    translations, identity = (sum(one.get(name, 0) for one in own) for name in ("translations", "identity_translations"))
    if cell.translated and (identity != 0 or translations == 0):
        failures.append(f"addresses: {identity} of {translations} translations left the address as it was")
    later = serve_module.sessions(seen.final)[len(serve_module.sessions(seen.live)):]
    for again in later[-cell.machine.queues:] if cell.reboot else later:  # after a reboot, firmware comes first
        if again.get("bit33") != cell.translated or again.get("faults", 0) != 0 or (
                cell.translated and again.get("identity_translations", 0) != 0):
            failures.append(f"addresses: a later session of the kernel is amiss: {again}")
    if len(later) < (2 * cell.machine.queues if cell.rebind else 2 if cell.reboot else 0):
        failures.append(f"rings: only {len(later)} sessions after the first of the kernel's")
    if session.get("faults", 0) != 0:
        recent = seen.live.get("faults", {}).get("recent", [])
        failures.append(f"faults: {session.get('faults')} before any stray access ({recent[-3:]})")
    return failures


def _counter_failures(cell: Cell, seen: Observation) -> list[str]:
    """Counters that must fit each other."""
    failures, final = [], seen.final
    iotlb, faults = final.get("iotlb", {}), final.get("faults", {})
    misses, answered, failed = (iotlb.get(key, 0) for key in ("misses", "answered", "failed"))
    dropped = iotlb.get("dropped", 0)  # the ring stopped first, and with it whatever waited for the answer
    if misses != answered + failed + dropped or (dropped and not cell.pauses) or iotlb.get("outstanding", 0) != 0:
        failures.append(f"iotlb: {misses} misses, {answered} answered, {failed} failed, "
                        f"{iotlb.get('outstanding')} outstanding")
    if failed > faults.get("total", 0):
        failures.append(f"iotlb: {failed} failed misses but {faults.get('total', 0)} faults counted")
    if cell.translated and (iotlb.get("updates", 0) == 0 or iotlb.get("hits", 0) == 0):
        failures.append(f"iotlb: never used ({iotlb})")
    # pseries maps all memory once, into a window of its own: it has nothing to unmap.
    unmaps = cell.translated and cell.machine.strict and cell.machine.platform != "papr"
    if unmaps and iotlb.get("invalidations", 0) == 0:
        failures.append("iotlb: no invalidation although the guest unmaps strictly")
    requests, moved = final.get("requests", {}), final.get("bytes", {})
    if not (requests.get("in") and requests.get("out") and requests.get("flush") and requests.get("get_id")):
        failures.append(f"requests: {requests}")
    if cell.manages and not requests.get("discard"):
        failures.append(f"requests: nothing was discarded: {requests}")
    if moved.get("out", 0) < sum(file.size for file in cell.files):
        failures.append(f"bytes: {moved} is less than the files hold")
    if requests.get("failed", 0) != 0:
        failures.append(f"requests: {requests['failed']} failed")
    low, high = cell.machine.shared_range
    peak = seen.session.get("reachable_bytes_peak", 0)
    limit = cell.machine.ram_bytes // 2 if cell.translated else high - low
    if not 0 < peak <= limit:
        failures.append(f"reach: {peak} bytes were reachable at the peak; expected above 0 and at most {limit}")
    if seen.serve_exit != 0:
        failures.append(f"serve: exit status {seen.serve_exit} ({seen.serve_log})")
    return failures


def _stray_failures(cell: Cell, seen: Observation) -> list[str]:
    """The forbidden access: refused with its requirement and counted; where bit 33 is clear, the contrast: rule 13 (b)."""
    failures = []
    probes = [("outside memory", seen.outside)]
    if cell.translated or cell.machine.platform == "secure":
        probes.append(("of the planted secret", seen.on_secret))
    elif seen.on_secret is None or seen.on_secret.outcome != "read" or seen.secret.encode() not in seen.on_secret.data:
        failures.append(f"stray: with bit 33 clear the secret at {seen.secret_address:#x} should have been read: "
                        f"{seen.on_secret}")
    for what, stray in probes:
        if stray is None:
            failures.append(f"stray: no read {what} was attempted")
        elif not stray.refused:
            leak = ", the secret came back" if seen.secret.encode() in stray.data else ""
            failures.append(f"stray: a read {what} at {stray.address:#x} was not refused: {stray} {stray.reason}{leak}")
        elif stray.requirement not in OUTSIDE_IDS:
            failures.append(f"stray: a read {what} was refused under {stray.requirement}, not {OUTSIDE_IDS}")
    before, after = (part.get("faults", {}).get("total", 0) for part in (seen.live, seen.after))
    if after < before + len(probes):
        failures.append(f"stray: {len(probes)} refusals raised the fault count from {before} to {after}")
    return failures


def failures(cell: Cell, seen: Observation) -> list[str]:
    """Everything wrong with a cell that must work; empty when it holds."""
    return [*_guest_failures(cell, seen), *_address_failures(cell, seen), *_counter_failures(cell, seen),
            *_stray_failures(cell, seen)]


def control_failures(cell: Cell, seen: Observation) -> list[str]:
    """The secure machine without bouncing: it must not work, and for one reason, a private address in the ring."""
    problems = [f"lab: {error}" for error in seen.lab_errors]
    low, _ = cell.machine.shared_range
    if seen.verified or "written.first" in seen.guest.values:
        problems.append("control: the disk worked although its requests lay in private memory")
    faults = seen.final.get("faults", {})
    private = [fault for fault in faults.get("recent", []) if int(str(fault.get("address", "-1")), 0) < low]
    if not private:
        problems.append(f"control: no fault names a private address (below {low:#x}): {faults}")
    elif any(fault.get("requirement") not in OUTSIDE_IDS for fault in private):
        problems.append(f"control: refused under another requirement than {OUTSIDE_IDS}: {private}")
    if seen.serve_exit != 0:
        problems.append(f"serve: exit status {seen.serve_exit} ({seen.serve_log})")
    return problems


def twin(cell: Cell, mutant: str) -> Cell:
    """The same cell with the rule removed: a requirement's check, or what the secure machine never hands over."""
    if mutant == "hand over all":
        return dataclasses.replace(cell, name=f"{cell.name}, all memory handed over",
                                   machine=dataclasses.replace(cell.machine, share_all=True))
    return dataclasses.replace(cell, name=f"{cell.name}, without {mutant}", mutant=mutant, timeout=120, patience=80)
