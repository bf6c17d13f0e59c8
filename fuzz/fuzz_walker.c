/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_walker.c - a ring, its tables and the IOTLB's state are the input's; the device half walks, parks, resumes,
 * answers, rejects, stops and starts as the input says.
 *
 * How it works: the input begins with options, the layout (split or packed), and the bytes of the ring, tables and buffers; the rest is a sequence of
 * operations. Memory stands between guard pages, so an access outside of it ends the process. In addition:
 *   - each read of shared memory must hit a page that is granted to be read, or pinned by a request
 *   - a page never granted to be written must be at the end what it was at the beginning
 *   - a request popped is one that is not out, and cannot be read or written beyond its end
 *   - no used length exceeds what the driver gave any request to write
 * Bit 33 is accepted unless the options say otherwise.
 */
#include "fuzz/input.h"
#include "tests/support/hooks.h"
#include "tests/support/test_driver.h"

#define SIZE 16u
#define PAGES 64u /* of memory that the input can name */

static struct test_driver *driver;
static uint8_t readable[TEST_PAGES], written[TEST_PAGES]; /* granted now; ever */
static unsigned char before[PAGES * TEST_PAGE];
static struct viodma_request *out[SIZE];
static uint32_t most_writable;
static bool used_is_data; /* a descriptor may name what the device writes of the ring as a buffer, or the driver writes there */

static void check_read(const void *at, size_t bytes)
{
	uintptr_t first = (uintptr_t)at, memory = (uintptr_t)driver->memory;

	if (first + bytes <= memory || first >= memory + TEST_BYTES)
		return; /* private memory of COPY mode; anything else ends at a guard page */
	if (!driver->options.platform)
		return;
	for (size_t page = (first - memory) / TEST_PAGE; page <= (first + bytes - 1 - memory) / TEST_PAGE; page++) {
		viodma_bus bus = test_bus(driver, page * TEST_PAGE), last = {bus.v + TEST_PAGE - 1};

		MUST(readable[page] || viodma_space_in_use(&driver->space, bus, last));
	}
}

static void grant(unsigned page, enum viodma_permission permission)
{
	page %= PAGES;
	if (!driver->options.platform)
		return;
	test_grant(driver, page * (size_t)TEST_PAGE, TEST_PAGE, permission);
	/* What is granted may be less, if it answered a question; never more. */
	readable[page] = (permission & VIODMA_READ) != 0;
	written[page] |= (permission & VIODMA_WRITE) != 0;
}

static void revoke(unsigned page)
{
	page %= PAGES;
	if (!driver->options.platform)
		return;
	test_revoke(driver, page * (size_t)TEST_PAGE, TEST_PAGE);
	readable[page] = 0;
}

static void answer(bool granted)
{
	if (!driver->options.platform)
		return;
	for (uint32_t i = driver->answered; granted && i < driver->ask_count; i++) {
		uint64_t bus = driver->asks[i].bus;

		if (bus >= TEST_BUS && bus < TEST_BUS + TEST_BYTES) {
			readable[(bus - TEST_BUS) / TEST_PAGE] = 1;
			written[(bus - TEST_BUS) / TEST_PAGE] = 1;
		} else {
			granted = false; /* the platform has nothing there */
		}
	}
	(void)test_answer(driver, granted);
	driver->ask_count = driver->answered = 0;
}

static void take(struct viodma_request *request)
{
	MUST(request->head < SIZE && out[request->head] == NULL);
	MUST(request->queue == &driver->queue);
	out[request->head] = request;
	request->user = request;
	if (request->writable_bytes > most_writable)
		most_writable = request->writable_bytes;
}

static void use(struct viodma_request *request, uint8_t how)
{
	static unsigned char bytes[4096];
	uint32_t offset;

	out[request->head] = NULL;
	MUST(request->user == request);
	if (request->result != VIODMA_OK || how & 1) {
		(void)(viodma_queue_reject(&driver->queue, request, "\1\2\3", how % 4) == VIODMA_OK);
		return;
	}
	for (offset = 0; offset < request->readable_bytes && offset < 65536; offset += 1000) {
		uint32_t here = request->readable_bytes - offset;

		MUST(viodma_request_read(request, offset, bytes, here < 1000 ? here : 1000) == VIODMA_OK);
	}
	memset(bytes, 0x40 | how, sizeof(bytes)); /* not what is there already */
	for (offset = 0; offset < request->writable_bytes && offset < 65536; offset += 4096) {
		uint32_t here = request->writable_bytes - offset;

		MUST(viodma_request_write(request, offset, bytes, here < 4096 ? here : 4096) == VIODMA_OK);
	}
	MUST(viodma_request_read(request, request->readable_bytes, bytes, 1) == VIODMA_E_INVALID);
	MUST(viodma_request_write(request, request->writable_bytes, bytes, 1) == VIODMA_E_INVALID);
	viodma_queue_push(&driver->queue, request, how & 2 ? UINT32_MAX : request->writable_bytes);
}

static void stop_and_start(bool elsewhere)
{
	struct viodma_queue_setup setup = driver->setup;
	struct viodma_request *request;
	uint32_t dropped;

	while (viodma_queue_pop_held(&driver->queue, &request) == VIODMA_OK) {
		take(request);
		use(request, 1);
	}
	if (viodma_queue_stop(&driver->queue, &setup.base) != VIODMA_OK)
		return;
	MUST(viodma_queue_pop(&driver->queue, &request) == VIODMA_FAULT_STOPPED);
	if (elsewhere)
		setup.base = setup.packed ? setup.base ^ VIODMA_QUEUE_PACKED_BASE : setup.base + 1; /* packed: another lap */
	MUST(viodma_queue_start(&driver->queue, &setup, &dropped) == VIODMA_OK);
}

static void operation(struct input *input)
{
	struct viodma_request *request = NULL;
	uint8_t code = input_byte(input), operand = input_byte(input);
	unsigned i;

	switch (code % 12) {
	case 0:
		grant(operand, (enum viodma_permission)(1 + (code >> 4) % 3));
		break;
	case 1:
		revoke(operand);
		break;
	case 2:
	case 3:
	case 4:
		if (viodma_queue_pop(&driver->queue, &request) == VIODMA_OK)
			take(request);
		break;
	case 5:
	case 6:
		for (i = 0; i < SIZE; i++)
			if (out[(operand + i) % SIZE]) {
				use(out[(operand + i) % SIZE], code >> 4);
				break;
			}
		break;
	case 7:
	case 8:
		answer(code % 12 == 7);
		if (operand & 1 && driver->options.platform)
			viodma_iotlb_settle(&driver->iotlb);
		break;
	case 9:
		stop_and_start(operand == 255);
		break;
	case 10:
		viodma_queue_kicked(&driver->queue);
		(void)viodma_queue_call_needed(&driver->queue);
		(void)viodma_queue_has_work(&driver->queue);
		break;
	default:
		/* The driver writes into its memory while the device works; not where the device writes its answers. */
		i = TEST_PAGE * (operand % PAGES) + input_u16(input) % (TEST_PAGE - 4);
		if (!driver->setup.packed && i / TEST_PAGE == TEST_USED / TEST_PAGE)
			break;
		used_is_data |= i / TEST_PAGE == TEST_DESC / TEST_PAGE || i / TEST_PAGE == TEST_TABLES / TEST_PAGE;
		test_put32(driver, i, input_u32(input));
		memcpy(before + i, driver->memory + i, 4);
		break;
	}
}

/* One descriptor. Packed: `next` is the buffer id; as many are available as the input says, the others if it says so. */
static void put_descriptor(unsigned i, viodma_bus bus, uint32_t len, uint8_t kind, uint16_t next, uint16_t available)
{
	const uint16_t first_lap = 1u << VIRTQ_PACKED_WRAP_BIT;
	uint16_t flags = kind & 7;

	if (!driver->setup.packed) {
		test_desc(driver, i, bus, len, flags, next);
		return;
	}
	if (i < available)
		flags |= test_available_flags(first_lap);
	else if (kind & 8)
		flags |= kind & 0x10 ? test_available_flags(0) : test_used_flags(first_lap);
	test_packed_desc(driver, i, bus, len, next, flags);
}

/* The driver's memory: descriptors, available ring, an indirect table, and where things are in the ring. */
static void fill(struct input *input, uint8_t options)
{
	uint16_t available = input_byte(input) % (SIZE + 2);
	const size_t used = test_used_area(driver);

	input_bytes(input, driver->memory + TEST_AVAIL + VIRTQ_AVAIL_RING(0), 2 * SIZE);
	for (unsigned i = 0; i < SIZE; i++) {
		/* Addresses: a page of memory and an offset, or anything. */
		uint8_t kind = input_byte(input), page = input_byte(input);
		uint16_t offset = input_u16(input), next = input_byte(input) % (SIZE + 1);
		uint32_t len = input_u16(input);
		viodma_bus bus = test_bus(driver, page % PAGES * (size_t)TEST_PAGE + offset % TEST_PAGE);

		if (kind & 0x80)
			bus.v = (uint64_t)input_u32(input) << 32 | input_u32(input);
		if (kind & 0x40)
			len = input_u32(input);
		if (kind & 0x20)
			len &= ~15u;
		used_is_data |= bus.v < test_bus(driver, used + TEST_PAGE).v && bus.v + len > test_bus(driver, used).v;
		put_descriptor(i, bus, len, kind, next, available);
		if (kind & 0x10)
			test_table_desc(driver, TEST_TABLES, i, bus, len, kind & 3, next);
		if (options & 0x40 && !driver->setup.packed)
			test_put16(driver, TEST_AVAIL + VIRTQ_AVAIL_RING(i),
				   test_get16(driver, TEST_AVAIL + VIRTQ_AVAIL_RING(i)) % SIZE);
	}
	if (!driver->setup.packed)
		test_put16(driver, TEST_AVAIL + VIRTQ_AVAIL_IDX, available);
}

/* Whatever the device says it has used, it says of no more than it was given to write. */
static void check_used(void)
{
	for (unsigned i = 0; i < SIZE && !used_is_data; i++) {
		const size_t at = driver->setup.packed ? TEST_DESC + 16u * i + 8 : TEST_USED + VIRTQ_USED_RING(i) + 4;

		MUST(test_get32(driver, at) <= most_writable || memcmp(before + at, driver->memory + at, 4) == 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {data, size};
	uint8_t options = input_byte(&input), layout = input_byte(&input);
	struct test_options set = {.packed = layout & 1, .split = !(layout & 1), .in_order = layout & 2,
				   .order_platform = layout & 4, .size = layout & 1 && layout & 8 ? SIZE - 5 : SIZE, .size_max = 16, .segments_max = options & 1 ? 4 : 16,
				   .pieces_max = options & 1 ? 6 : 64, .platform = !(options & 2), .copy = options & 4,
				   .event_idx = options & 8, .no_indirect = options & 16,
				   .iotlb_capacity = options & 32 ? 8 : 64, .miss_capacity = options & 32 ? 8 : 64};
	unsigned i;

	driver = test_driver_new(&set);
	memset(readable, 0, sizeof(readable));
	memset(written, 0, sizeof(written));
	memset(out, 0, sizeof(out));
	most_writable = 0;
	used_is_data = false;
	fill(&input, options);
	memcpy(before, driver->memory, sizeof(before));
	for (i = 0; i < 4; i++)
		revoke(TEST_DESC / TEST_PAGE + i); /* a packed ring is granted from the start, unless it is asked for */
	if (options & 0x80) {
		for (i = 0; i < 13; i++)
			grant(i, i >= 10 || set.packed ? VIODMA_READ_WRITE : VIODMA_READ);
		for (i = 16; i < PAGES; i++)
			grant(i, (enum viodma_permission)(1 + i % 3));
	}
	viodma_shared_read_hook_fn = check_read;
	while (input.left)
		operation(&input);
	for (i = 0; i < SIZE; i++)
		if (out[i])
			use(out[i], 0);
	viodma_shared_read_hook_fn = NULL;
	MUST(driver->queue.submitted == 0);
	viodma_queue_reset(&driver->queue);
	MUST(driver->queue.parked == 0 && driver->queue.done == 0 && driver->copies == 0);
	MUST(!viodma_space_in_use(&driver->space, (viodma_bus){0}, (viodma_bus){UINT64_MAX}));
	check_used();
	for (i = 0; i < PAGES && set.platform; i++)
		MUST(written[i] ||
		     memcmp(before + i * TEST_PAGE, driver->memory + i * TEST_PAGE, TEST_PAGE) == 0);
	test_driver_free(driver);
	return 0;
}
