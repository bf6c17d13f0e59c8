#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Fetch what a guest is made of: Debian's kernel, its modules, and busybox, for one architecture.

How it works
    Everything comes as Debian packages through the machine's own apt: its sources, its keys, its proxy settings. No
    host is named here. The machine's own architecture uses apt's lists as they are; if those are missing or too old,
    and for every foreign architecture, a private apt state under the cache is used (an empty status file, lists and
    archives of its own), so that nothing of the machine's package state is changed and no root is needed.

    A meta package (linux-image-cloud-amd64) names the real, versioned one in its Depends field. Packages are opened
    with dpkg-deb and read as a tar stream: only the kernel, the modules a guest may need and the busybox program are
    kept. A finished directory carries `assets.json`; where that exists nothing is fetched, so warm runs need no net.

    Cache: build/lab/ next to this directory, or $VIODMA_LAB_CACHE.

Command line:  python3 -m lab.assets [amd64|ppc64el|arm64 ...]
"""
from __future__ import annotations

import dataclasses
import fcntl
import json
import lzma
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile

ROOT = pathlib.Path(__file__).resolve().parent.parent

KERNEL_PACKAGE = {
    "amd64": "linux-image-cloud-amd64",
    "arm64": "linux-image-cloud-arm64",
    "ppc64el": "linux-image-powerpc64le",
}
"""Per Debian architecture, the meta package whose dependency is the kernel."""

QEMU_PACKAGE = {"amd64": "qemu-system-x86", "arm64": "qemu-system-arm", "ppc64el": "qemu-system-ppc"}
"""Per Debian architecture, the package that brings the emulator (for scripts/packages)."""

# Module directories worth keeping; the rest of a kernel package (sound, wireless, ...) is never unpacked.
KEEP = re.compile(
    r"^\./(?:usr/)?lib/modules/[^/]+/"
    r"(?:modules\.builtin|modules\.order|"
    r"kernel/(?:drivers/(?:virtio|block)|fs/(?:ext4|jbd2|mbcache\.ko)|lib|crypto|arch/[^/]+/(?:crypto|lib))\b.*)$"
)
KERNEL = re.compile(r"^\./boot/vmlinu[xz]-.+$")
LAYOUT = 1  # raise it when what is kept changes; older directories are then made again


class AssetError(RuntimeError):
    """A package could not be had; the message names it and says what to try."""


@dataclasses.dataclass(frozen=True)
class Assets:
    """What one architecture's guest is made of; all paths exist."""

    arch: str
    kernel: pathlib.Path
    version: str
    modules: pathlib.Path  # the directory that holds kernel/...
    busybox: pathlib.Path


def cache_directory() -> pathlib.Path:
    """Where fetched packages and built guests are kept."""
    return pathlib.Path(os.environ.get("VIODMA_LAB_CACHE") or ROOT / "build" / "lab").resolve()


def progress(text: str) -> None:
    """One line for whoever waits."""
    print(f"lab: {text}", file=sys.stderr, flush=True)


def native_architecture() -> str:
    """The machine's own Debian architecture."""
    return subprocess.run(["dpkg", "--print-architecture"], check=True, capture_output=True, text=True).stdout.strip()


class Apt:
    """apt-get and apt-cache for one architecture, in the machine's own state or in a private one."""

    def __init__(self, arch: str, state: pathlib.Path | None) -> None:
        self.arch = arch
        self.options: list[str] = []
        if state is None:
            return
        for part in ("state/lists/partial", "cache/archives/partial"):
            (state / part).mkdir(parents=True, exist_ok=True)
        status = state / "state" / "status"
        status.touch()
        settings = {
            "APT::Architecture": arch,
            "APT::Architectures": arch,
            "Dir::State": state / "state",
            "Dir::State::status": status,
            "Dir::Cache": state / "cache",
            "Acquire::Languages": "none",
            "Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled": "false",
            "Debug::NoLocking": "1",
        }
        if os.geteuid() == 0:
            settings["APT::Sandbox::User"] = "root"  # else apt drops to a user who cannot read our directory
        for name, value in settings.items():
            self.options += ["-o", f"{name}={value}"]

    def run(self, program: str, *arguments: str, cwd: pathlib.Path | None = None) -> str:
        """Run one apt program; raises AssetError with what it said."""
        done = subprocess.run([program, *self.options, *arguments], cwd=cwd, capture_output=True, text=True, timeout=1200)
        if done.returncode != 0:
            raise AssetError(f"{program} {' '.join(arguments)} ({self.arch}): {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def update(self) -> None:
        """Fetch package lists (private state only).

        One suite that cannot be had (a mirror in the middle of its own update) does not matter as long as another
        names the packages: apt keeps the good ones, and every file is still checked against a signed list.
        """
        progress(f"{self.arch}: fetching package lists")
        try:
            self.run("apt-get", "-q", "update")
        except AssetError as error:
            progress(f"{self.arch}: going on with the lists that could be had ({str(error).splitlines()[0][:200]})")

    def kernel_package(self, meta: str) -> str:
        """The versioned kernel package behind a meta package."""
        for line in self.run("apt-cache", "show", "--no-all-versions", meta).splitlines():
            if line.startswith("Depends:"):
                found = re.search(r"\blinux-image-\d[^\s,(]*", line)
                if found:
                    return found.group(0)
        raise AssetError(f"{meta} ({self.arch}) names no versioned kernel package")

    def download(self, package: str, into: pathlib.Path) -> pathlib.Path:
        """Fetch one .deb into a directory and return its path."""
        into.mkdir(parents=True, exist_ok=True)
        for old in into.glob(f"{package}_*.deb"):
            old.unlink()
        progress(f"{self.arch}: fetching {package}")
        self.run("apt-get", "-q", "download", package, cwd=into)
        found = list(into.glob(f"{package}_*.deb"))
        if not found:
            raise AssetError(f"apt-get download {package} ({self.arch}) left no file")
        return found[0]


def unpack(deb: pathlib.Path, into: pathlib.Path, wanted: list[re.Pattern[str]]) -> list[pathlib.Path]:
    """Take the wanted members out of a package's file tree; compressed modules are stored decompressed."""
    kept: list[pathlib.Path] = []
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(deb)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        with tarfile.open(fileobj=child.stdout, mode="r|") as archive:
            for member in archive:
                if not member.isfile() or not any(pattern.match(member.name) for pattern in wanted):
                    continue
                source = archive.extractfile(member)
                assert source is not None
                data = source.read()
                name = member.name
                if name.endswith(".ko.xz"):
                    name, data = name[:-3], lzma.decompress(data)
                target = (into / name).resolve()
                if into.resolve() not in target.parents:
                    raise AssetError(f"{deb.name}: member {member.name} leads outside")
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)
                kept.append(target)
    if child.returncode != 0:
        raise AssetError(f"{deb}: dpkg-deb cannot read it")
    return kept


def _load(directory: pathlib.Path) -> Assets | None:
    """A directory finished earlier, or None."""
    try:
        record = json.loads((directory / "assets.json").read_text())
    except (OSError, ValueError):
        return None
    if record.get("layout") != LAYOUT:
        return None
    assets = Assets(record["arch"], directory / record["kernel"], record["version"],
                    directory / record["modules"], directory / record["busybox"])
    return assets if all(path.exists() for path in (assets.kernel, assets.modules, assets.busybox)) else None


def _fetch(arch: str, directory: pathlib.Path) -> Assets:
    """Fetch and unpack; writes assets.json last, so that a broken-off attempt counts for nothing."""
    debs = directory / "packages"
    private = cache_directory() / "apt" / arch
    attempts: list[pathlib.Path | None] = [private]
    if arch == native_architecture() and not (private / "state" / "lists").exists():
        attempts.insert(0, None)
    failure: AssetError | None = None
    for state in attempts:
        apt = Apt(arch, state)
        try:
            if state is not None:
                apt.update()
            kernel_deb = apt.download(apt.kernel_package(KERNEL_PACKAGE[arch]), debs)
            busybox_deb = apt.download("busybox-static", debs)
            break
        except AssetError as error:
            failure = error
    else:
        raise AssetError(f"{failure}\n(needed: {KERNEL_PACKAGE[arch]} and busybox-static for {arch}, "
                         "from the Debian archive that apt's sources name)")
    progress(f"{arch}: unpacking {kernel_deb.name}")
    root = directory / "root"
    shutil.rmtree(root, ignore_errors=True)
    files = unpack(kernel_deb, root, [KEEP, KERNEL])
    files += unpack(busybox_deb, root, [re.compile(r"^\./(?:usr/)?bin/busybox$")])
    kernels = [path for path in files if path.parent.name == "boot"]
    busyboxes = [path for path in files if path.name == "busybox"]
    modules = sorted({path.parent for path in files if path.name == "modules.builtin"})
    if not (kernels and busyboxes and modules):
        raise AssetError(f"{arch}: kernel, modules or busybox missing in {kernel_deb.name}, {busybox_deb.name}")
    busyboxes[0].chmod(0o755)
    record = {"layout": LAYOUT, "arch": arch, "version": modules[0].name,
              "kernel": str(kernels[0].relative_to(directory.resolve())),
              "modules": str(modules[0].relative_to(directory.resolve())),
              "busybox": str(busyboxes[0].relative_to(directory.resolve())),
              "packages": [kernel_deb.name, busybox_deb.name]}
    (directory / "assets.json").write_text(json.dumps(record, indent=1) + "\n")
    shutil.rmtree(debs, ignore_errors=True)
    progress(f"{arch}: kernel {modules[0].name} ready")
    result = _load(directory)
    assert result is not None
    return result


def get(arch: str) -> Assets:
    """The assets of one architecture, fetched if they are not there yet. Safe to call from several processes."""
    if arch not in KERNEL_PACKAGE:
        raise AssetError(f"no guest kernel known for architecture {arch}; known: {', '.join(KERNEL_PACKAGE)}")
    directory = cache_directory() / "assets" / arch
    directory.mkdir(parents=True, exist_ok=True)
    ready = _load(directory)
    if ready is not None:
        return ready
    with open(directory / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _load(directory) or _fetch(arch, directory)


def main(arguments: list[str]) -> int:
    """Fetch the named architectures, or the machine's own."""
    try:
        for arch in arguments or [native_architecture()]:
            assets = get(arch)
            print(f"{arch}: {assets.kernel} ({assets.version}), {assets.busybox}")
    except AssetError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
