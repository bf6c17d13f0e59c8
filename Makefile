# SPDX-License-Identifier: BSD-3-Clause
#
# A thin face over Meson: `make` builds build/viodma; `make demo` shows real guests; `make check` runs all tests;
# `make dist-core` packs core/ to be carried away;
# `make cases` writes docs/cases.md;
# `make numbers` measures, and writes docs/numbers.md.
# Each target says which Debian packages it needs; scripts/packages sees to them.

BUILD ?= build
PYTHON ?= /usr/bin/python3
PREFIX ?= /usr/local

BUILD_PACKAGES = gcc libc6-dev meson ninja-build pkg-config liburing-dev libcmocka-dev
DEMO_PACKAGES = $(BUILD_PACKAGES) qemu-system-x86 e2fsprogs cpio xz-utils python3
CHECK_PACKAGES = $(DEMO_PACKAGES) g++ clang llvm libclang-rt-14-dev qemu-system-ppc qemu-system-arm \
	qemu-system-common qemu-system-data qemu-utils qemu-user-static gcc-s390x-linux-gnu libc6-dev-s390x-cross python3-pytest \
	python3-hypothesis mandoc spin libxml2-utils valgrind binutils file git cmake dpdk dpdk-dev
MODEL_PACKAGES = gcc libc6-dev spin python3
FUZZ_PACKAGES = $(BUILD_PACKAGES) clang llvm libclang-rt-14-dev python3

NUMBERS_PACKAGES = $(BUILD_PACKAGES) binutils valgrind python3 make util-linux qemu-system-common dpdk dpdk-dev \
	linux-source-6.1 xz-utils gcc-aarch64-linux-gnu gcc-riscv64-linux-gnu gcc-arm-none-eabi gcc-s390x-linux-gnu

.PHONY: all demo check check-all cases numbers fuzz models ring-billion dist-core install clean

all: $(BUILD)/build.ninja
	@ninja -C $(BUILD) --quiet

$(BUILD)/build.ninja:
	@scripts/packages $(BUILD_PACKAGES)
	@meson setup $(BUILD) --prefix=$(PREFIX) >$(BUILD)-setup.log 2>&1 || { cat $(BUILD)-setup.log; exit 1; }
	@mv $(BUILD)-setup.log $(BUILD)/setup.log

demo:
	@scripts/packages $(DEMO_PACKAGES) $(if $(filter papr,$(PLATFORM)),qemu-system-ppc qemu-system-data)
	@$(MAKE) --no-print-directory all
	@$(PYTHON) -m lab.demo --viodma $(BUILD)/viodma-test --output $(BUILD)/demo $(if $(PLATFORM),--platform $(PLATFORM)) \
		$(if $(PACKED),--packed)

check check-all:
	@scripts/packages $(CHECK_PACKAGES)
	@$(MAKE) --no-print-directory all
	@$(PYTHON) scripts/check --build $(BUILD) $(if $(filter check-all,$@),--all)

fuzz:
	@scripts/packages $(FUZZ_PACKAGES)
	@fuzz/run.sh $(or $(SECONDS_EACH),60)

# Add, get, pop and push, 10^9 of them, each half asleep whenever the ring lets it.
ring-billion:
	@scripts/packages gcc libc6-dev
	@BUILD=$(abspath $(BUILD)) VIODMA_OPERATIONS=1000000000 sh tests/build/test_ring_threads.sh

models:
	@scripts/packages $(MODEL_PACKAGES)
	@$(PYTHON) models/run.py

# Measure, and write docs/numbers.md: ten minutes on a machine that does nothing else.
numbers:
	@scripts/packages $(NUMBERS_PACKAGES) || echo 'numbers: going on without' >&2
	@$(MAKE) --no-print-directory all
	@$(PYTHON) bench/publish.py --build $(BUILD)

# What `viodma check device` plays, after a case has changed.
cases: all
	@$(BUILD)/viodma check --list --markdown >docs/cases.md

dist-core:
	@scripts/dist-core $(BUILD)

install: all
	@meson install -C $(BUILD) --quiet

clean:
	rm -rf $(BUILD)
