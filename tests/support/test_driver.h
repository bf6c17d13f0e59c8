/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_driver.h - a driver half for tests, with its memory, its platform, and the device half's queue opposite.
 *
 * Memory is one block between two guard pages, handed to the space as one or several regions. Its bytes are named by
 * their offset. No two of an offset's addresses are equal: physical, user and (with bit 33) bus address all differ,
 * and bus pages lie in another order than physical ones when `scatter` is set, so that who skips the translation, or
 * translates a page once for all, reads other memory.
 *
 * It speaks packed rings, too. There test_desc notes a descriptor down, by its number, as if there were a table of them;
 * test_make_available writes the chain that begins with that number into the ring, with the number as its buffer id. So
 * one test is about both layouts, as long as it does not look at the ring's words itself.
 *
 * All wire values go through little-endian accessors. Ring indexes are published with release, taken with acquire, so
 * that the two halves may live in two threads.
 */
#ifndef VIODMA_TESTS_TEST_DRIVER_H
#define VIODMA_TESTS_TEST_DRIVER_H

#include <viodma/iotlb.h>
#include <viodma/queue.h>
#include <viodma/wire/ring.h>

#define TEST_PAGE 4096u
#define TEST_PAGES 256u
#define TEST_BYTES ((size_t)TEST_PAGES * TEST_PAGE)
#define TEST_PHYS 0x40000000u
#define TEST_USER 0x7e1230000000u
#define TEST_BUS 0x0800000002220000u

/* Where things lie: each ring part on pages of its own, so that each can be withheld on its own. */
#define TEST_DESC (1u * TEST_PAGE)    /* 4 pages: up to 1024 descriptors */
#define TEST_AVAIL (8u * TEST_PAGE)   /* 1 page */
#define TEST_USED (10u * TEST_PAGE)   /* 3 pages */
#define TEST_TABLES (16u * TEST_PAGE) /* indirect tables */
#define TEST_BUFFERS (32u * TEST_PAGE)

#define TEST_ASKS 1024u
#define TEST_FAULTS 64u

struct test_options {
	bool platform;  /* bit 33 accepted: an IOTLB; else physical addresses */
	bool granted;   /* the IOTLB starts with everything granted to read and write */
	bool scatter;   /* bus pages in another order than physical ones */
	bool copy;      /* VIODMA_ACCESS_COPY */
	uint32_t size;  /* descriptors; default 16 */
	uint32_t size_max, segments_max, pieces_max; /* defaults 256, size_max, 4 * segments_max */
	uint32_t iotlb_capacity, miss_capacity;      /* defaults 1024, 64 */
	bool no_indirect, event_idx, in_order, order_platform;
	/* The layout: packed, or split; neither: what the environment's VIODMA_TEST_RING says ("packed"), else split. */
	bool packed, split;
	const struct viodma_queue_record_ops *record;
	void *record_context;
};

#define TEST_NOTED 1024u

struct test_driver {
	struct test_options options;
	unsigned char *memory; /* TEST_BYTES */
	struct viodma_space space;
	struct viodma_iotlb iotlb;
	struct viodma_queue queue;
	struct viodma_queue_setup setup;
	void *storage, *queue_memory;
	struct viodma_iotlb_entry *entries;
	struct viodma_iotlb_miss *misses;
	uint16_t avail_idx; /* next entry to fill; packed: how many chains were made available */
	uint16_t used_seen;
	/* packed */
	struct test_noted {
		uint64_t bus;
		uint32_t len;
		uint16_t flags, next;
	} noted[TEST_NOTED];
	uint16_t next, used; /* positions, wrap counter in bit 15 */
	uint16_t counts[TEST_NOTED]; /* of descriptors, by buffer id */
	uint16_t used_count;
	struct {
		uint32_t id, len;
	} used_elements[TEST_NOTED]; /* the last ones; by their number modulo that */
	/* What the platform was asked, and the space reported. */
	struct test_ask {
		uint64_t bus;
		enum viodma_permission wanted;
	} asks[TEST_ASKS];
	uint32_t ask_count, answered;
	struct viodma_fault faults[TEST_FAULTS];
	uint32_t fault_count;
	/* COPY mode */
	uint32_t copies, copy_refusals;
	size_t copy_bytes;
};

/* Everything made and started; aborts the process on failure (that is not what is under test). */
struct test_driver *test_driver_new(const struct test_options *options);
void test_driver_free(struct test_driver *driver);

/* The addresses of a byte of memory. */
viodma_bus test_bus(const struct test_driver *driver, size_t offset);
viodma_phys test_phys(size_t offset);
viodma_uaddr test_user(size_t offset);
size_t test_offset_of_bus(const struct test_driver *driver, uint64_t bus);

/* Little-endian words in the driver's memory. */
void test_put16(struct test_driver *driver, size_t offset, uint16_t value);
void test_put32(struct test_driver *driver, size_t offset, uint32_t value);
void test_put64(struct test_driver *driver, size_t offset, uint64_t value);
uint16_t test_get16(const struct test_driver *driver, size_t offset);
uint32_t test_get32(const struct test_driver *driver, size_t offset);

/* Fill with a pattern that depends on the offset; is it still there? */
void test_fill(struct test_driver *driver, size_t offset, size_t bytes, unsigned char salt);
bool test_filled(const struct test_driver *driver, size_t offset, size_t bytes, unsigned char salt);

/* A descriptor of the ring, or of a table at `table` (an offset). `bus` is written as it is. */
void test_desc(struct test_driver *driver, uint32_t index, viodma_bus bus, uint32_t len, uint16_t flags, uint16_t next);
void test_desc_flags(struct test_driver *driver, uint32_t index, uint16_t flags);
void test_table_desc(struct test_driver *driver, size_t table, uint32_t index, viodma_bus bus, uint32_t len,
		     uint16_t flags, uint16_t next);

/* A plain request: readable at offset/bytes if bytes, then writable; heads `head`, `head + 1`. */
void test_request(struct test_driver *driver, uint16_t head, size_t readable, uint32_t readable_bytes, size_t writable,
		  uint32_t writable_bytes);

void test_make_available(struct test_driver *driver, uint16_t head);
/* The split ring's used index; packed: how many used descriptors there were. */
uint16_t test_used_idx(struct test_driver *driver);
/* The next used element, if there is one. */
bool test_take_used(struct test_driver *driver, uint32_t *id, uint32_t *len);

/* Does the environment want packed rings where a test does not say? */
bool test_packed(void);
/* Packed: write one descriptor of the ring: flags last, and as they are; its place. */
void test_packed_desc(struct test_driver *driver, uint32_t place, viodma_bus bus, uint32_t len, uint16_t id, uint16_t flags);
/* Packed: the flags that make a descriptor available, or used, at a position. */
uint16_t test_available_flags(uint16_t position);
uint16_t test_used_flags(uint16_t position);
uint16_t test_behind(const struct test_driver *driver, uint16_t position, uint32_t count);
/* What viodma_queue_stop answers when so many entries were fetched and used since the start, all in one lap. */
uint32_t test_base_at(const struct test_driver *driver, uint32_t fetched, uint32_t used);
/* Nothing is in flight: where the ring goes on, for viodma_queue_setup.base. Lost: one entry behind what it was. */
uint32_t test_base(struct test_driver *driver);
uint32_t test_base_after_lost(struct test_driver *driver);
/* As after a reset: its memory is zeroed; its base. */
uint32_t test_fresh_ring(struct test_driver *driver);

/* The platform (bit 33): grant, withdraw. Page by page when scattered. */
void test_grant(struct test_driver *driver, size_t offset, size_t bytes, enum viodma_permission permission);
void test_grant_all(struct test_driver *driver);
void test_grant_rings(struct test_driver *driver);
void test_revoke(struct test_driver *driver, size_t offset, size_t bytes);
/* Where used elements are written; withdraw the permission to. */
size_t test_used_area(const struct test_driver *driver);
void test_revoke_used(struct test_driver *driver);
/* Answer every question asked since the last time; granted: with the page, read-write as some platforms do. */
uint32_t test_answer(struct test_driver *driver, bool granted);
/* Was the page of this byte asked for? */
bool test_asked(const struct test_driver *driver, size_t offset, enum viodma_permission wanted);

/* Pop, answering misses as they come; WAIT and parked requests therefore end. */
enum viodma_result test_pop(struct test_driver *driver, struct viodma_request **request);

#endif
