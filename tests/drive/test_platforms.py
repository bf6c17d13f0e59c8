# SPDX-License-Identifier: BSD-3-Clause
"""Platforms of a user's own, as text: the data is right, and every descriptor keeps to what the text says.

How it works: the Python device looks at each segment of each request: address width, windows, longest segment,
boundary, alignment, bytes of a mapping. That it sees what it is for is shown by telling it of narrower limits than the
driver half was told of.
"""
import pytest

import cells
from back_end import BackEnd
from vhost_user import must

POOL = "0x20000000+8M"
# text, and what of it can be seen in a descriptor
TEXTS = {
    "kind=direct": {},
    "kind=direct width=36": {"width": 36},
    "kind=direct width=32": {"width": 32},
    "kind=direct non-coherent line=64": {},
    "kind=direct max-segment=4K": {"segment": 4096},
    "kind=direct max-segment=1536": {"segment": 1536},
    "kind=direct boundary=8K": {"boundary": 8192},
    "kind=direct align=512": {"align": 512},
    "kind=direct align=4096": {"align": 4096},
    "kind=direct max-mapping=64K": {"mapping": 65536},
    "kind=direct max-mapping=512": {"mapping": 512},
    "kind=offset window=0x940000000+64M@0x100000": {"windows": [(0x100000, 64 << 20)]},
    "kind=offset window=0x100000000+2M@0x200000000 window=0x100200000+1M@0x5000000000 window=0x940000000+8M@0x100000":
        {"windows": [(0x200000000, 2 << 20), (0x5000000000, 1 << 20), (0x100000, 8 << 20)]},
    f"kind=offset window={POOL}@0x7000000 restricted pool={POOL}/4096 non-coherent line=64":
        {"windows": [(0x7000000, 8 << 20)]},
    "kind=iommu granule=4096": {},
    "kind=iommu granule=65536": {},
    "kind=iommu granule=4096 width=30 window=0x30000000+256M": {"width": 30, "windows": [(0x30000000, 256 << 20)]},
    "kind=iommu granule=4096 max-segment=4K boundary=16K non-coherent line=64": {"segment": 4096, "boundary": 16384},
    "kind=iommu granule=4096 max-mapping=8K": {"mapping": 8192},
    "kind=iommu granule=4096 order=platform window=0x100000+1M": {"windows": [(0x100000, 1 << 20)]},
    f"kind=iommu granule=4096 restricted pool={POOL}": {},
    f"kind=direct restricted pool={POOL}/512": {},
    f"kind=direct restricted pool={POOL} max-segment=3000 align=64": {"segment": 3000, "align": 64},
}


class Looking(BackEnd):
    """Holds every segment to the limits it was told of."""
    limits = None

    def carry_out(self, chain):
        for bus, length in chain.readable + chain.writable:
            self.look(bus, length)
        data = chain.readable_bytes - 16 or chain.writable_bytes - 1
        if data > self.limits.get("mapping", data):
            self.wrong(f"PLT-3: {data} bytes of data in a request")
        return super().carry_out(chain)

    def look(self, bus, length):
        limits, last = self.limits, bus + length - 1
        if last >> limits.get("width", 64):
            self.wrong(f"PLT-3: {bus:#x} is wider than {limits['width']} bits")
        if length > limits.get("segment", length):
            self.wrong(f"PLT-3: a segment of {length} bytes")
        if bus // limits.get("boundary", 1 << 64) != last // limits.get("boundary", 1 << 64):
            self.wrong(f"PLT-3: a segment from {bus:#x} to {last:#x} crosses a boundary")
        if bus % limits.get("align", 1):
            self.wrong(f"PLT-3: a segment at {bus:#x}")
        if "windows" in limits and not any(at <= bus and last < at + size for at, size in limits["windows"]):
            self.wrong(f"PLT-3: {bus:#x} to {last:#x} is in no window")


@pytest.mark.parametrize("text", TEXTS)
def test_a_platform_as_text(lab, text):
    device = lab.lying(Looking, limits=TEXTS[text])
    cells.journey(lab, device, None, options=["--platform", text, "--request=96K"])
    if not text.startswith("kind=direct"):
        accesses, identical = device.identical()
        must(accesses and not identical, f"{identical} of {accesses} bus addresses equal their physical ones")


@pytest.mark.parametrize("text", list(TEXTS)[::4])
def test_a_platform_as_text_with_viodmas_own_device(lab, text):
    cells.journey(lab, lab.device("serve-require"), None, options=["--platform", text, "--request=96K"])


@pytest.mark.parametrize("text, limits", [
    ("kind=direct", {"width": 35}), ("kind=direct", {"segment": 32768}), ("kind=direct", {"boundary": 65536}),
    ("kind=direct align=64", {"align": 4096}), ("kind=direct max-mapping=64K", {"mapping": 65024}),
    ("kind=offset window=0x940000000+64M@0x100000", {"windows": [(0x100000, 1 << 20)]})])
def test_the_look_sees_what_it_is_for(lab, text, limits):
    device = lab.lying(Looking, limits=limits)
    cells.journey(lab, device, None, options=["--platform", text])
    assert any("PLT-3" in said for said in device.back_end.violations)
    lab.end(sound=False)


@pytest.mark.parametrize("text, status, said", [
    ("kind=iommu granule=4096 window=0x100000+64K", 1, "VIODMA_E_LIMIT"),
    ("kind=direct width=11", 2, "width"),
    ("kind=diagonal", 2, "diagonal"),
    ("kind=offset", 2, "window"),
    ("kind=direct non-coherent", 2, "line"),
    ("kind=direct restricted pool=0x20000001+4M", (1, 2), "pool"),
    ("kind=direct restricted pool=0x20000000+64K", (1, 2), "pool")])
def test_a_platform_that_cannot_be(lab, text, status, said):
    device = lab.device("python-offer")
    lab.run(device, "info", options=["--platform", text], status=status).must_say(said)
