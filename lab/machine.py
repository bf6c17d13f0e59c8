# SPDX-License-Identifier: BSD-3-Clause
"""QEMU command lines: which machine, which IOMMU before the disk, which memory the disk's back end is handed.

How it works
    A Machine says what stands between device and memory; command() turns it, a kernel and a disk into an argument
    list. Four platforms:

    vtd     x86, q35 with an emulated VT-d. All memory is one shared memfd. bit33=False puts the same disk behind the
            same IOMMU with iommu_platform=off, which QEMU and Linux both take as: physical addresses, no translation.
            Linux turns lazy invalidation off when the IOMMU says "caching mode", so that is on for strict only. Lazily
            it flushes whole domains, and QEMU tells a back end of those only as invalidations of a device's own
            TLB: hence device-iotlb=on and ats=on; without them stale entries stay and data is lost.
    secure  x86, q35 without an IOMMU, two NUMA nodes: node 0 is private memory that is never handed to a back end,
            node 1 a shared memfd. The disk hangs below a PCI bridge of node 1, so that its rings come from there, and
            `swiotlb=force` makes the guest copy all its requests through a pool there. bounce=False is the control
            without that; share_all=True hands over both nodes and is the twin that must be caught.
    papr    ppc64 pseries with its TCE IOMMU.       arm     AArch64 virt with an emulated SMMUv3.

    Acceleration: KVM only where a probe (a 64 KiB boot image, then a real kernel's first line) shows that it runs
    guests; a /dev/kvm that opens proves nothing. $VIODMA_LAB_ACCEL=tcg|kvm overrides the probe.
"""
from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import subprocess
import time

from . import assets

MIB = 1 << 20
PLATFORMS = {"vtd": "amd64", "secure": "amd64", "papr": "ppc64el", "arm": "arm64"}
"""Platform names and the Debian architecture of their guests."""

EMULATOR = {"amd64": "qemu-system-x86_64", "ppc64el": "qemu-system-ppc64", "arm64": "qemu-system-aarch64"}
CONSOLE = {"amd64": "ttyS0", "ppc64el": "hvc0", "arm64": "ttyAMA0"}


@dataclasses.dataclass(frozen=True)
class Disk:
    """What serves the disk: a vhost-user socket, or (for work on the lab itself) QEMU's own device on an image."""

    socket: pathlib.Path | None = None
    image: pathlib.Path | None = None
    blk_size: int = 512


@dataclasses.dataclass(frozen=True)
class Machine:
    """One virtual machine: the platform and how it is set."""

    platform: str
    bit33: bool = True
    strict: bool = True
    bounce: bool = True
    share_all: bool = False
    packed: bool = False
    queues: int = 1  # of the disk; as many processors, since Linux uses no more queues than it has of those
    memory_mib: int = 0

    @property
    def arch(self) -> str:
        """The Debian architecture of its guest."""
        return PLATFORMS[self.platform]

    @property
    def ram_bytes(self) -> int:
        """All of the guest's memory."""
        default = {"vtd": 256, "secure": 512, "papr": 512, "arm": 384}[self.platform]
        return (self.memory_mib or default) * MIB

    @property
    def ram_base(self) -> int:
        """The physical address where memory starts; it is contiguous, being small."""
        return 0x4000_0000 if self.platform == "arm" else 0

    @property
    def shared_range(self) -> tuple[int, int]:
        """First and past-the-last physical address of the memory a back end is handed."""
        if self.platform == "secure" and not self.share_all:
            return self.ram_bytes - SHARED_MIB * MIB, self.ram_bytes
        return self.ram_base, self.ram_base + self.ram_bytes

    @property
    def outside(self) -> int:
        """An address at which this machine has no memory."""
        return {"vtd": 0xD000_0000, "secure": 0xD000_0000, "papr": 0x7000_0000, "arm": 0xF000_0000}[self.platform]

    def describe(self) -> str:
        """A few words for tables and logs."""
        ring = f"{'packed' if self.packed else 'split'}, {self.queues} queue{'s' if self.queues > 1 else ''}"
        if self.platform == "secure":
            return (f"secure{'' if self.bounce else ', no bouncing'}{', all handed over' if self.share_all else ''}, {ring}")
        return f"{self.platform}, bit 33 {'on' if self.bit33 else 'off'}, {'strict' if self.strict else 'lazy'}, {ring}"


SHARED_MIB = 128
"""Node 1 of the secure machine: 64 MiB of it become the guest's bounce pool."""


def _boot_sector() -> bytes:
    """A 64 KiB firmware image that writes 0x10 to port 0xf4 (isa-debug-exit) and halts."""
    image = bytearray(b"\xf4" * 65536)
    code = bytes((0xB0, 0x10, 0xE6, 0xF4, 0xF4))  # mov al,0x10; out 0xf4,al; hlt
    image[0xFFF0:0xFFF0 + len(code)] = code
    return bytes(image)


def _probe_kvm(directory: pathlib.Path) -> bool:
    """Whether KVM really runs guests here: first 16-bit code, then a kernel up to its first line."""
    try:
        os.close(os.open("/dev/kvm", os.O_RDWR))
    except OSError:
        return False
    image = directory / "kvm-probe.bin"
    image.write_bytes(_boot_sector())
    common = [EMULATOR["amd64"], "-M", "q35,kernel-irqchip=split", "-accel", "kvm", "-m", "256", "-nodefaults",
              "-display", "none", "-no-reboot"]
    try:
        done = subprocess.run([*common, "-bios", str(image), "-device", "isa-debug-exit,iobase=0xf4"],
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=5, check=False)
        if done.returncode != (0x10 << 1 | 1):
            return False
        kernel = assets.get("amd64").kernel
        child = subprocess.Popen([*common, "-serial", "stdio", "-kernel", str(kernel), "-append",
                                  "console=ttyS0 earlyprintk=ttyS0 panic=-1"],
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert child.stdout is not None
        os.set_blocking(child.stdout.fileno(), False)
        seen, until = b"", time.monotonic() + 10
        try:
            while time.monotonic() < until and child.poll() is None and b"Linux version" not in seen:
                time.sleep(0.1)
                seen += child.stdout.read() or b""
        finally:
            child.kill()
            child.wait()
        return b"Linux version" in seen
    except (OSError, subprocess.TimeoutExpired):
        return False


def accelerator(arch: str) -> str:
    """"kvm" where it is shown to work for guests of this architecture, else "tcg"; asked once per boot of this machine."""
    forced = os.environ.get("VIODMA_LAB_ACCEL")
    if forced in ("kvm", "tcg"):
        return forced
    if arch != "amd64" or assets.native_architecture() != arch:
        return "tcg"
    directory = assets.cache_directory()
    directory.mkdir(parents=True, exist_ok=True)
    record = directory / "kvm.json"
    boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    try:
        known = json.loads(record.read_text())
        if known["boot"] == boot:
            return str(known["accel"])
    except (OSError, ValueError, KeyError):
        pass
    accel = "kvm" if _probe_kvm(directory) else "tcg"
    record.write_text(json.dumps({"boot": boot, "accel": accel}) + "\n")
    assets.progress(f"acceleration: {accel}")
    return accel


def kernel_arguments(machine: Machine) -> str:
    """The guest kernel's command line."""
    words = [f"console={CONSOLE[machine.arch]}", "quiet", "loglevel=1", "panic=0"]
    if machine.platform == "vtd":
        # no_timer_check: on a busy host a guest of two processors can wait in vain for ten ticks, and panics.
        words += ["intel_iommu=on", "no_timer_check"]
    if machine.platform in ("vtd", "arm"):
        words += [f"iommu.strict={int(machine.strict)}"]
    if machine.platform == "secure":
        # edd=off: no firmware requests for the disk from private memory. nokaslr: a kernel placed at random in the
        # shared node can leave no room there for the bounce pool, which then comes from private memory.
        words += ["edd=off", "nokaslr"] + (["swiotlb=force"] if machine.bounce else [])
    return " ".join(words)


def _memory(machine: Machine) -> list[str]:
    """Memory objects, and the NUMA nodes of the secure machine."""
    total = machine.ram_bytes // MIB
    if machine.platform != "secure":
        return ["-m", f"{total}M", "-object", f"memory-backend-memfd,id=ram,size={total}M,share=on"]
    private = total - SHARED_MIB
    kind = "memory-backend-memfd,share=on" if machine.share_all else "memory-backend-ram"
    return ["-m", f"{total}M",
            "-object", f"{kind},id=private,size={private}M",
            "-object", f"memory-backend-memfd,id=shared,size={SHARED_MIB}M,share=on",
            "-numa", f"node,nodeid=0,memdev=private,cpus=0-{machine.queues - 1}", "-numa", "node,nodeid=1,memdev=shared",
            "-device", "pxb-pcie,id=pxb,bus_nr=32,bus=pcie.0,numa_node=1",
            "-device", "pcie-root-port,id=rp,bus=pxb,chassis=1"]


def _board(machine: Machine, accel: str) -> list[str]:
    """Machine type, processor and IOMMU."""
    if machine.platform == "vtd":
        mode = "caching-mode=on" if machine.strict else "caching-mode=off,device-iotlb=on"
        return ["-M", "q35,kernel-irqchip=split,memory-backend=ram", "-accel", accel, "-cpu", "max",
                "-device", f"intel-iommu,{mode}"]
    if machine.platform == "secure":
        return ["-M", "q35", "-accel", accel, "-cpu", "max"]
    if machine.platform == "papr":
        return ["-M", "pseries,memory-backend=ram", "-accel", accel]
    return ["-M", "virt,gic-version=3,iommu=smmuv3,memory-backend=ram", "-accel", accel, "-cpu", "cortex-a72"]


def _disk(machine: Machine, disk: Disk) -> list[str]:
    """The disk and what it hangs on."""
    switch, ring = "on" if machine.bit33 else "off", "on" if machine.packed else "off"
    where = ",bus=rp" if machine.platform == "secure" else ""
    port: list[str] = []
    if machine.platform == "vtd" and not machine.strict:
        port, where = ["-device", "pcie-root-port,id=rp,chassis=1"], ",bus=rp,ats=on"  # ATS is for devices below a port
    tail = f"iommu_platform={switch},disable-legacy=on,packed={ring},num-queues={machine.queues}{where}"
    if disk.socket is not None:
        return [*port, "-chardev", f"socket,id=disk,path={disk.socket}", "-device", f"vhost-user-blk-pci,chardev=disk,{tail}"]
    return [*port, "-drive", f"if=none,id=disk,format=raw,file={disk.image}",
            "-device", f"virtio-blk-pci,drive=disk,logical_block_size={disk.blk_size},"
                       f"physical_block_size={disk.blk_size},serial=lab,{tail}"]


def command(machine: Machine, guest: assets.Assets, initramfs: pathlib.Path, disk: Disk, qmp: pathlib.Path) -> list[str]:
    """The whole argument list; the serial console is on standard input and output."""
    accel = accelerator(machine.arch)
    return [EMULATOR[machine.arch], *_board(machine, accel), *_memory(machine), "-smp", str(machine.queues),
            "-nodefaults", "-display", "none", "-serial", "stdio", "-qmp", f"unix:{qmp},server=on,wait=off",
            "-kernel", str(guest.kernel), "-initrd", str(initramfs), "-append", kernel_arguments(machine),
            *_disk(machine, disk)]
