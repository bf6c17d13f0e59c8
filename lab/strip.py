# SPDX-License-Identifier: BSD-3-Clause
"""The picture of a run: the VM's memory as a strip, time across, as inline SVG.

How it works
    Input is the trace of `viodma serve --trace-json` (grant, revoke, touch, fault). History follows the grants: a grant
    lives from its event to the first revocation that overlaps its bus addresses. Time is cut into COLUMNS, memory
    into ROWS; a cell is drawn as granted if any byte of it was granted at any moment of its time, and as touched if any
    was touched. So a cell shows more than its share, never less; the numbers beside the picture are exact.

    Where no IOMMU translates, what the device can reach is all memory it was handed, all the time.

    Drawn in layers, each one path: granted, touched, then refusals (red crosses) and the planted secret (a line). The
    lane above the strip is for addresses at which the VM has no memory.
    Colours are CSS variables of the page around it; standalone() adds them for use as a picture of its own.
"""
from __future__ import annotations

import bisect
import dataclasses
import html

from .serve import Json

COLUMNS, ROWS = 420, 200
WIDTH, LEFT, RIGHT, TOP, LANE = 1000, 92, 26, 70, 22
STRIP, REACH, FOOT = 200, 54, 50
HEIGHT = TOP + STRIP + 16 + REACH + FOOT
PLOT = WIDTH - LEFT - RIGHT

COLOURS = """
.viodma{--bg:#fff;--ink:#1f2328;--dim:#59636e;--line:#d1d9e0;--none:#eef1f4;--hatch:#c9d1d9;--grant:#b6d4fe;--touch:#0b5cd5;
--bad:#cf222e;--leak:#b35900}
@media (prefers-color-scheme:dark){.viodma{--bg:#0d1117;--ink:#e6edf3;--dim:#9198a1;--line:#3d444d;--none:#1a2029;--hatch:#3d444d;
--grant:#1d4277;--touch:#6cb0ff;--bad:#ff6b64;--leak:#f0a03c}}
.viodma text{font:12px system-ui,sans-serif;fill:var(--ink)}.viodma .dim{fill:var(--dim)}.viodma .title{font-size:15px;font-weight:600}
.viodma .bad{fill:var(--bad);font-weight:600}.viodma .leak{fill:var(--leak);font-weight:600}
"""


@dataclasses.dataclass
class Run:
    """What is drawn of one run."""

    title: str
    events: list[Json]
    ram_base: int
    ram_bytes: int
    handed: tuple[int, int]  # physical range handed over
    translated: bool
    secret: int = 0
    secret_outcome: str = ""  # "read" or "refused DEV-10 at 0x..."
    reach_peak: int = 0
    milestones: list[tuple[int, str]] = dataclasses.field(default_factory=list)


def _number(value: object) -> int | None:
    """A number of the trace: JSON integers, or hexadecimal text."""
    try:
        return int(str(value), 0)
    except ValueError:
        return None


class History:
    """Follows a trace: which physical ranges were granted from when to when, what was touched, what was refused."""

    def __init__(self, events: list[Json]) -> None:
        times = [int(event["t_ns"]) for event in events if "t_ns" in event]
        self.start, self.end = (min(times), max(times)) if times else (0, 1)
        self.end = max(self.end, self.start + 1)
        self.grants: list[tuple[int, int, int, int]] = []  # physical, length, from, to
        self.touches: list[tuple[int, int, int]] = []  # time, physical, length
        self.faults: list[tuple[int, int, str]] = []  # time, bus address, requirement
        self.reach: list[tuple[int, int]] = []  # time, bytes granted from then on
        self._keys: list[int] = []
        self._live: dict[int, tuple[int, int, int]] = {}  # bus -> length, physical, since
        self._bytes = 0
        for event in events:
            self._take(event)
        for bus in list(self._keys):
            self._close(bus, self.end)

    def _close(self, bus: int, when: int) -> None:
        """End one grant."""
        length, physical, since = self._live.pop(bus)
        self._keys.pop(bisect.bisect_left(self._keys, bus))
        self._bytes -= length
        self.grants.append((physical, length, since, when))

    def _revoke(self, bus: int, length: int, when: int) -> None:
        """End every grant that overlaps a range of bus addresses."""
        at = max(bisect.bisect_right(self._keys, bus) - 1, 0)
        hit = []
        while at < len(self._keys) and self._keys[at] < bus + length:
            if self._keys[at] + self._live[self._keys[at]][0] > bus:
                hit.append(self._keys[at])
            at += 1
        for key in hit:
            self._close(key, when)

    def _take(self, event: Json) -> None:
        """Take in one event of the trace."""
        kind, when, length = event.get("event"), int(event.get("t_ns", self.start)), int(event.get("len", 0) or 0)
        bus, physical = _number(event.get("bus")), _number(event.get("phys"))
        if kind == "grant" and bus is not None and physical is not None and length > 0:
            self._revoke(bus, length, when)
            bisect.insort(self._keys, bus)
            self._live[bus] = (length, physical, when)
            self._bytes += length
            self.reach.append((when, self._bytes))
        elif kind == "revoke" and bus is not None:
            self._revoke(bus, length or 1 << 64, when)
            self.reach.append((when, self._bytes))
        elif kind == "touch" and physical is not None:
            self.touches.append((when, physical, length))
        elif kind == "fault" and bus is not None:
            self.faults.append((when, bus, str(event.get("requirement", ""))))


def size(number: float) -> str:
    """Bytes for people."""
    for unit, scale in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if number >= scale:
            return f"{number / scale:.1f}".removesuffix(".0") + f" {unit}"
    return f"{number:.0f} bytes"


def _layer(cells: list[bytearray], top: float) -> str:
    """One path that covers the marked cells, rows merged into runs."""
    width, height = PLOT / COLUMNS, STRIP / ROWS
    parts = []
    for row, marks in enumerate(cells):
        at = marks.find(1)
        while at >= 0:
            end = marks.find(0, at)
            end = COLUMNS if end < 0 else end
            y = top + STRIP - (row + 1) * height
            parts.append(f"M{LEFT + at * width:.1f} {y:.1f}h{(end - at) * width:.1f}v{height:.1f}h{-(end - at) * width:.1f}z")
            at = marks.find(1, end)
    return "".join(parts)


class Panel:
    """The drawing of one run at a vertical offset."""

    def __init__(self, run: Run, offset: int) -> None:
        self.run, self.top = run, offset + TOP
        self.history = History(run.events)
        self.parts: list[str] = []

    def x(self, when: int) -> float:
        """Where a time is."""
        history = self.history
        return LEFT + PLOT * min(max((when - history.start) / (history.end - history.start), 0), 1)

    def y(self, physical: int) -> float:
        """Where a physical address is; low addresses are at the bottom."""
        return self.top + STRIP * (1 - (physical - self.run.ram_base) / self.run.ram_bytes)

    def text(self, x: float, y: float, words: str, css: str = "", anchor: str = "start") -> None:
        """Add a text."""
        name = f' class="{css}"' if css else ""
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{name}>{html.escape(words)}</text>')

    def _mark(self, cells: list[bytearray], physical: int, length: int, since: int, until: int) -> None:
        """Mark the cells that a range of memory over a span of time lies in."""
        first = (physical - self.run.ram_base) * ROWS // self.run.ram_bytes
        last = (physical - self.run.ram_base + max(length, 1) - 1) * ROWS // self.run.ram_bytes
        span = self.history.end - self.history.start
        left = min((since - self.history.start) * COLUMNS // span, COLUMNS - 1)
        right = min((until - self.history.start) * COLUMNS // span, COLUMNS - 1)
        for row in range(max(first, 0), min(last, ROWS - 1) + 1):
            cells[row][left:right + 1] = b"\1" * (right - left + 1)

    def draw(self) -> str:
        """The whole panel."""
        run, history = self.run, self.history
        self.text(LEFT, self.top - 50, run.title, "title")
        self.parts.append(f'<rect x="{LEFT}" y="{self.top}" width="{PLOT}" height="{STRIP}" fill="var(--none)"/>')
        low, high = run.handed
        if high - low < run.ram_bytes:
            for since, until in ((run.ram_base, low), (high, run.ram_base + run.ram_bytes)):
                if until > since:
                    self.parts.append(f'<rect x="{LEFT}" y="{self.y(until):.1f}" width="{PLOT}" '
                                      f'height="{self.y(since) - self.y(until):.1f}" fill="url(#private)"/>')
        granted = [bytearray(COLUMNS) for _ in range(ROWS)]
        touched = [bytearray(COLUMNS) for _ in range(ROWS)]
        if run.translated:
            for physical, length, since, until in history.grants:
                self._mark(granted, physical, length, since, until)
        else:
            self._mark(granted, low, high - low, history.start, history.end)
        for when, physical, length in history.touches:
            self._mark(touched, physical, length, when, when)
        self.parts.append(f'<path d="{_layer(granted, self.top)}" fill="var(--grant)" stroke="var(--grant)" stroke-width="2"/>')
        self.parts.append(f'<path d="{_layer(touched, self.top)}" fill="var(--touch)"/>')
        self._axes()
        self._reach()
        self._events()
        return "\n".join(self.parts)

    def _axes(self) -> None:
        """Frame, addresses at the left, seconds below."""
        run, history = self.run, self.history
        bottom = self.top + STRIP + 16 + REACH
        frame = f'width="{PLOT}" fill="none" stroke="var(--line)"'
        self.parts.append(f'<rect x="{LEFT}" y="{self.top}" height="{STRIP}" {frame}/>'
                          f'<rect x="{LEFT}" y="{self.top - LANE}" height="{LANE}" {frame}/>')
        self.text(LEFT - 8, self.top - LANE / 2 - 1, "no memory", "dim", "end")
        for part in range(5):
            address = run.ram_base + run.ram_bytes * part // 4
            self.text(LEFT - 8, self.y(address) + 4, size(address) if address else "0", "dim", "end")
        self.parts.append(f'<text transform="translate(14 {self.top + STRIP / 2:.0f}) rotate(-90)" text-anchor="middle" '
                          'class="dim">physical address</text>')
        seconds = (history.end - history.start) / 1e9
        step = next((step for step in (0.5, 1, 2, 5, 10, 20, 60) if seconds / step <= 12), 120)
        tick = 0.0
        while tick <= seconds:
            x = self.x(history.start + int(tick * 1e9))
            self.parts.append(f'<path d="M{x:.1f} {bottom}v4" stroke="var(--dim)"/>')
            self.text(x, bottom + 17, f"{tick:g} s", "dim", "middle")
            tick += step
        free = 0.0  # where the labels so far end
        for when, words in run.milestones:
            x, width = self.x(when), 7.0 * len(words) + 6
            fits = x + width < LEFT + PLOT
            if not history.start <= when <= history.end or (x if fits else x - width) < free:
                continue
            free = x + (width if fits else 3)
            self.parts.append(f'<path d="M{x:.1f} {self.top - 38}V{bottom}" stroke="var(--dim)" '
                              'stroke-dasharray="2 3" opacity=".7"/>')
            self.text(x + 3 if fits else x - 3, self.top - 29, words, "dim", "start" if fits else "end")

    def _reach(self) -> None:
        """What the device could reach, as a curve of its own below the strip."""
        run, history = self.run, self.history
        bottom = self.top + STRIP + 16 + REACH
        low, high = run.handed
        peak = max([total for _, total in history.reach] or [0]) if run.translated else high - low
        points = f"M{LEFT} {bottom}"
        if run.translated and peak:
            for when, total in _thin(history.reach, history.start, history.end):
                points += f"H{self.x(when):.1f}V{bottom - REACH * total / peak:.1f}"
        elif peak:
            points += f"V{bottom - REACH}"
        points += f"H{LEFT + PLOT}V{bottom}z"
        self.parts.append(f'<path d="{points}" fill="var(--grant)" stroke="var(--touch)" stroke-width=".8"/>')
        self.parts.append(f'<path d="M{LEFT} {bottom}h{PLOT}" stroke="var(--line)"/>')
        self.text(LEFT - 8, bottom - REACH + 10, size(peak), "dim", "end")
        self.text(LEFT - 8, bottom, "0", "dim", "end")
        words = f"reachable: at most {size(peak)}, {100 * peak / run.ram_bytes:.3g} % of the VM's memory"
        self.parts.append(f'<text x="{LEFT + PLOT - 6}" y="{bottom - REACH + 13}" text-anchor="end" stroke="var(--bg)" '
                          f'stroke-width="3" paint-order="stroke">{words}</text>')

    def _events(self) -> None:
        """The secret, and every refusal."""
        run, history = self.run, self.history
        refused = [(when, bus, name) for when, bus, name in history.faults]
        if run.secret:
            y = self.y(run.secret)
            leak = run.secret_outcome == "read"
            css = "leak" if leak else "bad"
            self.parts.append(f'<path d="M{LEFT} {y:.1f}h{PLOT}" stroke="var(--{css})" stroke-width="1" stroke-dasharray="6 4"/>')
            words = "the secret: read by the device" if leak else f"the secret: {run.secret_outcome}"
            above = y - 6 if y - self.top > 24 else y + 15
            self.parts.append(f'<text x="{LEFT + 8}" y="{above:.1f}" class="{css}" stroke="var(--bg)" stroke-width="3" '
                              f'paint-order="stroke">{html.escape(words)}</text>')
            if leak:
                near = [when for when, at, _ in history.touches if at <= run.secret < at + 4096]
                if near:
                    self.parts.append(f'<circle cx="{self.x(near[-1]):.1f}" cy="{y:.1f}" r="5" fill="var(--leak)"/>')
        for when, bus, name in refused:
            inside = run.ram_base <= bus < run.ram_base + run.ram_bytes
            x, y = self.x(when), self.y(bus) if inside else self.top - LANE / 2
            self.parts.append(f'<path d="M{x - 5:.1f} {y - 5:.1f}l10 10m0 -10l-10 10" stroke="var(--bad)" stroke-width="2.4">'
                              f"<title>refused {html.escape(name)} at {bus:#x}</title></path>")


def _thin(points: list[tuple[int, int]], start: int, end: int) -> list[tuple[int, int]]:
    """At most two values per column: the highest and the last, so that no peak is lost."""
    columns: dict[int, list[tuple[int, int]]] = {}
    for when, total in points:
        columns.setdefault((when - start) * COLUMNS // (end - start), []).append((when, total))
    kept = []
    for column in sorted(columns):
        group = columns[column]
        kept += sorted({max(group, key=lambda point: point[1]), group[-1]})
    return kept


def svg(runs: list[Run], standalone: bool = False) -> str:
    """All panels below each other, with the legend, as one SVG element."""
    legend = (("var(--none)", "not granted"), ("url(#private)", "never handed over"),
              ("var(--grant)", "granted: the device can reach it"), ("var(--touch)", "touched by the device"))
    height = len(runs) * HEIGHT + 30
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" class="viodma" role="img" '
             'aria-label="Memory of the virtual machine over time: granted, touched, refused">']
    if standalone:
        parts.append(f"<style>{COLOURS}</style><rect width='100%' height='100%' fill='var(--bg)'/>")
    parts.append('<defs><pattern id="private" width="7" height="7" patternUnits="userSpaceOnUse" '
                 'patternTransform="rotate(45)"><rect width="7" height="7" fill="var(--none)"/>'
                 '<path d="M0 0V7" stroke="var(--hatch)" stroke-width="3"/></pattern></defs>')
    x = LEFT
    for fill, words in legend:
        parts.append(f'<rect x="{x}" y="6" width="14" height="14" fill="{fill}" stroke="var(--line)"/>'
                     f'<text x="{x + 20}" y="17">{words}</text>')
        x += 46 + 7 * len(words)
    parts.append(f'<path d="M{x + 2} 8l10 10m0 -10l-10 10" stroke="var(--bad)" stroke-width="2.4"/>'
                 f'<text x="{x + 20}" y="17">refused</text>')
    for number, run in enumerate(runs):
        parts.append(Panel(run, 30 + number * HEIGHT).draw())
    parts.append("</svg>")
    return "\n".join(parts)
