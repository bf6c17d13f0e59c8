# SPDX-License-Identifier: BSD-3-Clause
"""Make a guest: a busybox initramfs with the modules it needs and an /init that carries out one scenario.

How it works
    A scenario is a list of shell commands, each a call of a function of the prelude below (`lab_mount`,
    `lab_write NAME SEED SIZE`, ...). build() writes a cpio archive ("newc", the kernel's own format) in Python, device
    nodes included, so no root is needed. Modules are put in the order modprobe would load them, from the `depends=`
    and `softdep=` records inside the modules themselves: Debian's packages carry no modules.dep.

    The guest talks on its console only. Lines for the machine:
        LAB: key=value       a result                 LAB: failed=text    the scenario stops, the guest powers off
        LAB: at POINT        the guest waits until the host sends one line back (handed to the step that waits)
    Everything else on the console is for people. The kernel is told to be quiet, so lines are not cut in two.

    File contents come from a seed and a size, the same on both sides: numbers from 10000000 on with the seed between
    them, so that every 4 KiB differ and a page in the wrong place is found (content()).

    A scenario that reboots leaves a marker on the disk; at the next boot /init finds it and goes on with
    `after_reboot`.
"""
from __future__ import annotations

import dataclasses
import hashlib
import pathlib
import re
import stat

from . import assets

MODULES = ("virtio_ring", "virtio", "virtio_pci", "crc32c_generic", "ext4", "virtio_blk")
"""What every guest loads, virtio_blk last: loading it starts the disk's first requests."""

SECRET_PREFIX = "VIODMA-LAB-SECRET:"
"""How the page that holds a planted secret begins."""

PRELUDE = r"""#!/bin/busybox sh
# SPDX-License-Identifier: BSD-3-Clause
# Made by viodma's lab/initramfs.py.
export PATH=/bin
/bin/busybox --install -s /bin
mkdir -p /mnt /tmp
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev 2>/dev/null
dmesg -n 1
stty -echo
DISK=/dev/vda

lab() { echo "LAB: $1"; }
lab_off() { sync; lab "end=$1"; poweroff -f; sleep 100; }
lab_fail() { lab "failed=$1"; lab_dmesg; lab_off failed; }
lab_wait() { lab "at $1"; read -r ANSWER; }
lab_now() { read -r now rest < /proc/uptime; echo "${now%.*}${now#*.}"; }   # hundredths of a second

lab_modules() {
    for m in $(cat /modules/order); do
        case $m in
            virtio_blk.ko) insmod /modules/$m & ;;     # the probe reads the disk: it must not hold up the rest
            *) insmod /modules/$m || lab_fail "insmod $m" ;;
        esac
    done
}

lab_disk() {                                   # [TENTHS]: wait until the disk is there and answers a read
    rm -f /tmp/answered
    asked= n=0
    until [ -e /tmp/answered ]; do
        if [ -z "$asked" ] && [ -b $DISK ]; then
            asked=yes
            { dd if=$DISK of=/dev/null bs=4096 count=1 iflag=direct status=none && : > /tmp/answered; } &
        fi
        n=$((n + 1))
        [ $n -gt ${1:-600} ] && lab_fail "no disk"
        sleep 0.1
    done
}

lab_facts() {                                  # what was negotiated, and what stands before the device
    device=$(readlink -f /sys/bus/virtio/devices/virtio0)
    lab "features=$(cat $device/features)"
    lab "block_size=$(cat /sys/block/vda/queue/logical_block_size)"
    lab "sectors=$(cat /sys/block/vda/size)"
    lab "serial=$(cat /sys/block/vda/serial)"
    lab "iommu_type=$(cat $device/../iommu_group/type 2>/dev/null || echo none)"
    lab "numa_node=$(cat $device/../numa_node 2>/dev/null || echo -1)"
    lab "kernel=$(uname -r)"
    mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null
    lab "swiotlb_slots=$(cat /sys/kernel/debug/swiotlb/io_tlb_nslabs 2>/dev/null || echo 0)"
    lab "mem_total_kib=$(awk '/MemTotal/ { print $2 }' /proc/meminfo)"
}

lab_mount() { mount -t ext4 $DISK /mnt || lab_fail "mount"; }
lab_umount() { sync; umount /mnt || lab_fail "umount"; echo 3 > /proc/sys/vm/drop_caches; blockdev --flushbufs $DISK; }
lab_remount() { lab_umount; lab_mount; }
lab_content() { seq -s "-$1-" 10000000 99999999 2>/dev/null | head -c $2; }
lab_write() {
    lab_content $2 $3 > /mnt/$1 || lab_fail "write $1"
    sync
    lab "written.$1=$3"
}
lab_write_direct() {                           # NAME SEED SIZE, O_DIRECT, the size a multiple of 64 KiB
    lab_content $2 $3 | dd of=/mnt/$1 iflag=fullblock oflag=direct bs=64k conv=fsync status=none || lab_fail "direct write $1"
    lab "written.$1=$3"
}
lab_sum() { s=$(sha256sum < /mnt/$1) || lab_fail "read $1"; lab "sum.$1=${s%% *}"; }
lab_sum_direct() {
    s=$(dd if=/mnt/$1 iflag=direct bs=64k status=none | sha256sum) || lab_fail "direct read $1"
    lab "direct.$1=${s%% *}"
}
lab_speed() {                                  # MIB: O_DIRECT write, then O_DIRECT read of one file, timed
    dd if=/dev/zero of=/mnt/speed oflag=direct bs=256k count=$((4 * $1)) status=none || lab_fail "speed"
    t0=$(lab_now)
    dd if=/dev/zero of=/mnt/speed oflag=direct bs=256k count=$((4 * $1)) conv=notrunc status=none || lab_fail "speed"
    t1=$(lab_now)
    dd if=/mnt/speed of=/dev/null iflag=direct bs=256k status=none || lab_fail "speed"
    t2=$(lab_now)
    lab "speed_bytes=$(($1 * 1048576))"
    lab "speed_write_cs=$((t1 - t0))"
    lab "speed_read_cs=$((t2 - t1))"
    rm /mnt/speed
}
lab_trim() {                                   # what was deleted is discarded
    lab "discard_max=$(cat /sys/block/vda/queue/discard_max_bytes)"
    lab "write_zeroes_max=$(cat /sys/block/vda/queue/write_zeroes_max_bytes)"
    lab_content viodma-gone 8388608 > /mnt/gone || lab_fail "write gone"
    sync
    rm /mnt/gone
    sync
    fstrim /mnt || lab_fail "fstrim"
    lab "trimmed=yes"
}
lab_cache() {                                  # MODE, "write through" or "write back": switch the disk's cache
    echo "$1" > /sys/block/vda/cache_type || lab_fail "cache_type"
    lab "cache=$(cat /sys/block/vda/cache_type)"
}
lab_rebind() {                                 # unbind and bind the disk's driver, then the transport's
    echo virtio0 > /sys/bus/virtio/drivers/virtio_blk/unbind || lab_fail "unbind"
    [ -b $DISK ] && lab_fail "disk there after unbind"
    echo virtio0 > /sys/bus/virtio/drivers/virtio_blk/bind || lab_fail "bind"
    lab_disk
    lab "rebind=virtio"
    device=$(readlink -f /sys/bus/virtio/devices/virtio0); slot=$(basename $(dirname $device))
    echo $slot > /sys/bus/pci/drivers/virtio-pci/unbind || lab_fail "pci unbind"
    echo $slot > /sys/bus/pci/drivers/virtio-pci/bind || lab_fail "pci bind"
    for d in /sys/bus/virtio/devices/*; do lab "rebind_device=$(basename $d)"; done
    lab_disk
    lab "rebind=pci"
}
lab_secret() {                                 # [NODE]: the host sends a secret, which ends up in one page of memory
    mkdir -p /secret
    mount -t tmpfs ${1:+-o mpol=bind:$1} tmpfs /secret || lab_fail "tmpfs"
    lab_wait plant
    { printf '%s%s\n' "VIODMA-LAB-SECRET:" "$ANSWER"; yes viodma-lab-filler | head -c 4000; } > /secret/page
    lab "planted=$(stat -c %s /secret/page)"
}
lab_unplant() { s=$(head -c ${#1} /secret/page); [ "$s" = "$1" ] && lab "secret=intact" || lab "secret=changed"; }
lab_reboot() { touch /mnt/.lab-rebooted; lab_umount; lab "reboot=now"; reboot -f; sleep 100; }
lab_dmesg() {
    dmesg | grep -iE 'DMAR|iommu|swiotlb|software IO TLB|smmu|SRAT|I/O error|virtio|fault|NUMA' | head -n 80 |
        while read -r l; do lab "dmesg=$l"; done
}

lab "init=started"
lab_modules
"""


@dataclasses.dataclass(frozen=True)
class GuestFile:
    """One file the guest writes: its name, the seed its content comes from, its size in bytes."""

    name: str
    seed: str
    size: int

    def sha256(self) -> str:
        """The checksum both sides must arrive at."""
        return hashlib.sha256(content(self.seed, self.size)).hexdigest()


@dataclasses.dataclass(frozen=True)
class Scenario:
    """What the guest does, in order; after_reboot is for the boot after a `lab_reboot` step."""

    steps: tuple[str, ...]
    after_reboot: tuple[str, ...] = ()


def content(seed: str, size: int) -> bytes:
    """The bytes lab_content prints for a seed."""
    between = f"-{seed}-"
    count = size // (8 + len(between)) + 1
    return between.join(map(str, range(10_000_000, 10_000_000 + count + 1))).encode()[:size]


def _records(module: pathlib.Path) -> dict[str, str]:
    """The NUL-terminated key=value records of a module's .modinfo section that say what it needs."""
    data = module.read_bytes()
    found = {}
    for key in (b"depends", b"softdep"):
        hit = re.search(rb"\0" + key + rb"=([^\0]*)\0", data)
        found[key.decode()] = hit.group(1).decode() if hit else ""
    return found


def module_order(modules: pathlib.Path, wanted: tuple[str, ...] = MODULES) -> list[pathlib.Path]:
    """The wanted modules and all they depend on, each after what it needs; built-in ones are left out."""
    by_name = {path.stem.replace("-", "_"): path for path in modules.rglob("*.ko")}
    builtin = {pathlib.PurePath(line).stem.replace("-", "_") for line in (modules / "modules.builtin").read_text().split()}
    order: list[pathlib.Path] = []

    def visit(name: str, above: tuple[str, ...]) -> None:
        name = name.replace("-", "_")
        if name in builtin or name in above:
            return
        if name not in by_name:
            raise assets.AssetError(f"module {name} (needed by {' < '.join(above) or 'the lab'}) is not in {modules}")
        path = by_name[name]
        if path in order:
            return
        records = _records(path)
        for needed in filter(None, records["depends"].split(",")):
            visit(needed, (name, *above))
        order.append(path)

    for name in wanted:
        visit(name, ())
    return order


class Cpio:
    """A cpio archive in the "newc" format, in memory."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.inode = 0

    def add(self, name: str, mode: int, data: bytes = b"", device: tuple[int, int] = (0, 0)) -> None:
        """Add one entry; parent directories must have been added before."""
        self.inode += 1
        path = name.encode() + b"\0"
        fields = (self.inode, mode, 0, 0, 1, 0, len(data), 0, 0, device[0], device[1], len(path), 0)
        header = b"070701" + b"".join(b"%08X" % field for field in fields)
        head = header + path
        self.parts.append(head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4))

    def directory(self, name: str) -> None:
        """Add a directory."""
        self.add(name, stat.S_IFDIR | 0o755)

    def finish(self) -> bytes:
        """The whole archive, its trailer included."""
        self.inode = -1
        self.add("TRAILER!!!", 0)
        return b"".join(self.parts)


def init_script(scenario: Scenario) -> str:
    """The /init of a scenario."""
    lines = [PRELUDE]
    if scenario.after_reboot:
        lines += ["lab_disk", "lab_mount", "if [ -e /mnt/.lab-rebooted ]; then", "lab boot=2", "umount /mnt",
                  *scenario.after_reboot, "lab_dmesg", "lab_off done", "fi", "umount /mnt"]
    lines += ["lab boot=1", *scenario.steps, "lab_dmesg", "lab_off done", ""]
    return "\n".join(lines)


def build(guest: assets.Assets, scenario: Scenario, target: pathlib.Path) -> pathlib.Path:
    """Write the initramfs of one guest and scenario to target."""
    archive = Cpio()
    for name in ("bin", "dev", "proc", "sys", "modules"):
        archive.directory(name)
    archive.add("dev/console", stat.S_IFCHR | 0o600, device=(5, 1))
    archive.add("dev/null", stat.S_IFCHR | 0o666, device=(1, 3))
    archive.add("bin/busybox", stat.S_IFREG | 0o755, guest.busybox.read_bytes())
    order = module_order(guest.modules)
    for path in order:
        archive.add(f"modules/{path.name}", stat.S_IFREG | 0o644, path.read_bytes())
    archive.add("modules/order", stat.S_IFREG | 0o644, "".join(path.name + "\n" for path in order).encode())
    archive.add("init", stat.S_IFREG | 0o755, init_script(scenario).encode())
    target.write_bytes(archive.finish())
    return target
