# SPDX-License-Identifier: BSD-3-Clause
"""The rooms keep to themselves: what docs/design.md says about who knows what.

How it works: as in test_spec.py, every rule is a function from text to what it
has to complain about; it is run over the tree, and over a text that breaks it.
"""
import pathlib
import re

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]
INCLUDE = re.compile(r'^#include "([^"]+)"|^#include <(viodma/[^>]+)>', re.M)
LINUX_HEADERS = ("viodma/loop.h", "viodma/vhost_user.h", "viodma/vhost_user_front.h")


def sources(*patterns):
    found = sorted(p for pattern in patterns for p in TOP.glob(pattern))
    assert found, f"nothing matches {patterns}"
    return found


def kinds_named(text):
    """What a driver must not know: kinds of domain or platform, in code or in comments."""
    return re.findall(r"\bVIODMA_(?:DOMAIN|PLATFORM)_(?:DIRECT|OFFSET|BOUNCE|IOMMU)\w*|(?i:\b(?:bounc|iommu|restricted)\w*)"
                      r"|(?:->|\.)(?:kind|restricted|coherent)\b", text)


def bus_addresses_made(text):
    """Places that put a number into a bus address, or take one for it; the parameter's type does not show, so any."""
    return re.findall(r"\(viodma_(?:bus|phys)\)\s*\{|\bbus\.v\s*[-+|&^]?=(?!=)", text)


def upward(room, text):
    """Includes from a room above this one."""
    above = {"core": ("hosted/", "tools/", *LINUX_HEADERS), "hosted": ("tools/",)}[room]
    names = [a or b for a, b in INCLUDE.findall(text)]
    return [n for n in names if n.startswith(above)]


DRIVERS = ("core/driver/*.[ch]", "core/ring/driver_*.c")


def test_drivers_know_no_kind_of_platform():
    assert {p.name: k for p in sources(*DRIVERS) if (k := kinds_named(p.read_text()))} == {}


def test_drivers_make_no_bus_address():
    assert {p.name: m for p in sources(*DRIVERS) if (m := bus_addresses_made(p.read_text()))} == {}


@pytest.mark.parametrize("room", ["core", "hosted"])
def test_nothing_is_included_from_above(room):
    assert {p.name: u for p in sources(f"{room}/**/*.[ch]") if (u := upward(room, p.read_text()))} == {}


def test_every_room_is_in_the_design():
    design = (TOP / "docs" / "design.md").read_text()
    rooms = [p.name for p in (TOP / "core").iterdir() if p.is_dir()]
    assert [r for r in rooms if f"`core/{r}`" not in design] == []
    assert [p.name for p in (TOP / "hosted").iterdir() if p.is_dir() and p.name not in design] == []


# --- the rules can fail ------------------------------------------------------

@pytest.mark.parametrize("text", ["if (domain->kind == VIODMA_DOMAIN_BOUNCE)", "/* bounced */", "platform.restricted",
                                  "behind an IOMMU"])
def test_a_kind_is_noticed(text):
    assert kinds_named(text)


def test_what_is_no_kind_is_not():
    assert kinds_named("offset += domain->statistics.live; request->operation; directly") == []


@pytest.mark.parametrize("text, found", [("segment.bus.v = phys.v;", True), ("x = (viodma_bus){ 4 };", True),
                                         ("bus.v += 4;", True), ("if (a.bus.v == b.bus.v)", False)])
def test_a_bus_address_made_is_noticed(text, found):
    assert bool(bus_addresses_made(text)) == found


def test_an_include_from_above_is_noticed():
    assert upward("core", '#include "../base/require.h"\n#include "hosted/base/x.h"\n') == ["hosted/base/x.h"]
    assert upward("core", "#include <viodma/loop.h>\n#include <viodma/queue.h>\n") == ["viodma/loop.h"]
    assert upward("hosted", '#include "tools/log.h"\n') == ["tools/log.h"]


def test_no_two_files_of_core_have_the_same_name():
    """One command builds all of it into one directory (docs/porting.md)."""
    names = [path.name for path in sources("core/*/*.c")]
    assert sorted(names) == sorted(set(names))
