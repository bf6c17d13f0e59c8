/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_blk.c - block requests: headers, shapes of chains, and data are the input's; so is when the disk answers.
 *
 * How it works: in a ring of either layout, each request is a header and a list of pieces with sizes and directions, over physical addresses or an
 * IOTLB that is asked, in place or copied. The disk (tests/support/blk_rig.c) aborts if it is asked for anything
 * outside its capacity, or not in whole sectors. At the end each request has come back, unless the queue is broken.
 */
#include "fuzz/input.h"
#include "tests/support/blk_rig.h"

#define SIZE 32u

/* Something like a list of ranges, on the request's first data page. */
static void put_ranges(struct blk_rig *rig, struct input *input, unsigned first)
{
	unsigned i;

	for (i = 0; i < 4; i++) {
		test_put64(rig->driver, RIG_DATA(first + 1) + 16 * i, input_byte(input) % (RIG_SECTORS + 2));
		test_put32(rig->driver, RIG_DATA(first + 1) + 16 * i + 8, input_byte(input) % 20u);
		test_put32(rig->driver, RIG_DATA(first + 1) + 16 * i + 12, input_byte(input) % 16u == 1);
	}
}

static unsigned add_request(struct blk_rig *rig, struct input *input, unsigned first)
{
	struct test_driver *d = rig->driver;
	static const uint32_t types[] = {VIRTIO_BLK_T_IN,      VIRTIO_BLK_T_OUT,	  VIRTIO_BLK_T_FLUSH,
					 VIRTIO_BLK_T_GET_ID,  VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_WRITE_ZEROES,
					 VIRTIO_BLK_T_GET_LIFETIME, VIRTIO_BLK_T_SECURE_ERASE};
	uint8_t shape = input_byte(input);
	unsigned pieces = 1 + shape % 6, kinds = 0, i;

	if (first + pieces > SIZE)
		return 0;
	if (shape & 0x10) {
		kinds = 4;
		put_ranges(rig, input, first);
	}
	blk_rig_header(rig, first, types[kinds + (shape >> 6)], input_byte(input) % (RIG_SECTORS + 2));
	if (shape & 0x08)
		input_bytes(input, d->memory + RIG_HEADER(first), 16); /* anything */
	for (i = 0; i < pieces; i++) {
		uint8_t kind = input_byte(input);
		size_t at = i ? RIG_DATA(first + i) : RIG_HEADER(first);
		/* Sizes: a header, a status, sectors, or anything up to three pages. */
		const uint32_t sizes[] = {16, 1, 512u * (1u + kind / 64u), input_u16(input) % (kinds ? 80 : 3 * TEST_PAGE)};
		uint32_t len = sizes[kind % 4] ? sizes[kind % 4] : 1;
		uint16_t flags = (uint16_t)((i + 1 < pieces ? VIRTQ_DESC_F_NEXT : 0) |
					    (kind & 4 || (kind & 8 && i) ? VIRTQ_DESC_F_WRITE : 0));

		test_desc(d, first + i, test_bus(d, at), len, flags, (uint16_t)(first + i + 1));
	}
	test_make_available(d, (uint16_t)first);
	return pieces;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {data, size};
	uint8_t options = input_byte(&input);
	struct test_options set = {.size = SIZE, .size_max = 32, .segments_max = 8, .platform = options & 1,
				   .packed = options & 64, .split = !(options & 64), .in_order = options & 128,
				   .scatter = options & 2, .copy = options & 4, .event_idx = options & 8};
	struct viodma_blk_config config;
	struct blk_rig *rig;
	unsigned used = 0, requests = 0, turns;

	blk_rig_default_config(&config);
	config.read_only = options & 16;
	config.discard = (struct viodma_blk_range_limits){8, 2, 1};
	config.write_zeroes = (struct viodma_blk_range_limits){16, 4, 0};
	config.secure_erase = (struct viodma_blk_range_limits){4, 3, 1};
	rig = blk_rig_new(&set, &config);
	if (options & 32)
		viodma_blk_set_accepted(&rig->blk, 0);
	while (input.left) {
		unsigned more = add_request(rig, &input, used);
		uint8_t next = input_byte(&input);

		if (!more)
			break;
		used += more;
		requests++;
		rig->defer = next & 1;
		rig->fail = next & 2;
		if (next & 4)
			(void)(blk_rig_run(rig) == VIODMA_OK);
		if (next & 8 && rig->pending_count)
			blk_rig_finish(rig, next % rig->pending_count, !(next & 16));
	}
	for (turns = 0; turns < 8; turns++) {
		(void)(blk_rig_run(rig) == VIODMA_OK);
		while (rig->pending_count)
			blk_rig_finish(rig, 0, true);
	}
	MUST(rig->driver->queue.submitted == 0);
	MUST(rig->driver->queue.broken != VIODMA_OK || test_used_idx(rig->driver) == requests);
	viodma_queue_reset(&rig->driver->queue);
	MUST(rig->driver->copies == 0);
	blk_rig_free(rig);
	return 0;
}
