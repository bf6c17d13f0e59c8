# SPDX-License-Identifier: BSD-3-Clause
"""What the README tells people to type works.

How it works: the code is compared with the examples by scripts/readme-quotes.
QEMU's command line is taken out of the README and run, stopped before its first
instruction, against the program; only the socket's path and, where KVM does not
work, the accelerator are replaced. libvirt's XML is checked against libvirt's
own schema, whose package is fetched and unpacked, not installed.
"""
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import time

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]
README = TOP / "README.md"
QUOTES = TOP / "scripts" / "readme-quotes"
SOCKET = "/run/viodma/blk0.sock"
sys.path.insert(0, str(TOP))


def commands(text):
    """The command lines of the console blocks, as argument lists without the prompt."""
    blocks = re.findall(r"^```console\n(.*?)^```", text, re.S | re.M)
    lines = [line for block in blocks for line in block.replace("\\\n", "").splitlines() if line.startswith("$ ")]
    return [shlex.split(line[2:], comments=True) for line in lines]


def command(*words):
    """The one command that begins with these words."""
    found = [c for c in commands(README.read_text()) if c[:len(words)] == list(words)]
    assert len(found) == 1, f"{' '.join(words)}: {len(found)} commands"
    return found[0]


def xml(text):
    found = re.findall(r"^<domain .*?^</domain>$", text, re.S | re.M)
    assert len(found) == 1
    return found[0]


def quotes(*arguments):
    return subprocess.run([sys.executable, str(QUOTES), *map(str, arguments)], capture_output=True, text=True, timeout=20)


def test_the_code_shown_is_the_examples_code():
    done = quotes("--check")
    assert done.returncode == 0, done.stderr


def test_every_door_has_its_code():
    assert re.findall(r"<!-- from (\S+) -->", README.read_text()) == [
        "examples/my-backend.c", "examples/my-vmm.c", "examples/my-map.c", "examples/my-device.c"]


def test_the_manual_shows_the_same_configuration():
    page = (TOP / "man" / "viodma-serve.1").read_text()
    assert xml(page) == xml(README.read_text())
    examples = page[page.index(".Sh EXAMPLES"):page.index(".Sh DIAGNOSTICS")]
    console = "```console\n" + "".join(re.findall(r"^\.Bd .*?\n(.*?)^\.Ed", examples, re.S | re.M)) + "```"
    shown = commands(console.replace("\\e\n", "\\\n"))
    assert command("qemu-system-x86_64") in shown
    assert command("viodma", "serve") in shown


def test_qemu_takes_the_command_line(tmp_path):
    from lab import machine
    socket, image, out = tmp_path / "s", tmp_path / "disk.img", tmp_path / "blk0.json"
    image.write_bytes(bytes(1 << 20))
    places = {SOCKET: str(socket), "disk.img": str(image), "/run/viodma/blk0.json": str(out)}
    serve = [places.get(a, a) for a in command("viodma", "serve")]
    serve[0] = os.environ.get("VIODMA", str(TOP / "build" / "viodma"))
    assert pathlib.Path(serve[0]).exists(), f"{serve[0]} is not built: run make first"
    qemu = [a.replace(SOCKET, str(socket)).replace("accel=kvm:tcg", f"accel={machine.accelerator('amd64')}")
            for a in command("qemu-system-x86_64")]
    with open(tmp_path / "serve.log", "wb") as log:
        back_end = subprocess.Popen(serve, stderr=log)
    try:
        end = time.monotonic() + 10
        while not socket.exists():
            assert back_end.poll() is None and time.monotonic() < end, (tmp_path / "serve.log").read_text()
            time.sleep(0.01)
        done = subprocess.run([*qemu, "-S", "-display", "none", "-monitor", "none", "-serial", "none", "-qmp", "stdio"],
                              input='{"execute":"qmp_capabilities"}\n{"execute":"query-pci"}\n{"execute":"quit"}\n',
                              capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")
        assert '"vendor": 6900' in done.stdout and "4162" in done.stdout, "no modern virtio block device"
    finally:
        back_end.terminate()
        code = back_end.wait(20)
    assert code == 0
    assert json.loads(out.read_text())["devices"][0]["platform_dma"]["policy"] == "require"


def test_libvirt_takes_the_xml(tmp_path):
    from lab import assets
    directory = assets.cache_directory() / "libvirt"
    schema = directory / "domain.rng"
    if not schema.exists():
        native = assets.native_architecture()
        deb = assets.Apt(native, None).download("libvirt0", directory / "packages")
        subprocess.run(["dpkg-deb", "-x", str(deb), str(directory / "tree")], check=True, timeout=60)
        for part in (directory / "tree/usr/share/libvirt/schemas").glob("*.rng"):
            if part.name != schema.name:
                part.rename(directory / part.name)
        (directory / "tree/usr/share/libvirt/schemas" / schema.name).rename(schema)
    for name, text, good in (("good", xml(README.read_text()), True),
                             ("bad", xml(README.read_text()).replace("iommu='on'", "iommu='maybe'"), False)):
        document = tmp_path / f"{name}.xml"
        document.write_text(text)
        done = subprocess.run(["xmllint", "--noout", "--relaxng", str(schema), str(document)], capture_output=True,
                              text=True, timeout=60)
        assert (done.returncode == 0) == good, done.stderr


# --- scripts/readme-quotes itself --------------------------------------------

@pytest.fixture
def document(tmp_path):
    (tmp_path / "a.c").write_text("int x;\n\t/* README begin */\n\tf();\n\t\tg();\n\t/* README end */\nint y;\n")
    path = tmp_path / "doc.md"
    path.write_text("before\n\n<!-- from a.c -->\n```c\nold();\n```\n\nafter\n")
    return path


def test_quotes_are_written_and_then_agree(document):
    assert quotes("--check", document).returncode == 1
    assert quotes(document).returncode == 0
    assert document.read_text() == "before\n\n<!-- from a.c -->\n```c\nf();\n    g();\n```\n\nafter\n"
    assert quotes("--check", document).returncode == 0


def test_check_changes_nothing(document):
    before = document.read_text()
    assert "+f();" in quotes("--check", document).stderr
    assert document.read_text() == before


@pytest.mark.parametrize("source", [None, "no markers\n", "/* README begin */\n/* README end */\n"])
def test_a_source_without_lines_is_an_error(document, source):
    example = document.parent / "a.c"
    example.unlink()
    if source is not None:
        example.write_text(source)
    done = quotes("--check", document)
    assert done.returncode == 2 and "a.c" in done.stderr


def test_a_comment_without_its_block_is_an_error(document):
    document.write_text("<!-- from a.c -->\n\n```c\n```\n")
    assert quotes(document).returncode == 2
