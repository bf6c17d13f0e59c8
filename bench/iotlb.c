/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * iotlb.c - what an IOTLB costs the device half.
 *
 * How it works: two things are compared, each with its own yardstick, in interleaved rounds.
 *
 *   requests     The device half alone: pop a chain of one buffer, copy its payload, push. The same ring, the same
 *                memory in the same order; once bus addresses go through regions (bit 33 clear), once through an IOTLB
 *                with one mapping for everything, or one for each page. A ring full of requests is timed at once.
 *   translations viodma_iotlb_translate at random, against a binary search over a sorted array of the same ranges.
 *
 * A ratio is of two times of one round; the median and the quartiles of it are over the rounds. Every bus address that
 * goes through the IOTLB differs from the physical one, and before anything is timed an address that no mapping holds is
 * asked for, which must miss.
 */
#include <viodma/iotlb.h>
#include <viodma/queue.h>
#include <viodma/wire/ring.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define PAGE 4096u
#define PAGES 2000u
#define RING 256u
#define PHYS 0x100000000u
#define BUS 0x7f0000000000u
#define ROUNDS_MAX 101u
#define REPEATS_MAX 256u
#define RING_BYTES (4 * PAGE) /* of a ring of 256: 4096 + 518 + 2054 */

enum pattern { ONE_MAPPING, IN_SEQUENCE, AT_RANDOM, PATTERNS };
static const char *const pattern_names[] = {"one", "sequence", "random"};

static uint64_t random_state = 2018;

static uint64_t draw(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static double now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static void must(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "bench iotlb: %s\n", what);
	exit(1);
}

static void *memory_of(size_t bytes, int protection)
{
	void *memory = mmap(NULL, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	must(memory != MAP_FAILED, "out of memory");
	return memory;
}

/* ---- quartiles ---- */

struct spread {
	double low, median, high;
};

static int compare(const void *one, const void *other)
{
	const double a = *(const double *)one, b = *(const double *)other;

	return (a > b) - (a < b);
}

static struct spread spread_of(double *numbers, unsigned count)
{
	qsort(numbers, count, sizeof(*numbers), compare);
	return (struct spread){numbers[count / 4], numbers[count / 2], numbers[count - 1 - count / 4]};
}

/* Two times of each round: what is measured, and its yardstick. */
struct rounds {
	double ns[ROUNDS_MAX], yardstick_ns[ROUNDS_MAX], ratio[ROUNDS_MAX];
	unsigned count;
};

static void add_round(struct rounds *rounds, double ns, double yardstick_ns)
{
	rounds->ns[rounds->count] = ns;
	rounds->yardstick_ns[rounds->count] = yardstick_ns;
	rounds->ratio[rounds->count++] = ns / yardstick_ns;
}

static bool json;
static bool first_row = true;

static void report(const char *what, const char *pattern, unsigned mappings, unsigned bytes, struct rounds *rounds)
{
	const struct spread ns = spread_of(rounds->ns, rounds->count);
	const struct spread yardstick = spread_of(rounds->yardstick_ns, rounds->count);
	const struct spread ratio = spread_of(rounds->ratio, rounds->count);

	if (json)
		printf("%s\n  {\"what\": \"%s\", \"pattern\": \"%s\", \"mappings\": %u, \"bytes\": %u, \"ns\": %.2f, "
		       "\"yardstick_ns\": %.2f, \"ratio\": %.4f, \"ratio_low\": %.4f, \"ratio_high\": %.4f}",
		       first_row ? "" : ",", what, pattern, mappings, bytes, ns.median, yardstick.median, ratio.median,
		       ratio.low, ratio.high);
	else
		printf("%-12s %-9s %8u %6u %9.1f %9.1f   %5.3f  (%5.3f to %5.3f)\n", what, pattern, mappings, bytes,
		       ns.median, yardstick.median, ratio.median, ratio.low, ratio.high);
	first_row = false;
}

/* ---- one device half ---- */

struct half {
	struct viodma_space space;
	struct viodma_iotlb iotlb;
	struct viodma_queue queue;
	unsigned char storage[VIODMA_SPACE_REGION_BYTES(2)] __attribute__((aligned(16)));
	struct viodma_iotlb_miss misses[8];
	struct viodma_iotlb_entry *entries;
	unsigned char *memory; /* the ring, then pages */
	uint64_t base;         /* bus address of its first byte */
	uint16_t made;
};

static void *aligned_memory(size_t bytes)
{
	void *memory = aligned_alloc(64, (bytes + 63) & ~(size_t)63);

	must(memory != NULL, "out of memory");
	memset(memory, 0, bytes);
	return memory;
}

static void ignore(void *context, viodma_bus bus, enum viodma_permission wanted)
{
	(void)context;
	(void)bus;
	(void)wanted;
}

/* mappings 0: physical addresses. 1: one mapping holds it all. Else: one for the ring, one for each page. */
static struct half *half_new(unsigned char *memory, unsigned mappings)
{
	struct half *half = aligned_memory(sizeof(*half));
	const uint64_t bytes = RING_BYTES + (uint64_t)PAGES * PAGE;
	const struct viodma_region region = {.phys = {PHYS}, .user = {PHYS}, .len_bytes = bytes, .memory = memory};
	struct viodma_queue_config config = {.space = &half->space, .size_max = RING, .segments_max = 8, .pieces_max = 8};
	struct viodma_queue_setup setup = {.size = RING};
	struct viodma_extent extent;
	struct viodma_iotlb_config iotlb = {.space = &half->space, .capacity = 2048, .misses = half->misses,
					    .miss_capacity = 8, .ask = ignore};

	half->memory = memory;
	viodma_space_init(&half->space, half->storage, 2, NULL);
	must(viodma_space_add_region(&half->space, &region) == VIODMA_OK, "no region");
	half->base = mappings ? BUS : PHYS;
	if (!mappings) {
		viodma_space_set_physical(&half->space);
	} else {
		iotlb.entries = half->entries = aligned_memory(iotlb.capacity * sizeof(*iotlb.entries));
		must(viodma_iotlb_init(&half->iotlb, &iotlb) == VIODMA_OK, "no IOTLB");
		viodma_space_set_iotlb(&half->space, &half->iotlb);
		if (mappings == 1)
			must(viodma_iotlb_update(&half->iotlb, (viodma_bus){BUS}, bytes, (viodma_uaddr){PHYS},
						 VIODMA_READ_WRITE) == VIODMA_OK, "not granted");
		else
			must(viodma_iotlb_update(&half->iotlb, (viodma_bus){BUS}, RING_BYTES, (viodma_uaddr){PHYS},
						 VIODMA_READ_WRITE) == VIODMA_OK, "not granted");
		for (unsigned i = 0; i < PAGES && mappings > 1; i++)
			must(viodma_iotlb_update(&half->iotlb, (viodma_bus){BUS + RING_BYTES + (uint64_t)i * PAGE}, PAGE,
						 (viodma_uaddr){PHYS + RING_BYTES + (uint64_t)i * PAGE},
						 VIODMA_READ) == VIODMA_OK, "not granted");
		must(viodma_space_translate(&half->space, NULL, (viodma_bus){PHYS}, VIODMA_READ, &extent) == VIODMA_MISS,
		     "an address that nobody granted is translated");
	}
	setup.desc.v = half->base;
	setup.avail.v = half->base + PAGE;
	setup.used.v = half->base + 2 * PAGE;
	config.memory_bytes = viodma_queue_memory_bytes(&config);
	config.memory = aligned_memory(config.memory_bytes);
	must(viodma_queue_init(&half->queue, &config) == VIODMA_OK &&
	     viodma_queue_start(&half->queue, &setup, NULL) == VIODMA_OK, "no queue");
	return half;
}

static void half_free(struct half *half)
{
	free(half->queue.config.memory);
	free(half->entries);
	free(half);
}

/* The driver's part, which is not timed: a ring full of chains of one buffer. */
static void make_available(struct half *half, const uint32_t *order, uint32_t *at, uint32_t bytes)
{
	struct virtq_desc *desc = (struct virtq_desc *)(void *)half->memory;
	viodma_le16 *avail = (viodma_le16 *)(void *)(half->memory + PAGE);

	for (unsigned i = 0; i < RING; i++) {
		const uint32_t page = order[*at];
		const uint32_t offset = bytes < PAGE ? page * 192 % (PAGE - bytes) & ~63u : 0; /* other cache sets */

		*at = *at + 1 == PAGES ? 0 : *at + 1;
		desc[i].addr = viodma_le64_of(half->base + RING_BYTES + (uint64_t)page * PAGE + offset);
		desc[i].len = viodma_le32_of(bytes);
		desc[i].flags = viodma_le16_of(0);
		avail[2 + ((half->made + i) & (RING - 1))] = viodma_le16_of((uint16_t)i);
	}
	half->made = (uint16_t)(half->made + RING);
	__atomic_store_n(&avail[1].wire, viodma_le16_of(half->made).wire, __ATOMIC_RELEASE);
}

static void serve(struct half *half, uint32_t bytes)
{
	unsigned char payload[PAGE];
	struct viodma_request *request;

	for (unsigned i = 0; i < RING; i++) {
		must(viodma_queue_pop(&half->queue, &request) == VIODMA_OK &&
		     viodma_request_read(request, 0, payload, bytes) == VIODMA_OK, "a request failed");
		__asm__ volatile("" : : "r"(payload) : "memory");
		viodma_queue_push(&half->queue, request, 0);
	}
}

/* Nanoseconds of a request: the median over the rings, so that being interrupted in one does not count. */
static double run(struct half *half, const uint32_t *order, uint32_t bytes, unsigned repeats)
{
	static double took[REPEATS_MAX];
	uint32_t at = 0;

	for (unsigned i = 0; i < repeats; i++) {
		double start;

		make_available(half, order, &at, bytes);
		start = now_ns();
		serve(half, bytes);
		took[i] = now_ns() - start;
	}
	return spread_of(took, repeats).median / RING;
}

static void requests(enum pattern pattern, uint32_t bytes, unsigned rounds, unsigned repeats)
{
	static uint32_t order[PAGES];
	unsigned char *memory = memory_of(RING_BYTES + (size_t)PAGES * PAGE, PROT_READ | PROT_WRITE);
	unsigned char *other = memory;
	struct half *regions = half_new(memory, 0), *iotlb;
	struct rounds result = {.count = 0};

	memset(memory, 0, RING_BYTES + (size_t)PAGES * PAGE);
	for (unsigned i = 0; i < PAGES; i++)
		order[i] = i;
	for (unsigned i = PAGES - 1; i > 0 && pattern == AT_RANDOM; i--) {
		const uint32_t with = (uint32_t)(draw() % (i + 1)), keep = order[i];

		order[i] = order[with];
		order[with] = keep;
	}
	iotlb = half_new(other, pattern == ONE_MAPPING ? 1 : PAGES);
	for (unsigned round = 0; round <= rounds; round++) {
		double ns[2] = {0, 0};

		/* One ring, two halves in turn: each starts where an empty ring starts. The order alternates. */
		for (unsigned turn = 0; turn < 2; turn++) {
			struct half *half = (turn ^ round) & 1 ? iotlb : regions;
			struct viodma_queue_setup setup = half->queue.setup;
			uint32_t base;

			must(viodma_queue_stop(&half->queue, &base) == VIODMA_OK, "it does not stop");
			memset(memory, 0, RING_BYTES);
			half->made = 0;
			setup.base = 0;
			must(viodma_queue_start(&half->queue, &setup, NULL) == VIODMA_OK, "it does not start");
			ns[half == iotlb] = run(half, order, bytes, repeats);
		}
		if (round) /* the first one warms up */
			add_round(&result, ns[1], ns[0]);
	}
	report("requests", pattern_names[pattern], pattern == ONE_MAPPING ? 1 : PAGES, bytes, &result);
	half_free(regions);
	half_free(iotlb);
	munmap(memory, RING_BYTES + (size_t)PAGES * PAGE);
}

/* ---- translations alone ---- */

struct range {
	uint64_t first, last;
};

static uint64_t search(const struct range *ranges, uint32_t count, uint64_t address)
{
	uint32_t low = 0, high = count;

	while (low < high) {
		const uint32_t middle = low + (high - low) / 2;

		if (ranges[middle].last < address)
			low = middle + 1;
		else
			high = middle;
	}
	return low < count && ranges[low].first <= address ? low : UINT64_MAX;
}

/* Mappings of one page, of which each third is missing; entered in random order. */
static void translations(uint32_t count, uint32_t capacity, unsigned rounds, unsigned repeats)
{
	const uint64_t bytes = (uint64_t)count * PAGE;
	struct range *ranges = aligned_memory(count * sizeof(*ranges));
	uint32_t *order = aligned_memory(count * sizeof(*order));
	struct viodma_iotlb_entry *entries = aligned_memory(capacity * sizeof(*entries));
	unsigned char *memory = memory_of(bytes, PROT_NONE);
	const struct viodma_region region = {.phys = {PHYS}, .user = {PHYS}, .len_bytes = bytes, .memory = memory};
	unsigned char storage[VIODMA_SPACE_REGION_BYTES(2)] __attribute__((aligned(16)));
	struct viodma_iotlb_miss misses[8];
	struct viodma_space space;
	struct viodma_iotlb iotlb;
	const struct viodma_iotlb_config config = {.space = &space, .entries = entries, .capacity = capacity,
						   .misses = misses, .miss_capacity = 8, .ask = ignore};
	struct rounds result = {.count = 0};
	uint64_t sum = 0, other = 0;

	viodma_space_init(&space, storage, 2, NULL);
	must(viodma_space_add_region(&space, &region) == VIODMA_OK && viodma_iotlb_init(&iotlb, &config) == VIODMA_OK,
	     "no IOTLB");
	viodma_space_set_iotlb(&space, &iotlb);
	for (uint32_t i = 0; i < count; i++) {
		const uint32_t with = (uint32_t)(draw() % (i + 1));

		ranges[i].first = BUS + (i + i / 2 + (uint64_t)0) * PAGE;
		ranges[i].last = ranges[i].first + PAGE - 1;
		order[i] = order[with];
		order[with] = i;
	}
	for (uint32_t i = 0; i < count; i++)
		must(viodma_iotlb_update(&iotlb, (viodma_bus){ranges[order[i]].first}, PAGE,
					 (viodma_uaddr){PHYS + (uint64_t)order[i] * PAGE}, VIODMA_READ) == VIODMA_OK,
		     "not granted");
	for (unsigned round = 0; round <= rounds; round++) {
		const uint64_t seed = random_state;
		struct viodma_extent extent;
		double ns[2] = {0, 0}, start;

		for (unsigned turn = 0; turn < 2; turn++) {
			random_state = seed;
			start = now_ns();
			if ((turn ^ round) & 1) {
				for (unsigned i = 0; i < repeats; i++) {
					const uint32_t at = (uint32_t)((draw() >> 32) * count >> 32);

					must(viodma_iotlb_translate(&iotlb, (viodma_bus){BUS + (at + at / 2) * (uint64_t)PAGE + 8},
								    VIODMA_READ, &extent) == VIODMA_OK, "not found");
					sum += extent.first.v;
				}
				ns[1] = (now_ns() - start) / repeats;
			} else {
				for (unsigned i = 0; i < repeats; i++) {
					const uint32_t at = (uint32_t)((draw() >> 32) * count >> 32);

					other += ranges[search(ranges, count, BUS + (at + at / 2) * (uint64_t)PAGE + 8)].first;
				}
				ns[0] = (now_ns() - start) / repeats;
			}
		}
		if (round)
			add_round(&result, ns[1], ns[0]);
	}
	must(sum == other, "two look-ups, two answers");
	report("translations", count == capacity ? "full" : "random", count, 0, &result);
	munmap(memory, bytes);
	free(entries);
	free(order);
	free(ranges);
}

int main(int argc, char **argv)
{
	static const uint32_t sizes[] = {64, 4096};
	unsigned rounds = 25, repeats = 64;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--json"))
			json = true;
		else if (!strcmp(argv[i], "--quick"))
			rounds = 5;
		else if (!strncmp(argv[i], "--rounds=", 9) && atoi(argv[i] + 9) > 0 &&
			 atoi(argv[i] + 9) <= (int)ROUNDS_MAX)
			rounds = (unsigned)atoi(argv[i] + 9);
		else
			must(false, "options: --json --quick --rounds=N");
	}
	if (json)
		printf("{\"rounds\": %u, \"bytes_per_entry\": %zu, \"rows\": [", rounds, sizeof(struct viodma_iotlb_entry));
	else
		printf("%-12s %-9s %8s %6s %9s %9s   %5s\n", "what", "pattern", "mappings", "bytes", "ns", "yardstick", "ratio");
	for (unsigned size = 0; size < 2; size++)
		for (enum pattern pattern = 0; pattern < PATTERNS; pattern++)
			requests(pattern, sizes[size], rounds, sizes[size] == 64 ? 4 * repeats : repeats);
	translations(2048, 4096, rounds, 200000);
	translations(2048, 2048, rounds, 200000);
	translations(1000000, 1000000, rounds, 200000);
	if (json)
		printf("]}\n");
	else
		printf("bytes per entry: %zu\n", sizeof(struct viodma_iotlb_entry));
	return 0;
}
