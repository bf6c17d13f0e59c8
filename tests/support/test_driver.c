/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_driver.c - how it works: see the header. The IOTLB's questions are kept in a list, and answered when the test
 * says so, from outside the call that asked. Bus addresses: TEST_BUS + offset; scattered: the number of
 * a buffer page is multiplied by SCATTER modulo their number, which keeps no two neighbours together. A buffer of several
 * pages is contiguous in bus addresses; where its bytes are, test_offset_of_bus says.
 */
#include "tests/support/test_driver_packed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define FIRST_BUFFER (TEST_BUFFERS / TEST_PAGE)
#define BUFFER_PAGES (TEST_PAGES - FIRST_BUFFER)
#define SCATTER 75u /* its inverse modulo BUFFER_PAGES is UNSCATTER */
#define UNSCATTER 3u

static void must(bool condition, const char *what)
{
	if (condition)
		return;
	fprintf(stderr, "test driver: %s\n", what);
	abort();
}

static void on_ask(void *context, viodma_bus bus, enum viodma_permission wanted)
{
	struct test_driver *driver = context;

	must(driver->ask_count < TEST_ASKS, "more questions than a test needs");
	driver->asks[driver->ask_count].bus = bus.v;
	driver->asks[driver->ask_count].wanted = wanted;
	driver->ask_count++;
}

static void on_fault(void *context, const struct viodma_fault *fault)
{
	struct test_driver *driver = context;

	if (driver->fault_count < TEST_FAULTS)
		driver->faults[driver->fault_count] = *fault;
	driver->fault_count++;
}

static void *copy_alloc(void *context, size_t bytes)
{
	struct test_driver *driver = context;
	void *memory;

	if (driver->copy_refusals) {
		driver->copy_refusals--;
		return NULL;
	}
	memory = malloc(bytes ? bytes : 1);
	must(memory != NULL, "out of memory");
	driver->copies++;
	driver->copy_bytes += bytes;
	return memory;
}

static void copy_free(void *context, void *memory, size_t bytes)
{
	struct test_driver *driver = context;

	driver->copies--;
	driver->copy_bytes -= bytes;
	free(memory);
}

static void *zeroed(size_t count, size_t bytes)
{
	void *memory = calloc(count ? count : 1, bytes ? bytes : 1);

	must(memory != NULL, "out of memory");
	return memory;
}

static void make_memory(struct test_driver *driver)
{
	unsigned char *all = mmap(NULL, TEST_BYTES + 2 * TEST_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	must(all != MAP_FAILED, "mmap");
	must(mprotect(all + TEST_PAGE, TEST_BYTES, PROT_READ | PROT_WRITE) == 0, "mprotect");
	driver->memory = all + TEST_PAGE;
}

static void make_iotlb(struct test_driver *driver)
{
	struct viodma_iotlb_config config = {
		.space = &driver->space,
		.capacity = driver->options.iotlb_capacity,
		.miss_capacity = driver->options.miss_capacity,
		.ask = on_ask,
		.context = driver,
	};

	driver->entries = zeroed(config.capacity, sizeof(*driver->entries));
	driver->misses = zeroed(config.miss_capacity, sizeof(*driver->misses));
	config.entries = driver->entries;
	config.misses = driver->misses;
	must(viodma_iotlb_init(&driver->iotlb, &config) == VIODMA_OK, "viodma_iotlb_init");
	viodma_space_set_iotlb(&driver->space, &driver->iotlb);
	if (driver->options.granted)
		test_grant_all(driver);
}

static void make_queue(struct test_driver *driver)
{
	struct viodma_queue_config config = {
		.space = &driver->space,
		.index = 3,
		.size_max = driver->options.size_max,
		.segments_max = driver->options.segments_max,
		.pieces_max = driver->options.pieces_max,
		.access = driver->options.copy ? VIODMA_ACCESS_COPY : VIODMA_ACCESS_PIN,
		.copy_alloc = copy_alloc,
		.copy_free = copy_free,
		.copy_context = driver,
	};

	config.record = driver->options.record;
	config.record_context = driver->options.record_context;
	config.memory_bytes = viodma_queue_memory_bytes(&config);
	must(config.memory_bytes != 0, "viodma_queue_memory_bytes");
	driver->queue_memory = zeroed(1, config.memory_bytes);
	config.memory = driver->queue_memory;
	must(viodma_queue_init(&driver->queue, &config) == VIODMA_OK, "viodma_queue_init");
	driver->setup.size = driver->options.size;
	driver->setup.desc = test_bus(driver, TEST_DESC);
	driver->setup.avail = test_bus(driver, TEST_AVAIL);
	driver->setup.used = test_bus(driver, TEST_USED);
	driver->setup.indirect_desc = !driver->options.no_indirect;
	driver->setup.event_idx = driver->options.event_idx;
	driver->setup.in_order = driver->options.in_order;
	driver->setup.order_platform = driver->options.order_platform;
	driver->setup.packed = driver->options.packed;
	driver->next = driver->used = (uint16_t)VIODMA_QUEUE_PACKED_BASE;
	driver->setup.base = driver->setup.packed ? VIODMA_QUEUE_PACKED_BASE : 0;
	must(viodma_queue_start(&driver->queue, &driver->setup, NULL) == VIODMA_OK, "viodma_queue_start");
	/* Used descriptors are written where available ones were read: not asked for a second time in every test. */
	if (driver->setup.packed && driver->options.platform && !driver->options.granted)
		test_grant(driver, TEST_DESC, 4 * TEST_PAGE, VIODMA_READ_WRITE);
}

struct test_driver *test_driver_new(const struct test_options *options)
{
	static const struct test_options defaults;
	struct test_driver *driver = zeroed(1, sizeof(*driver));
	struct test_options *set = &driver->options;
	struct viodma_space_events events = {.fault = on_fault, .context = driver};
	struct viodma_region region = {.phys = test_phys(0), .user = test_user(0), .len_bytes = TEST_BYTES};

	*set = options ? *options : defaults;
	set->packed = !set->split && (set->packed || test_packed());
	set->size = set->size ? set->size : 16;
	set->size_max = set->size_max ? set->size_max : 256;
	set->segments_max = set->segments_max ? set->segments_max : set->size_max;
	set->pieces_max = set->pieces_max ? set->pieces_max : 4 * set->segments_max;
	set->iotlb_capacity = set->iotlb_capacity ? set->iotlb_capacity : 1024;
	set->miss_capacity = set->miss_capacity ? set->miss_capacity : 64;
	make_memory(driver);
	driver->storage = zeroed(1, VIODMA_SPACE_REGION_BYTES(16));
	viodma_space_init(&driver->space, driver->storage, 16, &events);
	region.memory = driver->memory;
	must(viodma_space_add_region(&driver->space, &region) == VIODMA_OK, "viodma_space_add_region");
	if (set->platform)
		make_iotlb(driver);
	else
		viodma_space_set_physical(&driver->space);
	make_queue(driver);
	return driver;
}

void test_driver_free(struct test_driver *driver)
{
	if (!driver)
		return;
	(void)munmap(driver->memory - TEST_PAGE, TEST_BYTES + 2 * TEST_PAGE);
	free(driver->storage);
	free(driver->queue_memory);
	free(driver->entries);
	free(driver->misses);
	free(driver);
}

viodma_phys test_phys(size_t offset)
{
	return (viodma_phys){TEST_PHYS + offset};
}

viodma_uaddr test_user(size_t offset)
{
	return (viodma_uaddr){TEST_USER + offset};
}

viodma_bus test_bus(const struct test_driver *driver, size_t offset)
{
	uint64_t page = offset / TEST_PAGE, within = offset % TEST_PAGE;

	if (!driver->options.platform)
		return (viodma_bus){TEST_PHYS + offset};
	if (driver->options.scatter && page >= FIRST_BUFFER && page < TEST_PAGES)
		page = TEST_PAGES + (page - FIRST_BUFFER) * SCATTER % BUFFER_PAGES;
	return (viodma_bus){TEST_BUS + page * TEST_PAGE + within};
}

size_t test_offset_of_bus(const struct test_driver *driver, uint64_t bus)
{
	uint64_t page = (bus - TEST_BUS) / TEST_PAGE, within = (bus - TEST_BUS) % TEST_PAGE;

	if (!driver->options.platform)
		return (size_t)(bus - TEST_PHYS);
	if (page >= TEST_PAGES)
		page = FIRST_BUFFER + (page - TEST_PAGES) * UNSCATTER % BUFFER_PAGES;
	return (size_t)(page * TEST_PAGE + within);
}

void test_put16(struct test_driver *driver, size_t offset, uint16_t value)
{
	viodma_le16 wire = viodma_le16_of(value);

	memcpy(driver->memory + offset, &wire, sizeof(wire));
}

void test_put32(struct test_driver *driver, size_t offset, uint32_t value)
{
	viodma_le32 wire = viodma_le32_of(value);

	memcpy(driver->memory + offset, &wire, sizeof(wire));
}

void test_put64(struct test_driver *driver, size_t offset, uint64_t value)
{
	viodma_le64 wire = viodma_le64_of(value);

	memcpy(driver->memory + offset, &wire, sizeof(wire));
}

uint16_t test_get16(const struct test_driver *driver, size_t offset)
{
	viodma_le16 wire;

	memcpy(&wire, driver->memory + offset, sizeof(wire));
	return viodma_le16_get(wire);
}

uint32_t test_get32(const struct test_driver *driver, size_t offset)
{
	viodma_le32 wire;

	memcpy(&wire, driver->memory + offset, sizeof(wire));
	return viodma_le32_get(wire);
}

static unsigned char pattern(size_t offset, unsigned char salt)
{
	return (unsigned char)(offset * 31u + (offset >> 8) * 7u + salt);
}

void test_fill(struct test_driver *driver, size_t offset, size_t bytes, unsigned char salt)
{
	size_t i;

	for (i = 0; i < bytes; i++)
		driver->memory[offset + i] = pattern(offset + i, salt);
}

bool test_filled(const struct test_driver *driver, size_t offset, size_t bytes, unsigned char salt)
{
	size_t i;

	for (i = 0; i < bytes; i++)
		if (driver->memory[offset + i] != pattern(offset + i, salt))
			return false;
	return true;
}

void test_table_desc(struct test_driver *driver, size_t table, uint32_t index, viodma_bus bus, uint32_t len,
		     uint16_t flags, uint16_t next)
{
	size_t at = table + 16u * (size_t)index;

	test_put64(driver, at, bus.v);
	test_put32(driver, at + 8, len);
	test_put16(driver, at + 12, driver->setup.packed ? next : flags);
	test_put16(driver, at + 14, driver->setup.packed ? flags : next);
}

void test_desc(struct test_driver *driver, uint32_t index, viodma_bus bus, uint32_t len, uint16_t flags, uint16_t next)
{
	const struct test_noted noted = {bus.v, len, flags, next};

	if (!driver->setup.packed) {
		test_table_desc(driver, TEST_DESC, index, bus, len, flags, next);
		return;
	}
	must(index < TEST_NOTED, "so many descriptors cannot be noted");
	driver->noted[index] = noted;
}

void test_desc_flags(struct test_driver *driver, uint32_t index, uint16_t flags)
{
	if (driver->setup.packed)
		driver->noted[index].flags = flags;
	else
		test_put16(driver, TEST_DESC + 16u * (size_t)index + 12, flags);
}

void test_request(struct test_driver *driver, uint16_t head, size_t readable, uint32_t readable_bytes, size_t writable,
		  uint32_t writable_bytes)
{
	uint16_t at = head;

	if (readable_bytes) {
		test_desc(driver, at, test_bus(driver, readable), readable_bytes, writable_bytes ? VIRTQ_DESC_F_NEXT : 0,
			  (uint16_t)(at + 1));
		at++;
	}
	if (writable_bytes)
		test_desc(driver, at, test_bus(driver, writable), writable_bytes, VIRTQ_DESC_F_WRITE, 0);
}

static void split_make_available(struct test_driver *driver, uint16_t head)
{
	uint16_t *index = (uint16_t *)(void *)(driver->memory + TEST_AVAIL + VIRTQ_AVAIL_IDX);

	test_put16(driver, TEST_AVAIL + VIRTQ_AVAIL_RING(driver->avail_idx % driver->setup.size), head);
	__atomic_store_n(index, viodma_le16_of((uint16_t)(driver->avail_idx + 1)).wire, __ATOMIC_RELEASE);
}

void test_make_available(struct test_driver *driver, uint16_t head)
{
	if (driver->setup.packed)
		test_packed_make_available(driver, head);
	else
		split_make_available(driver, head);
	driver->avail_idx++;
}

uint16_t test_used_idx(struct test_driver *driver)
{
	const uint16_t *index = (const uint16_t *)(const void *)(driver->memory + TEST_USED + VIRTQ_USED_IDX);
	viodma_le16 wire;

	if (driver->setup.packed)
		return test_packed_used_count(driver);
	wire.wire = __atomic_load_n(index, __ATOMIC_ACQUIRE);
	return viodma_le16_get(wire);
}

bool test_take_used(struct test_driver *driver, uint32_t *id, uint32_t *len)
{
	size_t at = TEST_USED + VIRTQ_USED_RING(driver->used_seen % driver->setup.size);

	if (test_used_idx(driver) == driver->used_seen)
		return false;
	if (driver->setup.packed) {
		*id = driver->used_elements[driver->used_seen % TEST_NOTED].id;
		*len = driver->used_elements[driver->used_seen % TEST_NOTED].len;
	} else {
		*id = test_get32(driver, at);
		*len = test_get32(driver, at + 4);
	}
	driver->used_seen++;
	return true;
}

void test_grant(struct test_driver *driver, size_t offset, size_t bytes, enum viodma_permission permission)
{
	while (bytes) {
		size_t here = TEST_PAGE - offset % TEST_PAGE;

		here = here < bytes ? here : bytes;
		must(viodma_iotlb_update(&driver->iotlb, test_bus(driver, offset), here, test_user(offset), permission) ==
			     VIODMA_OK,
		     "viodma_iotlb_update");
		offset += here;
		bytes -= here;
	}
}

void test_grant_all(struct test_driver *driver)
{
	test_grant(driver, 0, TEST_BYTES, VIODMA_READ_WRITE);
}

void test_grant_rings(struct test_driver *driver)
{
	test_grant(driver, TEST_DESC, 4 * TEST_PAGE, driver->setup.packed ? VIODMA_READ_WRITE : VIODMA_READ);
	test_grant(driver, TEST_AVAIL, TEST_PAGE, VIODMA_READ);
	test_grant(driver, TEST_USED, 3 * TEST_PAGE, VIODMA_READ_WRITE);
}

size_t test_used_area(const struct test_driver *driver)
{
	return driver->setup.packed ? TEST_DESC : TEST_USED;
}

void test_revoke_used(struct test_driver *driver)
{
	test_revoke(driver, test_used_area(driver), 3 * TEST_PAGE);
	if (driver->setup.packed)
		test_grant(driver, TEST_DESC, 3 * TEST_PAGE, VIODMA_READ);
}

void test_revoke(struct test_driver *driver, size_t offset, size_t bytes)
{
	while (bytes) {
		size_t here = TEST_PAGE - offset % TEST_PAGE;

		here = here < bytes ? here : bytes;
		must(viodma_iotlb_invalidate(&driver->iotlb, test_bus(driver, offset), here) == VIODMA_OK,
		     "viodma_iotlb_invalidate");
		offset += here;
		bytes -= here;
	}
}

uint32_t test_answer(struct test_driver *driver, bool granted)
{
	uint32_t count = 0;

	for (; driver->answered < driver->ask_count; driver->answered++, count++) {
		const struct test_ask *ask = &driver->asks[driver->answered];
		uint64_t page = ask->bus & ~(uint64_t)(TEST_PAGE - 1);
		enum viodma_result result;

		if (granted)
			must(viodma_iotlb_update(&driver->iotlb, (viodma_bus){page}, TEST_PAGE,
						 test_user(test_offset_of_bus(driver, page)),
						 VIODMA_READ_WRITE) == VIODMA_OK,
			     "viodma_iotlb_update");
		/* The reply itself; after an update, this one or another, it may find nothing outstanding. */
		result = viodma_iotlb_replied(&driver->iotlb, (viodma_bus){ask->bus}, ask->wanted, granted);
		must(result == VIODMA_OK || result == VIODMA_E_NOT_FOUND, "viodma_iotlb_replied");
	}
	return count;
}

bool test_asked(const struct test_driver *driver, size_t offset, enum viodma_permission wanted)
{
	uint64_t page = test_bus(driver, offset).v / TEST_PAGE;
	uint32_t i;

	for (i = 0; i < driver->ask_count; i++)
		if (driver->asks[i].bus / TEST_PAGE == page && driver->asks[i].wanted == wanted)
			return true;
	return false;
}

enum viodma_result test_pop(struct test_driver *driver, struct viodma_request **request)
{
	enum viodma_result result = viodma_queue_pop(&driver->queue, request);

	while ((result == VIODMA_WAIT || result == VIODMA_EMPTY) && driver->options.platform &&
	       test_answer(driver, true))
		result = viodma_queue_pop(&driver->queue, request);
	return result;
}
