# SPDX-License-Identifier: BSD-3-Clause
"""`viodma check device` against devices that nobody of us wrote: what is known of them comes out.

How it works: each comes from a Debian package, which a test that lacks it names. What is demanded is what is known to be true
of these programs: a device that comes to keep a rule which it breaks today fails here, and is then a fact to be changed.
"""
import contextlib
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

import pytest

import devices

VIRTIOFSD = "/usr/lib/qemu/virtiofsd"
TIMEOUT_MS = "3000"


def needs(program, package):
    path = shutil.which(program)
    if not path:
        pytest.fail(f"{program} is not installed: scripts/packages {package}")
    return path


@contextlib.contextmanager
def running(socket, *argv):
    """A back end, as soon as it listens."""
    with open(socket.parent / "log", "wb") as log:
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=socket.parent,
                                   env={**os.environ, "HOME": str(socket.parent)})
    try:
        until = time.monotonic() + 30
        while not socket.exists() and process.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(0.5)  # testpmd forwards a little later
        if not socket.exists():
            pytest.fail(f"not run: {argv[0]} does not start: {(socket.parent / 'log').read_text(errors='replace')[-600:]}")
        yield
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def where():
    with tempfile.TemporaryDirectory(prefix="vio-") as path:
        yield pathlib.Path(path)


def forwarding(where, iommu):
    return running(where / "s", needs("dpdk-testpmd", "dpdk dpdk-dev"), "-l", "0,1", "--no-huge", "-m", "256", "--no-pci",
                   "--no-telemetry", "--file-prefix", f"viodma{os.getpid()}", "--vdev",
                   f"net_vhost0,iface={where / 's'},queues=1,iommu-support={iommu}", "--", "-i", "--nb-cores=1",
                   "--forward-mode=io", "--no-mlockall", "--total-num-mbufs=4096", "--auto-start")


def verdicts(outcomes, case):
    return {verdict for verdict, _ in outcomes[case].values()}


def failed(outcomes):
    return {case for case in outcomes if "fail" in verdicts(outcomes, case)}


def lacks_bit_33(outcomes):
    assert verdicts(outcomes, "platform-offered") == {"observation"}
    assert verdicts(outcomes, "platform-declined") == {"pass"}
    assert verdicts(outcomes, "platform-accepted") == {"not exercised"}


def test_qemu_storage_daemon_lacks_bit_33_and_takes_it_all_the_same(viodma, where):
    disk, socket = devices.disk(where), where / "s"
    with running(socket, needs("qemu-storage-daemon", "qemu-system-common"), "--blockdev",
                 f"driver=file,node-name=d,filename={disk}", "--export",
                 f"type=vhost-user-blk,id=e,node-name=d,addr.type=unix,addr.path={socket},writable=on"):
        outcomes, status = devices.check(viodma, socket, "--timeout-ms", TIMEOUT_MS)
    lacks_bit_33(outcomes)
    assert status == 1
    assert {"platform-not-offered", "update-without-platform"} <= failed(outcomes)
    assert "acknowledges as done" in outcomes["update-without-platform"]["split"][1]
    assert not {case for case in failed(outcomes) if case.startswith("lie-")}


def test_virtiofsd_lacks_bit_33_and_takes_it_all_the_same(viodma, where):
    if os.getuid():
        pytest.skip("not run: virtiofsd wants root")
    needs(VIRTIOFSD, "qemu-system-common")
    (where / "shared").mkdir()
    socket = where / "s"
    outcomes, status = devices.check(viodma, socket, "--timeout-ms", TIMEOUT_MS, "--command",
                                     f"exec {VIRTIOFSD} --socket-path={socket} -o source={where / 'shared'} -o sandbox=chroot",
                                     kind="fs")
    lacks_bit_33(outcomes)
    assert status == 1
    assert "platform-not-offered" in failed(outcomes)
    assert {"many-at-once", "around-the-ring", "used-length", "call"} & failed(outcomes) == set()
    assert "signal 6" in outcomes["lie-table-in-table"]["split"][1]  # it aborts


@pytest.mark.slow  # it polls on a processor of its own
def test_dpdk_with_iommu_support_translates(viodma, where):
    with forwarding(where, 1):
        outcomes, status = devices.check(viodma, where / "s", "--timeout-ms", TIMEOUT_MS, kind="net")
    assert status == 1
    for case in ("platform-offered", "platform-accepted", "buffer-at-zero", "buffer-over-two-mappings-readable", "table",
                 "read-of-write-only", "read-of-unmapped", "read-of-withdrawn", "ring-invalidated", "in-order"):
        assert verdicts(outcomes, case) == {"pass"}, (case, outcomes[case])
    assert {"platform-without-version-1", "update-beyond-region", "update-bus-wraps"} <= failed(outcomes)


@pytest.mark.slow  # it polls on a processor of its own
def test_dpdk_without_iommu_support_lacks_bit_33(viodma, where):
    with forwarding(where, 0):
        outcomes, _ = devices.check(viodma, where / "s", "--timeout-ms", TIMEOUT_MS, kind="net")
    lacks_bit_33(outcomes)
    assert verdicts(outcomes, "platform-not-offered") == {"pass"}
