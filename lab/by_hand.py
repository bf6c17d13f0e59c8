#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A guest to try things in by hand: a shell on this terminal, the disk at /dev/vda.

How it works
    Makes an initramfs whose /init loads the drivers, says what was negotiated, and starts a shell; then becomes QEMU.
    `poweroff -f` ends it. The disk is either a vhost-user socket that something (viodma serve blk) listens on, or an
    image that QEMU serves itself.

    python3 -m lab.by_hand --platform vtd --socket /tmp/disk.sock
"""
from __future__ import annotations

import argparse
import os
import pathlib
import shlex
import sys
import tempfile

from . import assets, initramfs, machine


def main() -> int:
    """Build the guest and become QEMU."""
    parser = argparse.ArgumentParser(prog="python3 -m lab.by_hand", description="Boot a guest with a shell on this terminal.")
    parser.add_argument("--platform", choices=sorted(machine.PLATFORMS), default="vtd")
    disk = parser.add_mutually_exclusive_group(required=True)
    disk.add_argument("--socket", type=pathlib.Path, help="a vhost-user-blk back end listens here")
    disk.add_argument("--image", type=pathlib.Path, help="a raw image, served by QEMU itself")
    parser.add_argument("--bit33", choices=("on", "off"), default="on")
    parser.add_argument("--lazy", action="store_true", help="lazy invalidation in the guest's IOMMU driver")
    parser.add_argument("--packed", action="store_true", help="packed rings")
    parser.add_argument("--queues", type=int, default=1, help="of the disk, and processors (default: 1)")
    parser.add_argument("--no-bounce", action="store_true", help="secure only: without swiotlb=force")
    parser.add_argument("--print", action="store_true", help="print QEMU's command line and stop")
    options = parser.parse_args()
    chosen = machine.Machine(options.platform, bit33=options.bit33 == "on", strict=not options.lazy,
                             bounce=not options.no_bounce, packed=options.packed, queues=options.queues)
    directory = pathlib.Path(tempfile.mkdtemp(prefix="viodma-guest-"))
    try:
        material = assets.get(chosen.arch)
    except assets.AssetError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 2
    steps = ("lab_disk", "lab_facts", "dmesg -n 4", "stty echo", "echo 'a shell; poweroff -f ends it'", "exec setsid cttyhack sh")
    image = initramfs.build(material, initramfs.Scenario(steps), directory / "initramfs.cpio")
    command = machine.command(chosen, material, image, machine.Disk(options.socket, options.image), directory / "qmp")
    print(shlex.join(command), file=sys.stderr, flush=True)
    if options.print:
        return 0
    os.execvp(command[0], command)


if __name__ == "__main__":
    sys.exit(main())
