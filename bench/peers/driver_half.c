/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver_half.c - how it works: two driver halves, 32 buffers of 64 bytes at once, in one thread, in interleaved rounds.
 * In the device's place stands the same few lines for both: they make used what is available, in order, and look at no
 * buffer. How long those take alone is measured in the same rounds, and taken off.
 *
 *	driver_half split|packed [ROUNDS [BATCHES]]    prints one object of JSON
 */
#include "driver_half.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BATCH 32u
#define ROUNDS_MAX 101u

/* ---- the device's place ---- */

struct packed_descriptor {
	uint64_t address;
	uint32_t length;
	uint16_t id, flags;
};

struct device {
	struct driver_half_parts parts;
	bool packed;
	uint16_t index; /* split: of both rings; packed: position */
	bool wrap;
};

static void use_split(struct device *device)
{
	uint16_t *avail = device->parts.avail;
	uint16_t *used = device->parts.used;
	struct element {
		uint32_t id, length;
	} *elements = (struct element *)(void *)(used + 2);
	const uint16_t until = __atomic_load_n(&avail[1], __ATOMIC_ACQUIRE);

	while (device->index != until) {
		const uint16_t at = device->index++ % DRIVER_HALF_RING;

		elements[at] = (struct element){ avail[2 + at], 0 };
	}
	__atomic_store_n(&used[1], device->index, __ATOMIC_RELEASE);
	used[2 + 4 * DRIVER_HALF_RING] = device->index; /* avail_event: a kick, at the next one */
}

static void use_packed(struct device *device)
{
	struct packed_descriptor *descriptors = device->parts.desc;
	uint16_t *event = device->parts.used;

	for (;;) {
		struct packed_descriptor *descriptor = &descriptors[device->index];
		const uint16_t flags = __atomic_load_n(&descriptor->flags, __ATOMIC_ACQUIRE);

		if ((flags >> 7 & 1) != device->wrap || (flags >> 15 & 1) == device->wrap)
			break;
		descriptor->length = 0;
		__atomic_store_n(&descriptor->flags, device->wrap ? 0x8080 : 0, __ATOMIC_RELEASE);
		if (++device->index == DRIVER_HALF_RING) {
			device->index = 0;
			device->wrap = !device->wrap;
		}
	}
	event[0] = (uint16_t)(device->index | device->wrap << 15);
	event[1] = 2;
}

static void use(struct device *device)
{
	if (device->packed)
		use_packed(device);
	else
		use_split(device);
}

/* ---- time ---- */

static double now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static double run(const struct driver_half *half, struct device *device, uint32_t batches)
{
	const double began = now_ns();

	for (uint32_t i = 0; i < batches; i++) {
		if (!half->send(BATCH)) {
			fprintf(stderr, "driver_half: %s: no room\n", half->name);
			exit(1);
		}
		use(device);
		if (half->collect() != BATCH) {
			fprintf(stderr, "driver_half: %s: something did not come back\n", half->name);
			exit(1);
		}
	}
	return (now_ns() - began) / batches / BATCH;
}

/* The device's place alone, on a ring of its own in which everything is available again. */
static double run_alone(struct device *device, uint32_t batches)
{
	struct packed_descriptor *descriptors = device->parts.desc;
	double began, all = 0, nothing = 0;

	for (uint32_t i = 0; i < batches; i++) {
		if (device->packed) {
			for (uint32_t j = 0; j < BATCH; j++)
				descriptors[(device->index + j) % DRIVER_HALF_RING].flags = device->wrap ? 0x80 : 0x8000;
			if (device->index + BATCH < DRIVER_HALF_RING)
				descriptors[device->index + BATCH].flags = device->wrap ? 0 : 0x8080;
		} else {
			((uint16_t *)device->parts.avail)[1] += BATCH;
		}
		began = now_ns();
		use(device);
		all += now_ns() - began;
		began = now_ns();
		__asm__ volatile("" : : : "memory");
		nothing += now_ns() - began;
	}
	return (all - nothing) / batches / BATCH;
}

static int by_size(const void *one, const void *other)
{
	const double a = *(const double *)one, b = *(const double *)other;

	return a < b ? -1 : a > b;
}

static void print(const char *name, double *numbers, uint32_t count, const char *after)
{
	qsort(numbers, count, sizeof(*numbers), by_size);
	printf("\"%s\": {\"low\": %.4f, \"median\": %.4f, \"high\": %.4f}%s", name, numbers[count / 4],
	       numbers[count / 2], numbers[count - 1 - count / 4], after);
}

int main(int argc, char **argv)
{
	static const struct driver_half *const halves[2] = { &driver_half_viodma, &driver_half_linux };
	static double ns[3][ROUNDS_MAX], ratios[2][ROUNDS_MAX];
	static uint64_t memory[8192];
	const bool packed = argc > 1 && !strcmp(argv[1], "packed");
	const uint32_t rounds = argc > 2 ? (uint32_t)atoi(argv[2]) : 15;
	const uint32_t batches = argc > 3 ? (uint32_t)atoi(argv[3]) : 5000;
	struct device devices[3] = { { .packed = packed, .wrap = true },
				     { .packed = packed, .wrap = true },
				     { .packed = packed, .wrap = true } };

	if (argc < 2 || rounds < 1 || rounds > ROUNDS_MAX || (!packed && strcmp(argv[1], "split"))) {
		fprintf(stderr, "usage: driver_half split|packed [ROUNDS [BATCHES]]\n");
		return 2;
	}
	for (int i = 0; i < 2; i++) {
		if (!halves[i]->make(packed, &devices[i].parts)) {
			fprintf(stderr, "driver_half: %s: cannot be made\n", halves[i]->name);
			return 1;
		}
		run(halves[i], &devices[i], batches);
	}
	devices[2].parts = (struct driver_half_parts){ memory, memory + 2048, memory + 4096 };
	for (uint32_t round = 0; round < rounds; round++) {
		for (uint32_t i = 0; i < 2; i++) {
			const uint32_t which = (i + round) % 2;

			ns[which][round] = run(halves[which], &devices[which], batches);
		}
		ns[2][round] = run_alone(&devices[2], batches);
		ratios[0][round] = (ns[0][round] - ns[2][round]) / (ns[1][round] - ns[2][round]);
		ratios[1][round] = ns[0][round] / ns[1][round];
	}
	for (int i = 0; i < 2; i++)
		halves[i]->end();
	printf("{");
	print("ratio", ratios[0], rounds, ", ");
	print("ratio_with_device", ratios[1], rounds, ", ");
	print("viodma_ns", ns[0], rounds, ", ");
	print("linux_ns", ns[1], rounds, ", ");
	print("device_ns", ns[2], rounds, "}\n");
	return 0;
}
