# SPDX-License-Identifier: BSD-3-Clause
"""The goals: for each a bound, where its number comes from, and what to look at when it is missed.

How it works: a function of the files of one run answers a number and how to say it;
Missing says why there is none. A profile answers a sentence.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Callable


class Missing(Exception):
    """There is no such number, and why."""


class Files:
    """The JSON files of one run, by name."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._read: dict[str, dict] = {}

    def __getitem__(self, name: str) -> dict:
        if name not in self._read:
            try:
                self._read[name] = json.loads((self.directory / f"{name}.json").read_text())
            except (OSError, ValueError) as error:
                raise Missing("no such file" if isinstance(error, OSError) else "not JSON") from error
        if "not_run" in self._read[name] and isinstance(self._read[name]["not_run"], str):
            raise Missing(self._read[name]["not_run"])
        return self._read[name]


Measure = Callable[[Files], tuple[float, str]]
Profile = Callable[[Files], str]


@dataclass
class Goal:
    """Rows of one kind: (name, bound, measure, profile)."""

    at_most: bool
    rows: list[tuple[str, float, Measure, Profile]]


# ---- where numbers come from ------------------------------------------------

def spread_text(spread: dict) -> str:
    return f"{spread['median']:.3f} ({spread['low']:.2f} to {spread['high']:.2f})"


def bench(field: str, **wanted) -> Measure:
    """A spread of one cell of `viodma bench`."""
    def measure(files: Files) -> tuple[float, str]:
        for row in files["bench"]["rows"]:
            if all(row[key] == value for key, value in wanted.items()):
                if row["fault"]:
                    raise Missing(row["fault"])
                if not row[field]:
                    raise Missing("no yardstick")
                return row[field]["median"], spread_text(row[field])
        raise Missing("not among the cells measured")
    return measure


def cell(**more) -> dict:
    """What most goals have in common."""
    return {"mode": "one-thread", "descriptors": "one", "direction": "to-device", "batch": 32, "build": "plain",
            "bytes": 64, **more}


def instructions(ring: str, domain: str) -> Measure:
    """Beyond raw, per segment, of the shape that has more."""
    def measure(files: Files) -> tuple[float, str]:
        rows = [row for row in files["instructions"]["rows"] if row["ring"] == ring and row["domain"] == domain]
        values = [row["both_extra_per_segment"] for row in rows if row["both_extra_per_segment"] is not None]
        if not values:
            raise Missing("; ".join(files["instructions"]["not_run"])[:120] or "no such cell")
        most = max(rows, key=lambda row: row["both_extra_per_segment"] or 0)
        return max(values), (f"{max(values):.1f} (driver {most['driver_extra_per_segment']:+.1f}, "
                             f"device {most['device_extra_per_segment']:+.1f})")
    return measure


def peer(part: str, *keys: str, inverse: bool = False) -> Measure:
    """A spread of a part of the peers."""
    def measure(files: Files) -> tuple[float, str]:
        data = files["peers"].get(part, {"not_run": "not asked for"})
        if "not_run" in data:
            raise Missing(data["not_run"])
        for key in keys:
            data = data[key]
        if inverse:
            data = {"low": 1 / data["high"], "median": 1 / data["median"], "high": 1 / data["low"]}
        return data["median"], spread_text(data)
    return measure


def notifications(files: Files) -> tuple[float, str]:
    data = files["peers"].get("disk", {"not_run": "not asked for"})
    if "not_run" in data:
        raise Missing(data["not_run"])
    data = data["32_asleep"]
    return data["viodma_notifications"], (f"{data['viodma_notifications']:.4f} (qemu-storage-daemon "
                                          f"{data['qsd_notifications']:.4f})")


def iotlb(what: str, pattern: str, mappings: int, size: int) -> Measure:
    """A ratio of bench/iotlb.c."""
    def measure(files: Files) -> tuple[float, str]:
        for row in files["iotlb"]["rows"]:
            if (row["what"], row["pattern"], row["mappings"], row["bytes"]) == (what, pattern, mappings, size):
                return row["ratio"], f"{row['ratio']:.3f} ({row['ratio_low']:.2f} to {row['ratio_high']:.2f})"
        raise Missing("not among the rows measured")
    return measure


def entry_bytes(files: Files) -> tuple[float, str]:
    value = files["iotlb"]["bytes_per_entry"]
    return value, f"{value} B"


def misses(files: Files) -> tuple[float, str]:
    data = files["misses"]
    return data["ratio"], f"{data['ratio']:.2f} ({data['ratio_low']:.2f} to {data['ratio_high']:.2f})"


# ---- profiles ---------------------------------------------------------------

def short(name: str) -> str:
    """A function's name without what the compiler and callgrind put around it."""
    return re.sub(r"\.(constprop|isra|part|cold)\.?\d*", "", name.split("'")[0])


def functions(files: Files, ring: str, domain: str, descriptors: str = "one") -> Counter[str]:
    """Instructions of a request, by function."""
    for row in files["instructions"]["rows"]:
        if (row["ring"], row["domain"], row["descriptors"]) == (ring, domain, descriptors):
            counter: Counter[str] = Counter()
            for name, cost in row["functions"].items():
                counter[short(name)] += cost
            return counter
    raise Missing("no such cell")


def named(counter: Counter[str], count: int = 8) -> str:
    return ", ".join(f"`{name}` {cost:.0f}" for name, cost in counter.most_common(count) if cost > 0.5)


def beyond(ring: str, domain: str, base: str = "raw", descriptors: str = "one") -> Profile:
    """What one domain costs beyond another."""
    def profile(files: Files) -> str:
        try:
            more = functions(files, ring, domain, descriptors)
            more.subtract(functions(files, ring, base, descriptors))
            shape = "" if descriptors == "one" else ", a chain of two segments"
            return f"Instructions of {domain}, {ring}{shape}, beyond {base}: {named(more)}."
        except Missing as reason:
            return f"No profile: {reason}."
    return profile


def also(profile: Profile, text: str) -> Profile:
    """A profile, and what it does not say."""
    return lambda files: f"{profile(files)} {text}"


def most(ring: str, domain: str) -> Profile:
    """Where most instructions of one cell are."""
    def profile(files: Files) -> str:
        try:
            return f"Instructions of {domain}, {ring}: {named(functions(files, ring, domain))}."
        except Missing as reason:
            return f"No profile: {reason}."
    return profile


def two_processors(files: Files) -> str:
    """Whether lines or instructions bind."""
    try:
        data = files["peers"]["ringtest"]
        packed = next(row for row in files["instructions"]["rows"]
                      if (row["ring"], row["domain"], row["descriptors"]) == ("packed", "direct", "one"))
        ours, theirs, line = (data["throughput"][key]["median"] for key in ("viodma_ns", "ring_ns", "ping_pong_ns"))
    except (Missing, KeyError, StopIteration) as reason:
        return f"No profile: {reason}."
    return (
        f"Neither looks at a payload. {ours:.1f} ns a request where ringtest takes {theirs:.1f}; a line to the other processor "
        f"and back, {line:.0f}. Four descriptors share a line, which goes to the device half and back once for each lap: "
        f"{line / 4:.1f} ns a request, hidden in part by asking for the next line while this one is at work, and the same for "
        f"both. Beyond that the slower half binds: the driver half, which maps, adds, gets and unmaps, is "
        f"{packed['driver']:.0f} instructions, the device half, which checks what it was told, {packed['device']:.0f}; "
        f"ringtest's halves check and translate nothing, in a few dozen. Where a line's way is long it binds both; where it is "
        f"short, as between neighbours, few instructions win.")


def says(text: str) -> Profile:
    return lambda files: text


def added(pattern: str, text: str) -> Profile:
    """What an IOTLB adds to a request of the device half, in nanoseconds, and why."""
    def profile(files: Files) -> str:
        try:
            row = next(row for row in files["iotlb"]["rows"] if (row["what"], row["pattern"], row["bytes"]) ==
                       ("requests", pattern, 64))
            return f"{row['ns'] - row['yardstick_ns']:.1f} ns of {row['ns']:.1f} ns. {text}"
        except (Missing, StopIteration, KeyError) as reason:
            return f"No profile: {reason}. {text}"
    return profile


# ---- the goals --------------------------------------------------------------

RINGS = ("split", "packed")
BOUNCED = ("What bounces is looked up, a slot is taken and given back, its record and the mapping's are written and read, "
           "bytes are copied, and all is counted: as many instructions whatever the rest of a request costs, so that the "
           "ratio grows where the rings become cheaper.")
PER_SEGMENT = ("Each segment is compared with both ends of its region and with what the region allows, and is turned into a "
               "pointer; raw adds one number. A request of one segment is cheaper than raw: what was looked up for the last "
               "one is at hand.")
WAKE = says("One in flight is bound by two wakes of a sleeping process; what else there is stands in the rows above.")

GOALS = [
    Goal(True, [
        *((f"direct / raw, {ring}: extra instructions per segment", 6, instructions(ring, "direct"),
           also(beyond(ring, "direct", descriptors="chain"), PER_SEGMENT)) for ring in RINGS),
        *((f"direct / raw, {ring}, 64 B, batch 32: time", 1.05, bench("to_raw", **cell(ring=ring, domain="direct")),
           beyond(ring, "direct")) for ring in RINGS),
        *((f"premapped through an IOMMU / raw, {ring}, {size} B", 1.05,
           bench("to_raw", **cell(ring=ring, domain="iommu-premapped", bytes=size)), beyond(ring, "iommu-premapped"))
          for ring in RINGS for size in (64, 4096)),
        *((f"map and unmap for each request, deferred / raw, {ring}, {size} B", 1.5,
           bench("to_raw", **cell(ring=ring, domain="iommu-deferred", bytes=size)),
           also(beyond(ring, "iommu-deferred"), BOUNCED))
          for ring in RINGS for size in (64, 4096)),
        *((f"bounce / direct, {ring}, 64 B, {direction}", 1.35,
           bench("to_direct", **cell(ring=ring, domain="bounce", direction=direction)),
           also(beyond(ring, "bounce", "direct"), BOUNCED))
          for ring in RINGS for direction in ("to-device", "from-device")),
        *((f"bounce, {ring}, 64 KiB, {direction}: time added to direct / memcpy of the same bytes", 1.15,
           bench("added_to_memcpy", **cell(ring=ring, domain="bounce", bytes=65536, direction=direction)),
           beyond(ring, "bounce", "direct")) for ring in RINGS for direction in ("to-device", "from-device")),
        ("driver half alone, packed, batch 32 / Linux's virtio_ring.c", 0.55, peer("driver_half", "packed", "ratio"),
         most("packed", "direct")),
    ]),
    Goal(False, [
        ("two processors, packed / ringtest's ring: throughput", 1.25,
         peer("ringtest", "throughput", "ratio"), two_processors),
    ]),
    Goal(True, [
        ("two processors, packed / ringtest's ring: round trip", 1.0,
         peer("ringtest", "round_trip", "ratio"), two_processors),
        ("IOTLB / regions only, device half, 64 B: 1 mapping", 1.05, iotlb("requests", "one", 1, 64),
         added("one", "A look-up that finds what the last one found: whether the entry is still good, both of its ends, what may be "
               "done there, and the sum. Where it stands, the ring's own parts are looked up no more often than without.")),
        ("... 2000 in sequence", 1.10, iotlb("requests", "sequence", 2000, 64),
         added("sequence", "To go on to the entry behind the last one is a comparison and a pointer; at the end of each block of 64 "
               "entries the next one is looked for.")),
        ("... 2000 at random", 1.4, iotlb("requests", "random", 2000, 64),
         added("random", "A look-up is a multiplication and two cache lines that are not in the first cache: the hint in the address's "
               "place and the entry it names. What it is compared with is a whole request, pop, copy and push, that takes little "
               "longer.")),
        ("IOTLB of 10^6 entries / binary search over the same array", 1.2, iotlb("translations", "full", 1000000, 0),
         says("A look-up is a few cache misses.")),
        ("IOTLB: bytes of an entry", 64, entry_bytes, says("")),
        ("32 pages that miss in one chain / one that misses", 3, misses, WAKE),
    ]),
    Goal(False, [
        ("null disk / qemu-storage-daemon null-co, 32 in flight: requests a second", 1.5,
         peer("disk", "32_in_flight", "ratio"),
         says("Each polls as it does by default, and so does the front end of both: of 2000 requests one brings a kick or a call, "
              "for either device. What is left is work, the front end's share of which is the same for both.")),
    ]),
    Goal(True, [
        ("... one in flight, asleep: time", 1.05, peer("disk", "1_asleep", "ratio", inverse=True), WAKE),
        ("... one in flight, both ends polling, by qemu-storage-daemon asleep: time", 0.1,
         peer("disk", "1_polling", "ratio", inverse=True),
         says("What is left is the two caches' round trip, and a call by eventfd that nobody waits for.")),
        ("kicks and calls of a request, 32 in flight, EVENT_IDX", 0.0625, notifications, WAKE),
    ]),
]
