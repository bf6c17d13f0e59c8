/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dma_rig.c - how it works: three copies of each object. `seen` is the processor's, `device` the device's, `loaded`
 * what the processor's copy was when its line was last the same as memory: a line in which the two differ is dirty. On
 * a coherent platform the device looks at `seen`.
 */
#include "tests/support/dma_rig.h"

#include <string.h>

#define RIG_BYTES (RIG_HERE_BYTES + RIG_NEXT_BYTES + RIG_POOL_BYTES + RIG_RING_BYTES + RIG_FAR_BYTES)
#define SLOT_BYTES_LEAST 64

static unsigned char seen[RIG_BYTES] __attribute__((aligned(4096)));
static unsigned char device[RIG_BYTES] __attribute__((aligned(4096)));
static unsigned char loaded[RIG_BYTES] __attribute__((aligned(4096)));
static unsigned char storage[VIODMA_POOL_STORAGE_BYTES(RIG_POOL_BYTES, SLOT_BYTES_LEAST)] __attribute__((aligned(16)));
static unsigned char ring_storage[VIODMA_POOL_STORAGE_BYTES(RIG_RING_BYTES, SLOT_BYTES_LEAST)]
	__attribute__((aligned(16)));

static const struct {
	uint64_t phys, bytes;
} places[RIG_OBJECTS] = {
	{RIG_HERE, RIG_HERE_BYTES}, {RIG_NEXT, RIG_NEXT_BYTES}, {RIG_POOL, RIG_POOL_BYTES},
	{RIG_RING, RIG_RING_BYTES}, {RIG_FAR, RIG_FAR_BYTES},
};

/* Where in the copies this byte is; RIG_BYTES: nowhere. */
static uint64_t index_of(uint64_t phys)
{
	uint64_t index = 0;
	unsigned i;

	for (i = 0; i < RIG_OBJECTS; i++) {
		if (phys >= places[i].phys && phys - places[i].phys < places[i].bytes)
			return index + (phys - places[i].phys);
		index += places[i].bytes;
	}
	return RIG_BYTES;
}

static bool is_ring(uint64_t phys)
{
	return phys >= RIG_RING && phys - RIG_RING < RIG_RING_BYTES;
}

static bool two_copies(const struct dma_rig *rig, uint64_t phys)
{
	return !rig->platform.coherent && !is_ring(phys);
}

static uint64_t line_of(const struct dma_rig *rig)
{
	return rig->platform.line_bytes;
}

unsigned char dma_rig_pattern(uint64_t phys)
{
	uint64_t mixed = phys ^ phys >> 7 ^ phys >> 15 ^ phys >> 32;

	return (unsigned char)(mixed * 167 + 13);
}

unsigned char *dma_rig_at(struct dma_rig *rig, uint64_t phys)
{
	(void)rig;
	return index_of(phys) < RIG_BYTES ? &seen[index_of(phys)] : NULL;
}

/* ---- caches ---- */

static void clean_line(uint64_t index, uint64_t line)
{
	memcpy(&device[index], &seen[index], line);
	memcpy(&loaded[index], &seen[index], line);
}

static void clean(void *context, void *memory, viodma_phys phys, uint64_t len_bytes)
{
	struct dma_rig *rig = context;
	uint64_t line = line_of(rig), end = phys.v + len_bytes;

	if (memory != dma_rig_at(rig, phys.v))
		abort();
	rig->cleaned_bytes += len_bytes;
	if (!two_copies(rig, phys.v))
		return;
	for (phys.v &= ~(line - 1); phys.v < end; phys.v += line)
		clean_line(index_of(phys.v), line);
}

static void invalidate(void *context, void *memory, viodma_phys phys, uint64_t len_bytes)
{
	struct dma_rig *rig = context;
	uint64_t line = line_of(rig), end = phys.v + len_bytes, index;

	if (memory != dma_rig_at(rig, phys.v))
		abort();
	rig->invalidated_bytes += len_bytes;
	if (!two_copies(rig, phys.v))
		return;
	for (phys.v &= ~(line - 1); phys.v < end; phys.v += line) {
		index = index_of(phys.v);
		memcpy(&seen[index], &device[index], line);
		memcpy(&loaded[index], &device[index], line);
	}
}

void dma_rig_evict(struct dma_rig *rig)
{
	uint64_t line = line_of(rig), index;
	unsigned i;

	for (i = 0; i < RIG_OBJECTS; i++)
		for (index = index_of(places[i].phys); index < index_of(places[i].phys) + places[i].bytes; index += line)
			if (two_copies(rig, places[i].phys) && memcmp(&seen[index], &loaded[index], line) != 0)
				clean_line(index, line);
}

/* ---- the platform's function ---- */

/* Pages are exchanged, and shifted; what is far is out of reach. */
static bool bus_of(void *context, viodma_phys phys, viodma_bus *bus, uint64_t *len_bytes)
{
	(void)context;
	if (phys.v >= RIG_FAR)
		return false;
	bus->v = (phys.v ^ RIG_SCRAMBLE) + 0x7000000000u;
	*len_bytes = 0x1000 - (phys.v & 0xfff);
	return true;
}

/* ---- life ---- */

static void exhausted(void *context, const struct viodma_pool *pool, uint64_t wanted_bytes)
{
	struct dma_rig *rig = context;

	rig->told++;
	viodma_pool_describe(pool, wanted_bytes, rig->message, sizeof(rig->message));
}

void dma_rig_start_on(struct dma_rig *rig, const struct viodma_platform *platform)
{
	uint64_t index = 0, k;
	unsigned i;

	memset(rig, 0, sizeof(*rig));
	rig->platform = *platform;
	for (i = 0; i < RIG_OBJECTS; i++) {
		rig->objects[i].memory = &seen[index];
		rig->objects[i].phys.v = places[i].phys;
		rig->objects[i].len_bytes = places[i].bytes;
		for (k = 0; k < places[i].bytes; k++)
			seen[index + k] = dma_rig_pattern(places[i].phys + k);
		index += places[i].bytes;
	}
	/* The pattern is still in the cache; memory holds something else, which nobody may ever see. */
	memset(device, 0xd5, sizeof(device));
	memset(loaded, 0xd5, sizeof(loaded));
	rig->memory.objects = rig->objects;
	rig->memory.count = RIG_OBJECTS;
	rig->bus_of.bus_of = bus_of;
	rig->cache.clean = clean;
	rig->cache.invalidate = invalidate;
	rig->cache.context = rig;
	rig->pool_config.name = "rig's pool";
	rig->pool_config.exhausted = exhausted;
	rig->pool_config.context = rig;
}

bool dma_rig_start(struct dma_rig *rig, const char *platform)
{
	struct viodma_platform parsed;
	const char *what;
	uint32_t where;

	if (viodma_platform_parse(platform, &parsed, &where, &what) != VIODMA_OK)
		return check_note(__FILE__, __LINE__, "\"%s\": at %u: %s", platform, where, what);
	dma_rig_start_on(rig, &parsed);
	return true;
}

enum viodma_result dma_rig_add_pool(struct dma_rig *rig, uint32_t slot_bytes, uint32_t run_bytes, uint64_t bytes)
{
	struct viodma_object memory = rig->objects[2];
	struct viodma_pool_config config;
	enum viodma_result result;

	rig->pool_config.slot_bytes = slot_bytes;
	rig->pool_config.run_bytes = run_bytes;
	if (bytes)
		memory.len_bytes = bytes;
	rig->has_pool = true;
	result = viodma_pool_init(&rig->pool, &rig->pool_config);
	if (result == VIODMA_OK)
		result = viodma_pool_add(&rig->pool, &memory, storage, sizeof(storage));
	if (result != VIODMA_OK || (rig->platform.coherent && !rig->rings_apart))
		return result;
	rig->has_ring_pool = true;
	config = rig->pool_config;
	config.coherent = true;
	result = viodma_pool_init(&rig->ring_pool, &config);
	if (result != VIODMA_OK)
		return result;
	return viodma_pool_add(&rig->ring_pool, &rig->objects[3], ring_storage, sizeof(ring_storage));
}

enum viodma_result dma_rig_add_domain(struct dma_rig *rig, enum viodma_addressing addressing)
{
	struct viodma_domain_config config = {
		.platform = &rig->platform,
		.addressing = addressing,
		.memory = rig->memory_unknown ? NULL : &rig->memory,
		.pool = rig->has_pool ? &rig->pool : NULL,
		.ring_pool = rig->has_ring_pool ? &rig->ring_pool : NULL,
		.bus_of = rig->platform.kind == VIODMA_PLATFORM_OFFSET && !rig->platform.window_count ? &rig->bus_of : NULL,
		.cache = rig->platform.coherent ? NULL : &rig->cache,
		.iommu = rig->iommu,
		.debug = rig->debug,
	};

	rig->addressing = addressing;
	return viodma_domain_init(&rig->domain, &config);
}

bool dma_rig_end(struct dma_rig *rig)
{
	CHECK_EQUAL(rig->domain.statistics.live, 0);
	CHECK_RESULT(viodma_domain_free(&rig->domain), VIODMA_OK);
	if (rig->has_pool) {
		CHECK_EQUAL(rig->pool.statistics.used_bytes, 0);
		CHECK_RESULT(viodma_pool_free(&rig->pool), VIODMA_OK);
	}
	if (rig->has_ring_pool)
		CHECK_RESULT(viodma_pool_free(&rig->ring_pool), VIODMA_OK);
	return true;
}

/* ---- what the device sees ---- */

bool dma_rig_device_finds(const struct dma_rig *rig, uint64_t bus, uint64_t *phys)
{
	const struct viodma_platform *platform = &rig->platform;
	bool found = false;
	uint32_t i;

	if (platform->address_bits < 64 && bus >> platform->address_bits)
		return false;
	*phys = bus;
	if (rig->addressing == VIODMA_ADDRESSING_PHYSICAL || platform->kind == VIODMA_PLATFORM_DIRECT) {
		found = true;
	} else if (platform->window_count) {
		for (i = 0; i < platform->window_count && !found; i++) {
			found = bus >= platform->windows[i].bus.v &&
				bus - platform->windows[i].bus.v < platform->windows[i].len_bytes;
			if (found)
				*phys = bus - platform->windows[i].bus.v + platform->windows[i].phys.v;
		}
	} else {
		*phys = (bus - 0x7000000000u) ^ RIG_SCRAMBLE;
		found = *phys < RIG_FAR;
	}
	if (!found || index_of(*phys) == RIG_BYTES)
		return false;
	return !platform->restricted || (*phys >= RIG_POOL && *phys - RIG_POOL < RIG_POOL_BYTES) || is_ring(*phys);
}

static bool obeys_limits(const struct dma_rig *rig, const struct viodma_segment *segment)
{
	const struct viodma_platform *platform = &rig->platform;
	uint64_t last = segment->bus.v + (segment->len_bytes - 1);

	if (!segment->len_bytes || last < segment->bus.v || (segment->bus.v & (platform->alignment_bytes - 1)))
		return false;
	if (platform->segment_bytes_max && segment->len_bytes > platform->segment_bytes_max)
		return false;
	return !platform->boundary_bytes || !((segment->bus.v ^ last) & ~(platform->boundary_bytes - 1));
}

static bool device_may(const struct dma_rig *rig, uint64_t bus, enum viodma_permission permission, uint64_t *phys)
{
	if (rig->addressing == VIODMA_ADDRESSING_PLATFORM && rig->translate)
		return rig->translate(rig->translate_context, bus, permission, phys) && index_of(*phys) < RIG_BYTES;
	return dma_rig_device_finds(rig, bus, phys);
}

/* Copy one byte after the other: slow, and obviously right. */
static bool device_accesses(struct dma_rig *rig, const struct viodma_segment *segments, uint32_t count, uint64_t offset,
			    unsigned char *out, const unsigned char *in, uint64_t len_bytes)
{
	uint32_t i;

	for (i = 0; i < count && len_bytes; i++) {
		uint64_t bus = segments[i].bus.v, end = bus + segments[i].len_bytes, phys;

		if (!obeys_limits(rig, &segments[i]))
			return false;
		if (!(segments[i].permission & (out ? VIODMA_READ : VIODMA_WRITE)))
			return false;
		if (offset >= segments[i].len_bytes) {
			offset -= segments[i].len_bytes;
			continue;
		}
		for (bus += offset, offset = 0; bus != end && len_bytes; bus++, len_bytes--) {
			unsigned char *byte;

			if (!device_may(rig, bus, out ? VIODMA_READ : VIODMA_WRITE, &phys))
				return false;
			byte = two_copies(rig, phys) ? &device[index_of(phys)] : &seen[index_of(phys)];
			if (out)
				*out++ = *byte;
			else
				*byte = *in++;
		}
	}
	return len_bytes == 0;
}

bool dma_rig_device_reads(struct dma_rig *rig, const struct viodma_segment *segments, uint32_t count, uint64_t offset,
			  void *bytes, uint64_t len_bytes)
{
	return device_accesses(rig, segments, count, offset, bytes, NULL, len_bytes);
}

bool dma_rig_device_writes(struct dma_rig *rig, const struct viodma_segment *segments, uint32_t count, uint64_t offset,
			   const void *bytes, uint64_t len_bytes)
{
	return device_accesses(rig, segments, count, offset, NULL, bytes, len_bytes);
}

bool dma_rig_pool_has(const struct dma_rig *rig, unsigned char byte)
{
	const unsigned char *pool = rig->platform.coherent ? &seen[index_of(RIG_POOL)] : &device[index_of(RIG_POOL)];

	return memchr(pool, byte, RIG_POOL_BYTES) != NULL;
}

bool dma_rig_rest_is_intact(struct dma_rig *rig, const struct viodma_buffer *buffers, uint32_t count)
{
	unsigned i;
	uint32_t b;
	uint64_t k;

	for (i = 0; i < RIG_OBJECTS; i++) {
		if (places[i].phys == RIG_POOL || places[i].phys == RIG_RING)
			continue;
		for (k = 0; k < places[i].bytes; k++) {
			uint64_t phys = places[i].phys + k;

			if (*dma_rig_at(rig, phys) == dma_rig_pattern(phys))
				continue;
			for (b = 0; b < count; b++)
				if (phys >= buffers[b].phys.v && phys - buffers[b].phys.v < buffers[b].len_bytes)
					break;
			if (b == count)
				return check_note(__FILE__, __LINE__, "the byte at 0x%llx has changed",
						  (unsigned long long)phys);
		}
	}
	return true;
}
