/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_types.c - addresses, permissions, and integers as they lie on the wire.
 *
 * How it works: what a number looks like in memory is looked at byte by byte, so that the same test says the same on a
 * machine of either byte order; layouts are compared with the standard's offsets.
 */
#include "tests/support/check.h"

#include <viodma/iotlb.h>
#include <viodma/wire/blk.h>
#include <viodma/wire/ring.h>

static bool integers_lie_on_the_wire_with_the_least_byte_first(void)
{
	static const unsigned char bytes[] = {0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11};
	viodma_le16 le16 = viodma_le16_of(0x7788);
	viodma_le32 le32 = viodma_le32_of(0x55667788);
	viodma_le64 le64 = viodma_le64_of(0x1122334455667788);

	CHECK(memcmp(&le16, bytes, sizeof(le16)) == 0);
	CHECK(memcmp(&le32, bytes, sizeof(le32)) == 0);
	CHECK(memcmp(&le64, bytes, sizeof(le64)) == 0);
	return true;
}
HOLDS(integers_lie_on_the_wire_with_the_least_byte_first)

static bool integers_come_back_from_the_wire(void)
{
	struct check_random random = {.state = 1};
	int i;

	for (i = 0; i < 1000; i++) {
		uint64_t number = check_random(&random);

		CHECK(viodma_le16_get(viodma_le16_of((uint16_t)number)) == (uint16_t)number);
		CHECK(viodma_le32_get(viodma_le32_of((uint32_t)number)) == (uint32_t)number);
		CHECK(viodma_le64_get(viodma_le64_of(number)) == number);
	}
	return true;
}
HOLDS(integers_come_back_from_the_wire)

static bool permissions_are_a_set_of_two_bits(void)
{
	CHECK((VIODMA_READ & VIODMA_WRITE) == VIODMA_NO_ACCESS);
	CHECK((VIODMA_READ | VIODMA_WRITE) == VIODMA_READ_WRITE);
	CHECK(VIODMA_NO_ACCESS == 0);
	return true;
}
HOLDS(permissions_are_a_set_of_two_bits)

static bool ring_structures_have_the_layout_of_the_standard(void)
{
	CHECK_EQUAL(sizeof(struct virtq_desc), 16);
	CHECK_EQUAL(offsetof(struct virtq_desc, addr), 0);
	CHECK_EQUAL(offsetof(struct virtq_desc, len), 8);
	CHECK_EQUAL(offsetof(struct virtq_desc, flags), 12);
	CHECK_EQUAL(offsetof(struct virtq_desc, next), 14);
	CHECK_EQUAL(sizeof(struct virtq_used_elem), 8);
	CHECK_EQUAL(VIRTQ_AVAIL_RING(3), 10);
	CHECK_EQUAL(VIRTQ_AVAIL_USED_EVENT(8), 20);
	CHECK_EQUAL(VIRTQ_USED_RING(3), 28);
	CHECK_EQUAL(VIRTQ_USED_AVAIL_EVENT(8), 68);
	CHECK_EQUAL(VIRTQ_DESC_BYTES(8), 128);
	CHECK_EQUAL(VIRTQ_AVAIL_BYTES(8), 22);
	CHECK_EQUAL(VIRTQ_USED_BYTES(8), 70);
	return true;
}
HOLDS(ring_structures_have_the_layout_of_the_standard)

static bool block_structures_have_the_layout_of_the_standard(void)
{
	CHECK_EQUAL(sizeof(struct virtio_blk_request_header), 16);
	CHECK_EQUAL(offsetof(struct virtio_blk_request_header, sector), 8);
	CHECK_EQUAL(offsetof(struct virtio_blk_config_layout, size_max), 8);
	CHECK_EQUAL(offsetof(struct virtio_blk_config_layout, seg_max), 12);
	CHECK_EQUAL(offsetof(struct virtio_blk_config_layout, geometry), 16);
	CHECK_EQUAL(offsetof(struct virtio_blk_config_layout, blk_size), 20);
	CHECK_EQUAL(offsetof(struct virtio_blk_config_layout, topology), 24);
	CHECK_EQUAL(offsetof(struct virtio_blk_config_layout, writeback), 32);
	CHECK_EQUAL(offsetof(struct virtio_blk_config_layout, num_queues), 34);
	CHECK_EQUAL(offsetof(struct virtio_blk_config_layout, max_discard_sectors), 36);
	CHECK_EQUAL(offsetof(struct virtio_blk_config_layout, max_write_zeroes_sectors), 48);
	CHECK_EQUAL(offsetof(struct virtio_blk_config_layout, write_zeroes_may_unmap), 56);
	CHECK_EQUAL(offsetof(struct virtio_blk_config_layout, max_secure_erase_sectors), 60);
	return true;
}
HOLDS(block_structures_have_the_layout_of_the_standard)

static bool an_iotlb_entry_fits_one_cache_line(void)
{
	CHECK(sizeof(struct viodma_iotlb_entry) <= 64);
	return true;
}
HOLDS(an_iotlb_entry_fits_one_cache_line)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(integers_lie_on_the_wire_with_the_least_byte_first),
		TEST(integers_come_back_from_the_wire),
		TEST(permissions_are_a_set_of_two_bits),
		TEST(ring_structures_have_the_layout_of_the_standard),
		TEST(block_structures_have_the_layout_of_the_standard),
		TEST(an_iotlb_entry_fits_one_cache_line),
	};

	return cmocka_run_group_tests_name("types", tests, NULL, NULL);
}
