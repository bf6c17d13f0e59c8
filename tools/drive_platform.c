/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * drive_platform.c - how it works: every --domain is a line of the text form, made with this program's addresses:
 *
 *	direct        kind=direct                         both objects handed over, granted at their addresses
 *	offset        kind=offset, a window for each      both handed over, the windows granted
 *	bounce        kind=offset restricted, a window    both handed over, the pool's window granted: the device
 *	              for the pool                        could reach the rest, its own code keeps it out
 *	iommu         kind=iommu                          both handed over, each mapping granted while it lives
 *	bounce+iommu  kind=iommu restricted               the pool handed over, each mapping while it lives
 *	restricted    as bounce                           the pool handed over: the device cannot reach the rest
 *
 * Private memory that is not handed over is anonymous: no other process can have it. What a platform of the user's own
 * leaves open (where the memory is) is chosen so that its windows, width and pool are kept to.
 */
#include "tools/drive_platform.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE_BYTES UINT64_C(4096)
#define PRIVATE_PHYS UINT64_C(0x100000000)
#define POOL_PHYS UINT64_C(0x940000000)
#define LOW_POOL_PHYS UINT64_C(0x10000000) /* for devices that drive few address bits */
#define PRIVATE_BUS UINT64_C(0x2500000000)
#define POOL_BUS UINT64_C(0x1200000000) /* below the other, as the physical addresses are not */
#define IOMMU_BUS UINT64_C(0x4000000000)
#define IOMMU_BYTES UINT64_C(0x1000000000)

/* ---- descriptions ---- */

static void describe_named(const struct drive_platform *platform, bool at_physical, char *text, size_t bytes)
{
	const uint64_t private = platform->private_phys.v, pool = platform->pool_phys.v;
	const uint64_t private_bytes = platform->private_bytes, pool_bytes = platform->pool_bytes_max;

	switch (platform->domain) {
	case DRIVE_OFFSET:
		snprintf(text, bytes,
			 "kind=offset window=0x%" PRIx64 "+0x%" PRIx64 "@0x%" PRIx64 " window=0x%" PRIx64 "+0x%" PRIx64
			 "@0x%" PRIx64,
			 private, private_bytes, PRIVATE_BUS, pool, pool_bytes, POOL_BUS);
		break;
	case DRIVE_BOUNCE:
	case DRIVE_RESTRICTED:
		if (at_physical)
			snprintf(text, bytes,
				 "kind=direct restricted pool=0x%" PRIx64 "+0x%" PRIx64 " pool-at-physical", pool,
				 pool_bytes);
		else
			snprintf(text, bytes,
				 "kind=offset window=0x%" PRIx64 "+0x%" PRIx64 "@0x%" PRIx64
				 " restricted pool=0x%" PRIx64 "+0x%" PRIx64,
				 pool, pool_bytes, POOL_BUS, pool, pool_bytes);
		break;
	case DRIVE_IOMMU:
		snprintf(text, bytes, "kind=iommu granule=4096 window=0x%" PRIx64 "+0x%" PRIx64, IOMMU_BUS,
			 IOMMU_BYTES);
		break;
	case DRIVE_BOUNCE_IOMMU:
		snprintf(text, bytes,
			 "kind=iommu granule=4096 window=0x%" PRIx64 "+0x%" PRIx64 " restricted pool=0x%" PRIx64
			 "+0x%" PRIx64,
			 IOMMU_BUS, IOMMU_BYTES, pool, pool_bytes);
		break;
	default:
		snprintf(text, bytes, "kind=direct");
	}
}

static bool meets(uint64_t one, uint64_t one_bytes, uint64_t other, uint64_t other_bytes)
{
	return one <= other ? other - one < one_bytes : one - other < other_bytes;
}

/* The pool at the end of the smallest window that holds it, private memory at the beginning of one with room left. */
static bool place_in_windows(struct drive_platform *platform, const char **what)
{
	const struct viodma_platform *description = &platform->description;
	const struct viodma_window *best = NULL;

	for (uint32_t i = 0; i < description->window_count && !description->pool_bytes; i++) {
		const struct viodma_window *window = &description->windows[i];

		if (window->len_bytes >= platform->pool_bytes_max && (!best || window->len_bytes < best->len_bytes))
			best = window;
	}
	if (best)
		platform->pool_phys.v =
			(best->phys.v + (best->len_bytes - platform->pool_bytes_max)) & ~(PAGE_BYTES - 1);
	if (!description->pool_bytes && (!best || platform->pool_phys.v < best->phys.v)) {
		*what = "the pool fits in no window";
		return false;
	}
	for (uint32_t i = 0; i < description->window_count; i++) {
		const struct viodma_window *window = &description->windows[i];
		const uint64_t phys = (window->phys.v + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1);

		if (phys - window->phys.v < window->len_bytes &&
		    window->len_bytes - (phys - window->phys.v) >= platform->private_bytes &&
		    !meets(phys, platform->private_bytes, platform->pool_phys.v, platform->pool_bytes_max)) {
			platform->private_phys.v = phys;
			return true;
		}
	}
	return true; /* out of reach: it is bounced */
}

/* Where memory is, on a platform the user described. */
static bool place_own(struct drive_platform *platform, uint64_t pool_bytes, const char **what)
{
	struct viodma_platform *description = &platform->description;
	const uint64_t end = description->address_bits < 64 ? UINT64_C(1) << description->address_bits : UINT64_MAX;

	if (description->kind == VIODMA_PLATFORM_IOMMU && description->granule_bytes < PAGE_BYTES) {
		*what = "the granule is less than 4096 bytes, the pages of vhost-user";
		return false;
	}
	if (description->pool_bytes) {
		platform->pool_phys = description->pool;
		if (platform->pool_bytes_max > description->pool_bytes)
			platform->pool_bytes_max = description->pool_bytes & ~(PAGE_BYTES - 1);
		if (pool_bytes > description->pool_bytes) {
			*what = "its pool is smaller than --pool";
			return false;
		}
		if (description->pool.v % PAGE_BYTES) {
			*what = "its pool does not begin at a page, and this program shares whole pages";
			return false;
		}
	} else if (description->kind != VIODMA_PLATFORM_OFFSET && end < POOL_PHYS + platform->pool_bytes_max) {
		platform->pool_phys.v = LOW_POOL_PHYS;
		if (end < LOW_POOL_PHYS + platform->pool_bytes_max && description->kind == VIODMA_PLATFORM_DIRECT) {
			*what = "the pool does not fit below that width";
			return false;
		}
	}
	if (description->kind == VIODMA_PLATFORM_OFFSET && !place_in_windows(platform, what))
		return false;
	if (meets(platform->private_phys.v, platform->private_bytes, platform->pool_phys.v, platform->pool_bytes_max))
		platform->private_phys.v =
			(platform->pool_phys.v + platform->pool_bytes_max + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1);
	return true;
}

static bool describe_own(struct drive_platform *platform, const struct drive_options *options, bool late,
			 const char **what)
{
	struct viodma_platform *description = &platform->description;

	if (viodma_platform_parse(options->platform, description, NULL, what) != VIODMA_OK ||
	    !place_own(platform, options->pool_bytes, what))
		return false;
	if (late)
		description->restricted = true;
	if (description->restricted && !description->pool_bytes) {
		description->pool = platform->pool_phys;
		description->pool_bytes = platform->pool_bytes_max;
	}
	if (options->pool_at_physical && description->restricted && description->kind == VIODMA_PLATFORM_DIRECT)
		description->pool_at_physical = true;
	platform->share_private = !description->restricted;
	return viodma_platform_check(description, what) == VIODMA_OK;
}

enum viodma_result drive_platform_make(struct drive_platform *platform, const struct drive_options *options, bool late,
				       uint64_t private_bytes, const char **what)
{
	char text[VIODMA_PLATFORM_TEXT_BYTES];

	*platform = (struct drive_platform){
		.domain = options->domain,
		.private_phys = { PRIVATE_PHYS },
		.pool_phys = { POOL_PHYS },
		.private_bytes = private_bytes,
		.pool_bytes_max = options->pool_max_bytes,
	};
	if (options->domain == DRIVE_OWN) {
		if (!describe_own(platform, options, late, what))
			return VIODMA_E_INVALID;
		return viodma_platform_format(&platform->description, platform->text, sizeof(platform->text));
	}
	if (late)
		platform->domain = options->domain == DRIVE_IOMMU || options->domain == DRIVE_BOUNCE_IOMMU
					   ? DRIVE_BOUNCE_IOMMU
					   : DRIVE_RESTRICTED;
	platform->share_private = platform->domain != DRIVE_RESTRICTED && platform->domain != DRIVE_BOUNCE_IOMMU;
	describe_named(platform, options->pool_at_physical, text, sizeof(text));
	if (viodma_platform_parse(text, &platform->description, NULL, what) != VIODMA_OK)
		return VIODMA_E_INVALID;
	return viodma_platform_format(&platform->description, platform->text, sizeof(platform->text));
}

uint32_t drive_platform_slot_bytes(const struct drive_platform *platform)
{
	const struct viodma_platform *description = &platform->description;
	uint32_t bytes = description->pool_slot_bytes ? description->pool_slot_bytes : VIODMA_POOL_SLOT_BYTES;

	if (description->kind == VIODMA_PLATFORM_IOMMU && bytes < description->granule_bytes)
		bytes = description->granule_bytes;
	return bytes < description->alignment_bytes ? description->alignment_bytes : bytes;
}

bool drive_platform_bus(const struct drive_platform *platform, bool physical, viodma_phys phys, viodma_bus *bus)
{
	const struct viodma_platform *description = &platform->description;

	bus->v = phys.v;
	if (physical || description->kind == VIODMA_PLATFORM_DIRECT)
		return true;
	for (uint32_t i = 0; description->kind == VIODMA_PLATFORM_OFFSET && i < description->window_count; i++) {
		const struct viodma_window *window = &description->windows[i];

		if (phys.v >= window->phys.v && phys.v - window->phys.v < window->len_bytes) {
			bus->v = window->bus.v + (phys.v - window->phys.v);
			return true;
		}
	}
	return false;
}

/* ---- memory ---- */

static enum viodma_result new_anonymous(uint64_t len_bytes, viodma_phys phys, struct viodma_front_memory *memory)
{
	void *start = mmap(NULL, (size_t)len_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
			   -1, 0);

	if (start == MAP_FAILED)
		return errno == ENOMEM ? VIODMA_E_NO_MEMORY : VIODMA_E_IO;
	*memory = (struct viodma_front_memory){ { start, phys, len_bytes }, -1, 0 };
	return VIODMA_OK;
}

static void free_object(struct viodma_front_memory *memory)
{
	if (memory->object.memory && memory->fd < 0)
		munmap(memory->object.memory, (size_t)memory->object.len_bytes);
	else
		viodma_front_memory_free(memory);
	memory->object.memory = NULL;
}

/* The table, sorted: private memory stands before the pool, or after it. */
static void enter_all(struct drive_memory *memory)
{
	const bool first = memory->private.object.phys.v < memory->chunks[0].object.phys.v;
	uint32_t count = 0;

	if (first)
		memory->objects[count++] = memory->private.object;
	for (uint32_t i = 0; i < memory->chunk_count; i++)
		memory->objects[count++] = memory->chunks[i].object;
	if (!first)
		memory->objects[count++] = memory->private.object;
	memory->table = (struct viodma_memory){ memory->objects, count };
}

enum viodma_result drive_memory_add_chunk(struct drive_memory *memory, const struct drive_platform *platform,
					  uint64_t bytes)
{
	const uint64_t left = platform->pool_bytes_max - memory->pool_bytes;
	const viodma_phys phys = { platform->pool_phys.v + memory->pool_bytes };
	const uint64_t len = bytes < left ? bytes : left;
	const uint32_t at = memory->chunk_count;
	enum viodma_result result;

	if (!len || at == VIODMA_POOL_CHUNKS_MAX)
		return VIODMA_E_NO_SPACE;
	memory->storages[at] = malloc(VIODMA_POOL_STORAGE_BYTES(len, drive_platform_slot_bytes(platform)));
	if (!memory->storages[at])
		return VIODMA_E_NO_MEMORY;
	result = viodma_front_memory_new(len, phys, &memory->chunks[at]);
	if (result != VIODMA_OK) {
		free(memory->storages[at]);
		return result;
	}
	memory->chunk_count++;
	memory->pool_bytes += len;
	enter_all(memory);
	return VIODMA_OK;
}

void drive_memory_drop_chunk(struct drive_memory *memory)
{
	struct viodma_front_memory *last = &memory->chunks[--memory->chunk_count];

	memory->pool_bytes -= last->object.len_bytes;
	free(memory->storages[memory->chunk_count]);
	free_object(last);
	if (memory->chunk_count)
		enter_all(memory);
}

enum viodma_result drive_memory_new(struct drive_memory *memory, const struct drive_platform *platform,
				    uint64_t pool_bytes)
{
	enum viodma_result result;

	memset(memory, 0, sizeof(*memory));
	result = platform->share_private
			 ? viodma_front_memory_new(platform->private_bytes, platform->private_phys, &memory->private)
			 : new_anonymous(platform->private_bytes, platform->private_phys, &memory->private);
	if (result == VIODMA_OK)
		result = drive_memory_add_chunk(memory, platform, pool_bytes);
	if (result != VIODMA_OK)
		drive_memory_free(memory);
	return result;
}

enum viodma_result drive_memory_withdraw(struct drive_memory *memory)
{
	struct viodma_front_memory before = memory->private, now;
	enum viodma_result result;

	if (before.fd < 0)
		return VIODMA_OK;
	result = new_anonymous(before.object.len_bytes, before.object.phys, &now);
	if (result != VIODMA_OK)
		return result;
	memcpy(now.object.memory, before.object.memory, (size_t)before.object.len_bytes);
	memset(before.object.memory, 0, (size_t)before.object.len_bytes); /* the device may have kept its descriptor */
	free_object(&before);
	memory->private = now;
	enter_all(memory);
	return VIODMA_OK;
}

void drive_memory_free(struct drive_memory *memory)
{
	while (memory->chunk_count)
		drive_memory_drop_chunk(memory);
	if (memory->private.object.memory)
		free_object(&memory->private);
}

void *drive_memory_private(const struct drive_memory *memory, uint64_t offset)
{
	return (unsigned char *)memory->private.object.memory + offset;
}

viodma_phys drive_memory_private_phys(const struct drive_memory *memory, uint64_t offset)
{
	return (viodma_phys){ memory->private.object.phys.v + offset };
}

/* ---- grants ---- */

/* The part of an object in one window, below the device's width. */
static enum viodma_result grant_part(const struct drive_platform *platform, struct viodma_front *front,
				     const struct viodma_object *object, const struct viodma_window *window)
{
	const unsigned bits = platform->description.address_bits;
	const uint64_t last_bus = UINT64_MAX >> (64 - bits);
	uint64_t first = object->phys.v, last = object->phys.v + (object->len_bytes - 1), bus;

	if (first < window->phys.v)
		first = window->phys.v;
	if (last > window->phys.v + (window->len_bytes - 1))
		last = window->phys.v + (window->len_bytes - 1);
	bus = window->bus.v + (first - window->phys.v);
	if (first > last || bus > last_bus)
		return VIODMA_OK;
	if (last - first > last_bus - bus)
		last = first + (last_bus - bus);
	first = (first + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1); /* the IOTLB has pages */
	bus = (bus + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1);
	if (last + 1 < first + PAGE_BYTES)
		return VIODMA_OK;
	return viodma_front_grant(front, (viodma_bus){ bus }, (viodma_phys){ first },
				  (last + 1 - first) & ~(PAGE_BYTES - 1), VIODMA_READ_WRITE, true);
}

enum viodma_result drive_platform_grant(const struct drive_platform *platform, struct viodma_front *front,
					const struct viodma_object *object)
{
	const struct viodma_platform *description = &platform->description;
	const struct viodma_window all = { object->phys, { object->phys.v }, object->len_bytes };
	const bool pool = object->phys.v >= platform->pool_phys.v &&
			  object->phys.v - platform->pool_phys.v < platform->pool_bytes_max;
	enum viodma_result result = VIODMA_OK;

	if (description->kind == VIODMA_PLATFORM_IOMMU || (description->restricted && !pool))
		return VIODMA_OK;
	if (description->kind == VIODMA_PLATFORM_DIRECT)
		return grant_part(platform, front, object, &all);
	for (uint32_t i = 0; i < description->window_count && result == VIODMA_OK; i++)
		result = grant_part(platform, front, object, &description->windows[i]);
	return result;
}

const char *drive_platform_enforced(const struct drive_platform *platform, bool physical)
{
	if (!platform->share_private)
		return physical || platform->description.kind != VIODMA_PLATFORM_IOMMU
			       ? "what is handed over"
			       : "what is handed over, and the device's own code";
	if (physical)
		return "nobody";
	return platform->description.kind == VIODMA_PLATFORM_IOMMU || platform->description.restricted
		       ? "the device's own code"
		       : "nobody (all of it is granted)";
}
