# SPDX-License-Identifier: BSD-3-Clause
"""The specification is well formed, and the tree agrees with it.

How it works: every rule is a function from text to a list of complaints. One
test runs it over the tree and wants no complaint; another hands it a text that
breaks the rule and wants one, so that a rule which has gone blind is noticed.
The files looked at are those git knows.
"""
import functools
import pathlib
import re
import subprocess

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]
SPEC = TOP / "spec" / "platform-dma.md"
FAMILIES = {"PLT": 12, "DRV": 25, "DEV": 24}
WORDS_PER_PAGE, PAGES = 520, 6
CODE_ROOMS = ("core/", "include/", "hosted/", "tools/")

KEYWORD = re.compile(r"\b(?:MUST|SHOULD|MAY|SHALL|REQUIRED|RECOMMENDED|OPTIONAL)\b")
REQUIREMENT = re.compile(r"\*\*([A-Z]{3}-\d+)\.\*\* (.*)\Z", re.S)
CITATION = re.compile(r"(?<![A-Za-z0-9])(PLT|DRV|DEV)[-_](\d+)(?![A-Za-z0-9_])")
PRODUCTS = re.compile(
    r"\b(?:Windows|Rust|Arm|Zephyr|Android"  # also words of the language, when in lower case
    r"|(?i:linux|\w+bsd|macos|aix|os400|qemu|kvm|xen|vmware|hyper-?v|papr|powervm|firecracker|libvirt|dpdk|spdk"
    r"|rust-vmm|edk2|ovmf|seabios|u-boot|debian|intel|amd|ibm|vt-d|smmu\w*|vhost\S*|liburing|io_uring|viodma))\b")
HOSTS = re.compile(
    r"\b(?:pypi\.org|pythonhosted\.org|crates\.io|npmjs\.(?:org|com)|proxy\.golang\.org|rubygems\.org|ghcr\.io"
    r"|docker\.io|quay\.io|(?:deb|snapshot|security|ftp)\.debian\.org|archive\.ubuntu\.com)\b")
MACHINE_PATH = re.compile(r"(?<![\w.$})\]*/-])/(?:work|root)(?![\w.-])")
LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?[^)]*\)")


@functools.cache
def tracked():
    out = subprocess.run(["git", "-C", str(TOP), "ls-files", "-z"], capture_output=True, check=True).stdout
    return [n for n in out.decode().split("\0") if n and (TOP / n).is_file()]


@functools.cache
def text_of(name):
    """A tracked file's text, or None where it is not text."""
    data = (TOP / name).read_bytes()
    if b"\0" in data:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def without_code(markdown):
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", markdown, flags=re.S | re.M))


def requirements(markdown):
    """[(id, sentence, reason or None)] in the order of the text."""
    found = []
    for paragraph in re.split(r"\n\s*\n", markdown):
        match = REQUIREMENT.match(paragraph.strip())
        if match:
            sentence, _, reason = match.group(2).partition("\nReason: ")
            found.append((match.group(1), sentence, reason or None))
    return found


# --- the rules ---------------------------------------------------------------

def bad_ids(markdown):
    ids = [r[0] for r in requirements(markdown)]
    wanted = [f"{family}-{n}" for family, last in FAMILIES.items() for n in range(1, last + 1)]
    complaints = [f"{i}: given twice" for i in sorted(set(ids)) if ids.count(i) > 1]
    complaints += [f"{i}: missing" for i in wanted if i not in ids]
    return complaints + [f"{i}: unknown to this test" for i in ids if i not in wanted]


def bad_sentences(markdown):
    complaints = []
    for ident, sentence, reason in requirements(markdown):
        if "\n" in sentence or not sentence.endswith(".") or re.search(r"[.?!;:] ", sentence):
            complaints.append(f"{ident}: not one sentence on one line")
        if not KEYWORD.search(sentence):
            complaints.append(f"{ident}: no key word")
        if reason is None:
            complaints.append(f"{ident}: no reason")
        elif "\n" in reason or not reason.endswith("."):
            complaints.append(f"{ident}: the reason is not one line")
        elif KEYWORD.search(reason):
            complaints.append(f"{ident}: a key word in the reason")
    return complaints


def stray_keywords(markdown):
    """Key words outside requirements, but for the one paragraph that defines them."""
    return [p for p in re.split(r"\n\s*\n", markdown)
            if KEYWORD.search(p) and not REQUIREMENT.match(p.strip()) and "RFC 2119" not in p]


def product_names(markdown):
    return PRODUCTS.findall(re.sub(r"<!--.*?-->", "", markdown, flags=re.S))


def word_count(markdown):
    text = re.sub(r"<!--.*?-->", "", markdown, flags=re.S)
    return sum(1 for w in text.split() if re.search(r"\w", w))


def citations(text):
    return {f"{family}-{int(number)}" for family, number in CITATION.findall(text)}


def broken_links(name, markdown, exists=lambda path: path.exists()):
    complaints = []
    for target in LINK.findall(without_code(markdown)):
        if re.match(r"[a-z][a-z0-9+.-]*:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (TOP / name).parent / path if path else TOP / name
        if not exists(there):
            complaints.append(f"{name}: {target}: no such file")
        elif anchor and there.suffix == ".md":
            text = markdown if not path else there.read_text()
            if anchor not in anchors(text):
                complaints.append(f"{name}: {target}: no such heading")
    return complaints


def anchors(markdown):
    headings = re.findall(r"^#{1,6} +(.*?) *$", re.sub(r"^```.*?^```", "", markdown, flags=re.S | re.M), re.M)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


# --- the specification -------------------------------------------------------

@pytest.fixture(scope="module")
def spec():
    return SPEC.read_text()


def test_every_requirement_is_there_once(spec):
    assert bad_ids(spec) == []


def test_every_requirement_is_one_sentence_with_a_reason(spec):
    assert bad_sentences(spec) == []


def test_key_words_stand_in_requirements_only(spec):
    assert stray_keywords(spec) == []


def test_ids_named_in_the_specification_exist(spec):
    assert citations(spec) <= {r[0] for r in requirements(spec)}


def test_no_product_is_named_in_the_core():
    for path in sorted((TOP / "spec").glob("*.md")):
        assert product_names(path.read_text()) == [], path.name


def test_the_core_fits_six_pages(spec):
    assert word_count(spec) <= PAGES * WORDS_PER_PAGE


# --- the tree ----------------------------------------------------------------

def test_every_id_cited_in_the_tree_is_in_the_specification(spec):
    known = {r[0] for r in requirements(spec)}
    here = pathlib.Path(__file__).resolve().relative_to(TOP).as_posix()
    unknown = {n: sorted(citations(text_of(n)) - known) for n in tracked() if n != here and text_of(n)}
    assert {n: ids for n, ids in unknown.items() if ids} == {}


def test_the_code_cites_requirements():
    cited = set().union(*(citations(text_of(n) or "") for n in tracked() if n.startswith(CODE_ROOMS)))
    assert {"DEV-9", "DEV-10", "DEV-11", "DEV-13"} <= cited


def test_no_registry_host_in_the_tree():
    here = pathlib.Path(__file__).resolve().relative_to(TOP).as_posix()
    assert {n: h for n in tracked() if n != here and (h := HOSTS.findall(text_of(n) or ""))} == {}


def test_no_path_of_one_machine_in_the_tree():
    here = pathlib.Path(__file__).resolve().relative_to(TOP).as_posix()
    assert {n: h for n in tracked() if n != here and (h := MACHINE_PATH.findall(text_of(n) or ""))} == {}


def test_sources_carry_their_licence():
    sources = [n for n in tracked() if n.endswith((".c", ".h", ".py", ".sh", ".md"))]
    assert any(n.startswith("include/viodma/") for n in sources), "no public header found"
    assert [n for n in sources if "SPDX-License-Identifier: BSD-3-Clause" not in "\n".join(
        (text_of(n) or "").splitlines()[:5])] == []


def test_links_between_documents_resolve():
    assert [c for n in tracked() if n.endswith(".md") for c in broken_links(n, text_of(n))] == []


# --- the rules can fail ------------------------------------------------------

GOOD = "**DEV-1.** A device MUST offer it.\nReason: because.\n"


def test_the_good_example_is_good():
    assert bad_sentences(GOOD) == [] and stray_keywords(GOOD) == []


@pytest.mark.parametrize("text, complaint", [
    ("**DEV-1.** A device offers it.\nReason: because.", "no key word"),
    ("**DEV-1.** A device MUST offer it.", "no reason"),
    ("**DEV-1.** A device MUST offer it. It MAY not.\nReason: because.", "not one sentence"),
    ("**DEV-1.** A device MUST\noffer it.\nReason: because.", "not one sentence"),
    ("**DEV-1.** A device MUST offer it.\nReason: it MUST.", "key word in the reason"),
    ("**DEV-1.** A device MUST offer it.\nReason: because\nof that.", "not one line"),
])
def test_a_bad_requirement_is_noticed(text, complaint):
    assert any(complaint in c for c in bad_sentences(text))


def test_bad_ids_are_noticed():
    complaints = bad_ids(GOOD + "\n" + GOOD + "\n" + GOOD.replace("DEV-1.", "DEV-99."))
    assert "DEV-1: given twice" in complaints
    assert "DEV-2: missing" in complaints
    assert "DEV-99: unknown to this test" in complaints


def test_a_stray_key_word_is_noticed():
    assert stray_keywords("Text.\n\nIt MUST not stand here.\n")


@pytest.mark.parametrize("name", ["Linux", "qemu", "Hyper-V", "OpenBSD", "vhost-user", "VT-d", "Rust"])
def test_a_product_name_is_noticed(name):
    assert product_names(f"as in {name}, for one")


@pytest.mark.parametrize("text, ids", [
    ("x(); /* = DEV-9 */", {"DEV-9"}),
    ("VIODMA_REQUIRE(DRV_15, ok)", {"DRV-15"}),
    ("VIODMA_REQ_DEV_10,", {"DEV-10"}),
    ("DEV_9_EXTRA DEVICE-9 xDEV-9", set()),
])
def test_citations_are_found(text, ids):
    assert citations(text) == ids


@pytest.mark.parametrize("text, found", [
    ("cd /work/main", True), ("'/root'", True), ("=/work", True),
    ("a/work/b", False), ("/workdir", False), ("$TOP/work", False), ("/newroot", False),
])
def test_machine_paths_are_noticed(text, found):
    assert bool(MACHINE_PATH.search(text)) == found


def test_broken_links_are_noticed():
    text = "# A b\n[x](gone.md) [y](#a-b) [z](#c) [w](https://example.org/) `[q](no.md)`"
    assert broken_links("README.md", text, lambda p: p.name != "gone.md") == [
        "README.md: gone.md: no such file", "README.md: #c: no such heading"]
