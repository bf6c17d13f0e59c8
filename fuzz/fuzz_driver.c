/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_driver.c - the driver half (domain, ring of either layout, virtio-blk) fed by a hostile device: what lies in shared
 * memory, what was used, status, features and configuration are the input's.
 *
 * How it works: the input begins with the platform, the features and the configuration; the rest is a sequence of
 * operations of the program that drives the disk (submit, poll, time, reset) and of the device (used elements, true or
 * not; any byte of the pool; status). The pool and the program's private memory stand between guard pages. What must hold:
 *   - private memory changes only in the buffers of reads, while they are live
 *   - every descriptor made available leads, from end to end, where the platform lets the device go, and on a restricted
 *     platform into the pool
 *   - each request taken ends exactly once; after a reset nothing is mapped, and the pool is empty
 */
#include "fuzz/driver_platform.h"
#include "fuzz/input.h"

#include <sys/mman.h>
#include <viodma/driver_blk.h>
#include <viodma/wire/blk.h>
#include <viodma/wire/ring.h>

#define SIZE 16u
#define REQUESTS 8u
#define PARTS 8u
#define SEGMENTS 6u
#define WRAP (1u << VIRTQ_PACKED_WRAP_BIT)
#define CAPACITY 4096u /* sectors, unless the input says otherwise */

static unsigned char shadow[PRIVATE_BYTES];
static struct viodma_object objects[2];
static const struct viodma_memory memory = {objects, 2};
static struct viodma_pool pool;
static struct viodma_domain domain;
static struct viodma_driver driver;
static struct viodma_driver_queue queue;
static struct viodma_driver_blk blk;
static unsigned char pool_storage[VIODMA_POOL_STORAGE_BYTES(POOL_BYTES, PAGE)] __attribute__((aligned(16)));
static unsigned char queue_storage[VIODMA_DRIVER_QUEUE_STORAGE_BYTES(SIZE)] __attribute__((aligned(16)));
static unsigned char blk_storage[VIODMA_DRIVER_BLK_STORAGE_BYTES(PARTS, SEGMENTS)] __attribute__((aligned(16)));
static unsigned char iova_storage[VIODMA_IOMMU_STORAGE_BYTES(GRANULES)] __attribute__((aligned(16)));
static struct viodma_iommu_waiting waiting[4];
static bool up;

static struct {
	struct viodma_driver_blk_request request;
	struct viodma_buffer buffers[2];
	bool taken;
} requests[REQUESTS];

/* The device: what it says of itself, and where its ring is. */
static struct {
	uint64_t features;
	uint8_t status, config[sizeof(struct virtio_blk_config_layout)];
	bool keeps_features, resets;
	struct viodma_transport_queue ring;
	uint16_t used_idx, seen_avail; /* packed: positions, wrap counter in bit 15 */
	struct {
		uint16_t id, count;
	} chains[SIZE]; /* packed: the last ones seen */
	uint16_t chain_count;
	bool scribbled; /* it has written where the driver's rings may be: they prove nothing any more */
} device;

/* ---- the device ---- */

static enum viodma_result get_features(void *context, uint64_t *offered)
{
	(void)context;
	*offered = device.features;
	return VIODMA_OK;
}

static enum viodma_result set_features(void *context, uint64_t accepted)
{
	(void)context;
	MUST(!(accepted & ~device.features));
	return VIODMA_OK;
}

static enum viodma_result get_status(void *context, uint8_t *status)
{
	(void)context;
	*status = device.status;
	return VIODMA_OK;
}

static enum viodma_result set_status(void *context, uint8_t status)
{
	(void)context;
	if (!status && !device.resets)
		return VIODMA_OK;
	device.status = device.keeps_features ? status : status & (uint8_t)~VIODMA_STATUS_FEATURES_OK;
	return VIODMA_OK;
}

static enum viodma_result read_config(void *context, uint32_t offset, void *destination, uint32_t len)
{
	(void)context;
	MUST(offset <= sizeof(device.config) && len <= sizeof(device.config) - offset);
	memcpy(destination, device.config + offset, len);
	return VIODMA_OK;
}

static enum viodma_result write_config(void *context, uint32_t offset, const void *source, uint32_t len)
{
	(void)context;
	(void)offset;
	(void)source;
	(void)len;
	return VIODMA_OK;
}

static enum viodma_result queue_size_max(void *context, unsigned index, uint32_t *size)
{
	(void)context;
	*size = index ? 0 : SIZE;
	return VIODMA_OK;
}

static enum viodma_result queue_enable(void *context, unsigned index, const struct viodma_transport_queue *where)
{
	(void)context;
	MUST(index == 0 && where->size == SIZE);
	MUST(reach(where->desc.v, VIODMA_READ) && reach(where->avail.v, VIODMA_READ) && reach(where->used.v, VIODMA_WRITE));
	device.ring = *where;
	device.used_idx = device.seen_avail = queue.config.packed ? WRAP : 0;
	device.chain_count = 0;
	return VIODMA_OK;
}

static void notify(void *context, unsigned index)
{
	(void)context;
	(void)index;
}

static const struct viodma_transport_ops ops = {
	.get_features = get_features, .set_features = set_features, .get_status = get_status, .set_status = set_status,
	.read_config = read_config, .write_config = write_config, .queue_size_max = queue_size_max,
	.queue_enable = queue_enable, .notify = notify,
};
static const struct viodma_transport transport = {&ops, NULL, "fuzz"};

static uint16_t load16(uint64_t bus)
{
	uint16_t value = 0;
	unsigned char *at = reach(bus, VIODMA_READ);

	if (at)
		memcpy(&value, at, sizeof(value));
	return viodma_le16_get((viodma_le16){value});
}

/* Where it leads and how far: where the platform lets the device go. */
static void look_at_buffer(uint64_t bus, uint32_t len, uint16_t flags)
{
	MUST(len);
	MUST(reach(bus, flags & VIRTQ_DESC_F_WRITE ? VIODMA_WRITE : VIODMA_READ));
	MUST(reach(bus + len - 1, flags & VIRTQ_DESC_F_WRITE ? VIODMA_WRITE : VIODMA_READ));
}

/* One descriptor of what was just made available; follows a table. Answers its flags; *last: next, or the buffer id. */
static uint16_t look_at_descriptor(uint64_t at, bool in_table, uint16_t *last)
{
	const unsigned char *memory_at = reach(at, VIODMA_READ);
	struct virtq_desc desc;
	uint16_t flags;
	uint64_t bus;
	uint32_t len;

	MUST(memory_at);
	memcpy(&desc, memory_at, sizeof(desc));
	flags = viodma_le16_get(queue.config.packed ? desc.next : desc.flags);
	*last = viodma_le16_get(queue.config.packed ? desc.flags : desc.next);
	bus = viodma_le64_get(desc.addr);
	len = viodma_le32_get(desc.len);
	look_at_buffer(bus, len, flags);
	if (flags & VIRTQ_DESC_F_INDIRECT) {
		uint16_t ignored;

		MUST(!in_table && len % sizeof(desc) == 0);
		for (uint32_t i = 0; i < len / sizeof(desc); i++)
			(void)look_at_descriptor(bus + i * sizeof(desc), true, &ignored);
	}
	return flags;
}

static void look_at_split(void)
{
	uint16_t avail_idx = load16(device.ring.avail.v + VIRTQ_AVAIL_IDX);

	for (; device.seen_avail != avail_idx; device.seen_avail++) {
		uint16_t next = load16(device.ring.avail.v + VIRTQ_AVAIL_RING(device.seen_avail % SIZE)), flags;

		for (unsigned left = SIZE; left; left--) {
			MUST(next < SIZE);
			flags = look_at_descriptor(device.ring.desc.v + 16u * next, false, &next);
			if (!(flags & VIRTQ_DESC_F_NEXT))
				break;
			MUST(left > 1);
		}
	}
}

static void go_on(uint16_t *position, uint32_t count)
{
	for (count %= SIZE + 1; count; count--)
		if ((++*position & (WRAP - 1)) == SIZE)
			*position = ~*position & WRAP;
}

static bool is_available(uint16_t flags, uint16_t position)
{
	return (flags & (VIRTQ_PACKED_DESC_F_AVAIL | VIRTQ_PACKED_DESC_F_USED)) ==
	       (position & WRAP ? VIRTQ_PACKED_DESC_F_AVAIL : VIRTQ_PACKED_DESC_F_USED);
}

static uint64_t place(uint16_t position)
{
	return device.ring.desc.v + 16u * (position & (WRAP - 1));
}

static void look_at_packed(void)
{
	while (is_available(load16(place(device.seen_avail) + 14), device.seen_avail)) {
		uint16_t flags, id, count = 0;

		do {
			MUST(count++ < SIZE);
			flags = look_at_descriptor(place(device.seen_avail), false, &id);
			MUST(is_available(flags, device.seen_avail)); /* = DRV-24 */
			go_on(&device.seen_avail, 1);
		} while (flags & VIRTQ_DESC_F_NEXT);
		MUST(id < SIZE);
		device.chains[device.chain_count % SIZE].id = id;
		device.chains[device.chain_count++ % SIZE].count = count;
	}
}

static void look_at_ring(void)
{
	if (!up || device.scribbled)
		return;
	if (queue.config.packed)
		look_at_packed();
	else
		look_at_split();
}

/* A used descriptor; how as below, but for a position moved by so many. */
static void put_used_packed(struct input *input, uint8_t how)
{
	const unsigned which = input_byte(input) % SIZE;
	uint16_t id = device.chains[which].id, count = device.chains[which].count, flags = 0;
	uint32_t len = input_byte(input) * 257u;
	unsigned char *at = reach(place(device.used_idx), VIODMA_WRITE);
	struct virtq_packed_desc desc;

	MUST(at);
	if (how & 1)
		id = (uint16_t)input_u32(input);
	if (how & 2)
		len = input_u32(input);
	if (device.used_idx & WRAP)
		flags = VIRTQ_PACKED_DESC_F_AVAIL | VIRTQ_PACKED_DESC_F_USED;
	memcpy(&desc, at, sizeof(desc));
	desc.id = viodma_le16_of(id);
	desc.len = viodma_le32_of(len);
	desc.flags = viodma_le16_of(flags);
	memcpy(at, &desc, sizeof(desc));
	go_on(&device.used_idx, how & 4 ? input_u16(input) : count ? count : 1);
	/* A lie leaves a ring that proves nothing: what looks available may be an old lap's. */
	device.scribbled |= how != 0 || !count;
	device.chains[which].count = 0;
}

/* A used element: true (a head that was made available, a length that fits) or whatever the input says. */
static void put_used(struct input *input, uint8_t how)
{
	uint32_t id = load16(device.ring.avail.v + VIRTQ_AVAIL_RING(input_byte(input) % SIZE)), len = input_byte(input);
	unsigned char *used = reach(device.ring.used.v, VIODMA_WRITE);
	struct virtq_used_elem element;
	viodma_le16 idx;

	MUST(used);
	if (how & 1)
		id = input_u32(input);
	if (how & 2)
		len = input_u32(input);
	else
		len *= 257;
	element.id = viodma_le32_of(id);
	element.len = viodma_le32_of(len);
	memcpy(used + VIRTQ_USED_RING(device.used_idx % SIZE), &element, sizeof(element));
	device.used_idx = (uint16_t)(device.used_idx + (how & 4 ? input_u16(input) : 1));
	idx = viodma_le16_of(device.used_idx);
	memcpy(used + VIRTQ_USED_IDX, &idx, sizeof(idx));
}

/* ---- the program that drives it ---- */

static void check_private(void)
{
	MUST(memcmp(private_memory, shadow, PRIVATE_BYTES) == 0);
}

static void done(void *context, struct viodma_driver_blk_request *request, enum viodma_result result)
{
	unsigned i = (unsigned)(uintptr_t)context;

	MUST(request == &requests[i].request && requests[i].taken && result != VIODMA_EMPTY);
	requests[i].taken = false;
	if (request->operation != VIODMA_DRIVER_BLK_READ && request->operation != VIODMA_DRIVER_BLK_GET_ID)
		return;
	/* What it read, in part perhaps; nothing else may have changed. */
	for (uint32_t b = 0; b < request->buffer_count; b++) {
		size_t at = request->buffers[b].phys.v - PRIVATE_PHYS;

		memcpy(shadow + at, private_memory + at, request->buffers[b].len_bytes);
	}
}

static void submit(struct input *input, uint8_t how)
{
	unsigned i = how % REQUESTS;
	struct viodma_driver_blk_request *request = &requests[i].request;

	if (requests[i].taken)
		return;
	memset(request, 0, sizeof(*request));
	request->operation = (enum viodma_driver_blk_operation)(how / REQUESTS % 4);
	request->sector = input_byte(input);
	request->deadline_ns = input_byte(input) & 1 ? now_ns + 1000 : UINT64_MAX;
	request->buffers = requests[i].buffers;
	request->buffer_count = request->operation == VIODMA_DRIVER_BLK_FLUSH ? 0 : 1 + (how >> 7);
	/* A region of its own for each request, so that buffers that may be written do not overlap. */
	for (uint32_t b = 0; b < request->buffer_count; b++) {
		uint32_t offset = input_byte(input), room = PRIVATE_BYTES / REQUESTS / 2 - 256;
		uint32_t len = request->operation == VIODMA_DRIVER_BLK_GET_ID ? VIODMA_DRIVER_BLK_ID_BYTES
									      : (1 + input_byte(input) % 7u) * 512;

		requests[i].buffers[b].phys.v = PRIVATE_PHYS + (2 * i + b) * (PRIVATE_BYTES / REQUESTS / 2) + offset;
		requests[i].buffers[b].len_bytes = len < room ? len : room;
	}
	request->done = done;
	request->context = (void *)(uintptr_t)i;
	requests[i].taken = true; /* it may end from within */
	if (viodma_driver_blk_submit(&blk, request) != VIODMA_OK)
		requests[i].taken = false;
}

static void reset(void)
{
	if (!up)
		return;
	device.resets = true;
	MUST(viodma_driver_reset(&driver) == VIODMA_OK);
	viodma_driver_blk_stop(&blk, VIODMA_E_RESET);
	for (unsigned i = 0; i < REQUESTS; i++)
		MUST(!requests[i].taken);
	MUST(viodma_driver_blk_free(&blk) == VIODMA_OK);
	(void)(viodma_driver_queue_free(&queue) == VIODMA_OK);
	MUST(viodma_domain_free(&domain) == VIODMA_OK);
	MUST(pool.statistics.used_bytes == 0 && viodma_pool_free(&pool) == VIODMA_OK);
	for (unsigned i = 0; i < GRANULES; i++)
		MUST(!table[i].permission);
	up = false;
	check_private();
}

/* From the top; false: the device was refused, or is of no use. */
static bool start(uint8_t options)
{
	const struct viodma_pool_config pool_config = {.slot_bytes = PAGE, .run_bytes = 2 * PAGE};
	const struct viodma_iommu_config iommu = {
		.ops = &table_ops, .mode = options & 1 ? VIODMA_IOMMU_DEFERRED : VIODMA_IOMMU_STRICT, .storage = iova_storage,
		.storage_bytes = sizeof(iova_storage), .granules = GRANULES, .waiting = waiting, .deferred_max = 4,
		.deferred_ns = 1000, .now_ns = table_now};
	const struct viodma_driver_policy policy = {.decline_platform_dma = options & 2};
	struct viodma_domain_config config = {.platform = &platform, .memory = &memory, .pool = &pool, .iommu = &iommu};
	struct viodma_driver_queue_config queue_config = {.domain = &domain, .storage = queue_storage,
		.storage_bytes = sizeof(queue_storage), .size = SIZE, .table_descriptors = 8, .strict = options & 4};
	struct viodma_driver_blk_config blk_config = {.driver = &driver, .domain = &domain, .queues = {&queue},
		.queue_count = 1, .parts = PARTS, .segments_max = SEGMENTS, .storage = blk_storage,
		.storage_bytes = sizeof(blk_storage)};

	if (viodma_driver_negotiate(&driver, &transport, &platform, &policy, viodma_driver_blk_wanted()) != VIODMA_OK)
		return false;
	config.addressing = driver.decision.addressing;
	if (config.addressing == VIODMA_ADDRESSING_PHYSICAL) {
		MUST(kind != RESTRICTED && kind != BOUNCE_IOMMU);
		kind = DIRECT; /* the platform's pass-through */
	}
	MUST(viodma_pool_init(&pool, &pool_config) == VIODMA_OK);
	MUST(viodma_pool_add(&pool, &objects[0], pool_storage, sizeof(pool_storage)) == VIODMA_OK);
	MUST(viodma_domain_init(&domain, &config) == VIODMA_OK);
	viodma_driver_queue_features(&queue_config, &driver);
	queue_config.tables = queue_config.indirect_desc ? 4 : 0;
	MUST(viodma_driver_queue_init(&queue, &queue_config) == VIODMA_OK);
	MUST(viodma_driver_queue_enable(&queue, &transport) == VIODMA_OK);
	if (viodma_driver_blk_init(&blk, &blk_config) != VIODMA_OK) {
		MUST(viodma_driver_queue_free(&queue) == VIODMA_OK);
		MUST(viodma_domain_free(&domain) == VIODMA_OK);
		MUST(viodma_pool_free(&pool) == VIODMA_OK);
		return false;
	}
	(void)(viodma_driver_ready(&driver) == VIODMA_OK);
	up = true;
	return true;
}

static void operation(struct input *input)
{
	uint8_t code = input_byte(input), operand = input_byte(input);
	uint32_t at;

	switch (code % 10) {
	case 0:
	case 1:
	case 2:
		submit(input, operand);
		break;
	case 3:
	case 4:
		if (viodma_result_is_peer(viodma_driver_blk_poll(&blk, now_ns)))
			reset();
		else
			look_at_ring();
		break;
	case 5:
	case 6:
		look_at_ring();
		if (queue.config.packed)
			put_used_packed(input, code < 128 ? 0 : operand);
		else
			put_used(input, code < 128 ? 0 : operand);
		break;
	case 7: /* any byte of the pool: rings, headers, statuses, slots */
		at = input_u16(input) * 2u % POOL_BYTES;
		pool_memory[at] = operand;
		device.scribbled = true;
		break;
	case 8:
		now_ns += operand * 16u;
		device.status |= operand & VIODMA_STATUS_NEEDS_RESET;
		if (viodma_driver_check(&driver) != VIODMA_OK)
			reset();
		break;
	default:
		if (operand & 1)
			reset();
		break;
	}
}

static unsigned char *guarded(size_t bytes)
{
	unsigned char *at = mmap(NULL, bytes + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	MUST(at != MAP_FAILED && mprotect(at + PAGE, bytes, PROT_READ | PROT_WRITE) == 0);
	return at + PAGE;
}

static void prepare(struct input *input)
{
	struct virtio_blk_config_layout sane = {.capacity = viodma_le64_of(CAPACITY), .size_max = viodma_le32_of(65536),
		.seg_max = viodma_le32_of(4), .blk_size = viodma_le32_of(512), .num_queues = viodma_le16_of(1)};

	memcpy(device.config, &sane, sizeof(device.config));
	/* Bits that are there unless the input takes them away; then bytes of the configuration it changes. */
	device.features = VIODMA_FEATURE(VIRTIO_F_VERSION_1_BIT) | VIODMA_FEATURE(VIRTIO_F_ACCESS_PLATFORM_BIT) |
			  VIODMA_FEATURE(VIRTIO_F_INDIRECT_DESC_BIT) | VIODMA_FEATURE(VIRTIO_F_EVENT_IDX_BIT) |
			  VIODMA_FEATURE(VIRTIO_BLK_F_FLUSH_BIT) | VIODMA_FEATURE(VIRTIO_BLK_F_SEG_MAX_BIT);
	device.features ^= (uint64_t)input_byte(input) << 28;
	device.features ^= (uint64_t)input_u16(input);
	for (uint8_t changes = input_byte(input) % 8; changes; changes--) {
		uint8_t at = input_byte(input) % sizeof(device.config);

		device.config[at] ^= input_byte(input);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {data, size};
	uint8_t options = input_byte(&input);

	if (!pool_memory) {
		pool_memory = guarded(POOL_BYTES);
		private_memory = guarded(PRIVATE_BYTES);
		objects[0] = (struct viodma_object){pool_memory, {POOL_PHYS}, POOL_BYTES};
		objects[1] = (struct viodma_object){private_memory, {PRIVATE_PHYS}, PRIVATE_BYTES};
	}
	kind = input_byte(&input) % KINDS;
	memset(&device, 0, sizeof(device));
	memset(requests, 0, sizeof(requests));
	memset(table, 0, sizeof(table));
	memset(pool_memory, 0xa5, POOL_BYTES);
	memset(private_memory, 0x5a, PRIVATE_BYTES);
	memset(shadow, 0x5a, PRIVATE_BYTES);
	now_ns = 1;
	device.keeps_features = options & 0x10;
	device.resets = options & 0x20;
	describe();
	prepare(&input);
	device.features ^= options & 8 ? VIODMA_FEATURE(VIRTIO_F_RING_PACKED_BIT) : 0;
	device.features ^= options & 0x40 ? VIODMA_FEATURE(VIRTIO_F_IN_ORDER_BIT) : 0;
	if (start(options))
		while (up && input.left) {
			operation(&input);
			for (unsigned i = 0; i < REQUESTS; i++) { /* a live read's buffer may change in place */
				struct viodma_driver_blk_request *request = &requests[i].request;

				for (uint32_t b = 0; requests[i].taken && b < request->buffer_count; b++) {
					size_t at = request->buffers[b].phys.v - PRIVATE_PHYS;

					if (request->operation == VIODMA_DRIVER_BLK_READ ||
					    request->operation == VIODMA_DRIVER_BLK_GET_ID)
						memcpy(shadow + at, private_memory + at, request->buffers[b].len_bytes);
				}
			}
			check_private();
		}
	reset();
	return 0;
}
