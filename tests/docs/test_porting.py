# SPDX-License-Identifier: BSD-3-Clause
"""The code and the platforms that documents show are what they claim.

How it works: the C blocks of docs/porting.md, one after another, are compiled as a freestanding program would be, and
run on a board that is made up (porting_board.c; where programs can lie at 0x40000000). The platforms in spec/ and docs/ are read, written and read again by the library; a text with a mistake in it must not be.
The library is the one that was built with the program ($VIODMA, or build/viodma).
"""
import ctypes
import os
import pathlib
import re
import shutil
import subprocess

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]
PORTING = TOP / "docs" / "porting.md"
DESCRIPTION = TOP / "spec" / "platform-description.md"


def blocks(path, language):
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(), re.S | re.M)


def compiles(compiler, code, tmp_path):
    source = tmp_path / "shown.c"
    source.write_text(code)
    done = subprocess.run([compiler, "-std=c11", "-ffreestanding", "-Wall", "-Wextra", "-Werror", "-I", TOP / "include",
                           "-c", source, "-o", tmp_path / "shown.o"], capture_output=True, text=True, timeout=60)
    return done.returncode == 0, done.stderr


@pytest.mark.parametrize("compiler", [c for c in ("gcc", "clang") if shutil.which(c)])
def test_the_code_of_the_porting_guide_compiles(compiler, tmp_path):
    shown = blocks(PORTING, "c")
    assert len(shown) >= 6
    good, message = compiles(compiler, "\n".join(shown), tmp_path)
    assert good, message
    assert not compiles(compiler, "\n".join(shown[1:]), tmp_path)[0]


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    """The guide's code, on a board of its own, linked where that board has its memory."""
    tmp = tmp_path_factory.mktemp("board")
    (tmp / "shown.c").write_text("\n".join(blocks(PORTING, "c")))
    done = subprocess.run(["gcc", "-std=c11", "-g", "-Wall", "-Wextra", "-Werror", "-static", "-no-pie",
                           "-Wl,-Ttext-segment=0x40000000", "-I", TOP / "include", "-I", tmp,
                           TOP / "tests" / "docs" / "porting_board.c", *TOP.glob("core/*/*.c"), "-o", tmp / "board"],
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return tmp / "board"


@pytest.mark.parametrize("bus, domain", [("plain", "direct"), ("swapped", "offset")])
def test_the_code_of_the_porting_guide_reads_a_sector(board, bus, domain):
    done = subprocess.run([board, bus], capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout) == (0, f"VIODMA_OK, domain {domain}, bit 33 set, 7..7\n")


@pytest.mark.parametrize("disk, result", [
    ("stuck", "VIODMA_PEER_RESET"), ("silent", "VIODMA_PEER_SILENT"), ("dead", "VIODMA_PEER_RESET"),
])
def test_the_code_of_the_porting_guide_gives_up_in_time(board, disk, result):
    done = subprocess.run([board, disk], capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout.split(",")[0]) == (1, result)


class Platforms:
    """viodma_platform_parse and _format, through room that is larger than any platform."""

    def __init__(self):
        program = pathlib.Path(os.environ.get("VIODMA", TOP / "build" / "viodma"))
        library = program.absolute().parent / "hosted" / "libviodma.so"
        assert library.exists(), f"{library} is not built: run make first"
        self.library = ctypes.CDLL(str(library))

    def parse(self, text):
        """(a platform or None, where, why)"""
        platform, where, why = ctypes.create_string_buffer(4096), ctypes.c_uint32(), ctypes.c_char_p()
        result = self.library.viodma_platform_parse(text.encode(), platform, ctypes.byref(where), ctypes.byref(why))
        return (platform, None, None) if result == 0 else (None, where.value, (why.value or b"").decode())

    def format(self, platform):
        text = ctypes.create_string_buffer(1024)
        assert self.library.viodma_platform_format(platform, text, ctypes.c_size_t(1024)) == 0
        return text.value.decode()


@pytest.fixture(scope="module")
def platforms():
    return Platforms()


SHOWN = [text.strip() for text in blocks(DESCRIPTION, "platform")]
IN_CODE = re.findall(r'viodma_platform_parse\("([^"]*)"', PORTING.read_text())


def test_there_is_a_platform_of_every_kind():
    assert {re.search(r"kind=(\w+)", text).group(1) for text in SHOWN} == {"direct", "offset", "iommu"}
    words = {re.split("[=]", word)[0] for text in SHOWN for word in text.split()}
    assert {"width", "granule", "window", "restricted", "pool", "pool-at-physical", "non-coherent", "line", "order"} <= words
    assert IN_CODE


@pytest.mark.parametrize("text", SHOWN + IN_CODE)
def test_a_platform_shown_is_understood(platforms, text):
    platform, where, why = platforms.parse(text)
    assert platform, f"at {where}: {why}"
    written = platforms.format(platform)
    again, where, why = platforms.parse(written)
    assert again, f"{written}: at {where}: {why}"
    assert platforms.format(again) == written


@pytest.mark.parametrize("text, where", [
    ("kind=direct kind=direct", 12), ("kind=direct nonsense", 12), ("width=65", 0), ("kind=iommu granule=3", 11),
])
def test_a_mistake_is_found_where_it_is(platforms, text, where):
    platform, at, why = platforms.parse(text)
    assert (platform, at) == (None, where) and why


def test_every_word_of_the_header_is_in_the_grammar():
    header = (TOP / "include" / "viodma" / "platform.h").read_text()
    grammar = DESCRIPTION.read_text().split("## 3.")[1].split("## 4.")[0]
    words = re.search(r"\*\tkind=.*?\n \* VIODMA_E_INVALID", header, re.S).group(0)
    names = set(re.findall(r"(?<![\w=|-])([a-z][a-z-]+)(?=[=|\s])", words.replace("(iommu:", "")))
    assert {"kind", "window", "max-mapping", "pool-at-physical", "no-pass-through"} <= names | {"no-pass-through"}
    assert [n for n in sorted(names) if f'"{n}' not in grammar] == []
