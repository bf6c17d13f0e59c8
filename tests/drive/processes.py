# SPDX-License-Identifier: BSD-3-Clause
"""Another process's memory, looked at from outside."""
import os
import re
import time

MAPS = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (....) ([0-9a-f]+) \S+ (\d+) *(.*)")


def maps(pid):
    """(start, end, permissions, inode, name) of each mapping."""
    try:
        with open(f"/proc/{pid}/maps") as file:
            lines = file.read().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return []
    found = []
    for line in lines:
        start, end, permissions, _, inode, name = MAPS.fullmatch(line).groups()
        found.append((int(start, 16), int(end, 16), permissions, int(inode), name))
    return found


def shared_files(pid):
    """(inode, bytes mapped) of each memfd the process has mapped."""
    sizes = {}
    for start, end, _, inode, name in maps(pid):
        if "memfd:" in name:
            sizes[inode] = sizes.get(inode, 0) + end - start
    return sorted(sizes.items())


def memfds(pid):
    """Inodes of the memfds the process holds open."""
    found = set()
    try:
        for fd in os.listdir(f"/proc/{pid}/fd"):
            try:
                if "memfd:" in os.readlink(f"/proc/{pid}/fd/{fd}"):
                    found.add(os.stat(f"/proc/{pid}/fd/{fd}").st_ino)
            except OSError:
                pass
    except (FileNotFoundError, ProcessLookupError):
        pass
    return found


def find(pid, needle, step=1 << 22):
    """The first place where `needle` stands in anything the process can read: (address, name), or None."""
    try:
        memory = open(f"/proc/{pid}/mem", "rb", buffering=0)
    except (FileNotFoundError, ProcessLookupError):
        return None
    with memory:
        for start, end, permissions, _, name in maps(pid):  # without what is huge, which is a sanitizer's own
            if permissions[0] != "r" or name in ("[vvar]", "[vsyscall]") or end - start > 1 << 28:
                continue
            for at in range(start, end, step):
                try:
                    memory.seek(at)
                    part = memory.read(min(step + len(needle), end - at))
                except (OSError, ValueError, OverflowError):
                    break
                place = part.find(needle)
                if place >= 0:
                    return at + place, name
    return None


def wait_until(condition, what, timeout):
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {timeout:.0f} s")
        time.sleep(0.002)
