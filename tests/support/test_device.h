/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_device.h - a device for tests of the driver half: its platform, the driver's memory, a transport, and what lies
 * opposite: sound by means of the library's own device half, or lying in the way the test says.
 *
 * Memory is two objects: private memory, for data, and the pool. Their physical addresses, bus addresses and pointers
 * all differ (direct: bus and physical ones are equal, as the rule demands); bus addresses lie in another order than
 * physical ones. What the device may reach is a table of grants: windows that are there from the start, or what the
 * IOMMU was told. The device reaches memory through them only, with their permission; everything else is counted as a
 * fault.
 *
 * Lies: members of the structure for those of the transport; for the ring, test_device_take and test_device_put_used do
 * by hand what the library's device half does soundly. They use the same grants.
 */
#ifndef VIODMA_TESTS_TEST_DEVICE_H
#define VIODMA_TESTS_TEST_DEVICE_H

#include <viodma/device_blk.h>
#include <viodma/driver_blk.h>
#include <viodma/wire/blk.h>
#include <viodma/wire/ring.h>

#define TEST_PRIVATE_BYTES (1u << 20)
#define TEST_PRIVATE_PHYS 0x40000000u
#define TEST_POOL_PHYS 0x90000000u
#define TEST_DISK_SECTORS 2048u
#define TEST_DISK_BYTES (TEST_DISK_SECTORS * 512u)
#define TEST_GRANTS 4096u
#define TEST_DEVICE_QUEUES 4u
#define TEST_CHAIN 64u
#define TEST_IDS 4096u

/* Programs exist twice: test_NAME_packed.c is test_NAME.c with packed rings. */
#ifndef TEST_PACKED
#define TEST_PACKED 0
#endif

enum test_kind { TEST_DIRECT, TEST_OFFSET, TEST_BOUNCE, TEST_IOMMU, TEST_BOUNCE_IOMMU, TEST_KINDS };

struct test_device_options {
	enum test_kind kind;
	bool physical;             /* bit 33 is not offered; direct only */
	uint32_t pool_bytes;       /* default 256 KiB */
	uint32_t slot_bytes;       /* default 2048, over an IOMMU 4096 */
	uint32_t run_bytes;        /* default: the pool's */
	uint32_t segment_bytes_max, boundary_bytes, alignment_bytes; /* of the platform; 0: none */
	uint64_t mapping_bytes_max;
	bool deferred;             /* the IOMMU's invalidations */
	bool order_platform;       /* bit 36 */
	bool legacy;               /* no VERSION_1 */
	/* The ring: defaults 16 descriptors, no tables, one queue. */
	uint32_t size, tables, table_descriptors;
	bool event_idx, strict, in_order, notification_data;
	bool packed, split; /* neither: as TEST_PACKED says */
	uint32_t queues;
	/* The disk; defaults as in test_device.c. */
	uint32_t seg_max, size_max, blk_size;
	bool read_only, no_flush, lifetime;
	struct viodma_blk_range_limits discard, write_zeroes, secure_erase;
	uint8_t physical_block_exp;
};
/* What the disk holds after an operation by range, and what GET_LIFETIME answers. */
#define TEST_DISCARDED 0xdd
#define TEST_ERASED 0xee
#define TEST_LIFETIME {1, 2, 3}

struct test_grant {
	uint64_t bus, len_bytes;
	unsigned char *memory;
	uint64_t phys;
	enum viodma_permission permission;
	bool ending; /* taken out, not invalidated yet */
};

struct test_device;

/* How far the device's hand is: split: an index; packed: a place, and the flags of what is available this time round. */
struct test_place {
	uint32_t at, lap;
};

/* One queue: what the transport was told, and both halves. */
struct test_device_queue {
	struct test_device *device;
	bool enabled, served; /* by the library's device half; else by hand only, such as those too large for it */
	struct viodma_transport_queue where;
	unsigned notified;
	uint32_t notified_data;
	uint32_t size_max;
	/* the driver's half */
	struct viodma_driver_queue driver;
	void *driver_storage;
	unsigned clamped;
	/* the device's half: the library's, or by hand */
	struct viodma_queue queue;
	void *memory;
	struct viodma_blk blk;
	struct viodma_blk_io *ios;
	struct viodma_queue_setup setup;
	struct test_place taken, used;
	unsigned called; /* so often it would have called the driver */
	uint16_t descriptors[TEST_IDS]; /* packed: of each id */
};

struct test_device {
	struct test_device_options options;
	unsigned char *private_memory, *pool_memory;
	struct viodma_object objects[2];
	struct viodma_memory memory;
	struct viodma_platform platform;
	struct viodma_driver_policy policy;
	struct viodma_pool pool;
	void *pool_storage;
	struct viodma_domain domain;
	bool domain_made;
	struct viodma_driver driver;
	struct viodma_transport transport;
	/* what the device reaches */
	struct test_grant *grants;
	uint32_t grant_count;
	void *iommu_storage;
	struct viodma_iommu_waiting waiting[64];
	unsigned iommu_maps, iommu_fail_at; /* 0: never; counted from 1 */
	enum viodma_result iommu_failure;
	bool iommu_stuck; /* nothing can be taken out */
	uint64_t now_ns;
	/* the device */
	uint64_t offered, accepted;
	uint8_t status;
	unsigned char config[VIODMA_BLK_CONFIG_BYTES];
	uint32_t generation;
	bool platform_addresses; /* what set_addressing said */
	unsigned char *disk;
	struct viodma_space space;
	struct viodma_blk_io *pending[256];
	unsigned pending_count, served, faults;
	bool hold;     /* operations of the disk stay in `pending` */
	bool backward; /* and end youngest first */
	bool broken_disk;
	unsigned ranges, longest_range, unmapped; /* operations by range: how many, sectors of the longest, with unmap */
	/* lies of the transport */
	bool clear_features_ok, changing_config, mode_stuck; /* the last: the cache mode does not change */
	unsigned queue_reset_waits; /* so often a queue is not reset yet */
	unsigned reset_reads; /* so often status does not read 0 after a reset */
	unsigned calls, fail_at; /* of the transport, counted from 1; 0: never */
	enum viodma_result failure;
	struct test_device_queue queues[TEST_DEVICE_QUEUES];
	void (*on_kick)(struct test_device_queue *queue); /* from the driver's thread; NULL: counted only */
	/* the driver */
	struct viodma_driver_blk blk;
	void *blk_storage;
};

/* Memory, platform, pool, transport, device. options NULL: direct. Aborts on failure. */
struct test_device *test_device_new_of(const struct test_device_options *options, bool packed);
static inline struct test_device *test_device_new(const struct test_device_options *options)
{
	return test_device_new_of(options, TEST_PACKED);
}
void test_device_free(struct test_device *device);

/* The steps of a driver: negotiate and make the domain; make a queue and enable it; make the block driver. */
enum viodma_result test_device_negotiate(struct test_device *device, uint64_t wanted);
enum viodma_result test_device_make_domain(struct test_device *device);
enum viodma_result test_device_make_queue(struct test_device *device, unsigned index);
enum viodma_result test_device_make_blk(struct test_device *device, uint32_t parts, uint32_t segments_max);
/* All of them, and DRIVER_OK. */
enum viodma_result test_device_start(struct test_device *device, uint32_t parts, uint32_t segments_max);
/* Reset, stop, free everything. The first result that is not VIODMA_OK. */
enum viodma_result test_device_end(struct test_device *device);
/* Nothing is mapped, nothing in use in the pool. */
bool test_device_idle(struct test_device *device);

/* A stretch of private memory. */
struct viodma_buffer test_buffer(size_t offset, uint32_t len_bytes);

/* The device's way to memory. NULL: refused, and counted. */
unsigned char *test_device_at(struct test_device *device, uint64_t bus, uint32_t len_bytes,
			      enum viodma_permission permission);

/* ---- the sound device: the library's device half ---- */

/* Serve all queues until there is nothing to do; how many requests were popped. */
unsigned test_device_serve(struct test_device *device);
/* End all that is pending. */
void test_device_finish(struct test_device *device);

/* For test_device.c. */
extern const struct viodma_transport_ops test_device_transport_ops;
void test_device_submit(void *context, struct viodma_blk_io *io);
bool test_device_lifetime(void *context, struct viodma_blk_lifetime *lifetime);

/* ---- by hand ---- */

struct test_chain {
	uint16_t head; /* packed: its id */
	uint32_t count, readable, writable; /* descriptors */
	uint64_t readable_bytes, writable_bytes;
	struct {
		uint64_t bus;
		uint32_t len_bytes;
		bool writable;
		unsigned char *memory;
	} part[TEST_CHAIN];
};

void test_device_hand_begin(struct test_device_queue *queue, const struct viodma_queue_setup *setup);
/* The next available chain, resolved; false: none, or it breaks a rule (said on stderr). */
bool test_device_take(struct test_device_queue *queue, struct test_chain *chain);
/* How many are there to take? */
unsigned test_device_shown(struct test_device_queue *queue);
/* Say that a chain is used; counts whether the driver wants to be called. */
void test_device_put_used(struct test_device_queue *queue, uint32_t id, uint32_t len_bytes);
/* ... of a batch, IN_ORDER: it ends with that id, and has so many chains, so many descriptors. */
void test_device_put_used_of(struct test_device_queue *queue, uint32_t id, uint32_t len_bytes, uint32_t chains,
			     uint32_t descriptors);
/* Kicks: always or never; when chain number `chain`, counted from the first of all, is there (packed: all are of two). */
void test_device_want_kicks(struct test_device_queue *queue, bool want);
void test_device_want_kick_at(struct test_device_queue *queue, uint32_t chain);
/* Words as they are. Split: the used index. Packed: the flags of a descriptor, the device's events. */
void test_device_set_used_index(struct test_device_queue *queue, uint16_t index);
void test_device_put_flags(struct test_device_queue *queue, uint32_t at, uint32_t flags);
void test_device_set_event(struct test_device_queue *queue, uint32_t off_wrap, uint32_t flags);
/*
 * From now on there is a used index (packed: flags of the first descriptor) whenever it was just seen not to be, and the
 * other way round, for a thousand looks; until viodma_shared_read_hook_fn is NULL again. How often somebody looked.
 */
void test_device_come_and_go(struct test_device_queue *queue);
unsigned test_device_looks(void);

/* What the disk holds at first; fill, compare. */
unsigned char test_disk_byte(uint64_t offset);

#endif
