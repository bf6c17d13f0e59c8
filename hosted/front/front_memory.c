/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * front_memory.c - how it works: each object handed over is a region with an invented user address, of which the back end
 * is told, and which differs from our pointer and from the physical address: whoever mixes them up is found out at once.
 *
 * Where the back end has memory slots, regions come and go one by one. Where it has not, the whole table is sent each time,
 * which is possible only while no ring runs; the descriptors are kept for that.
 */
#include "hosted/front/front.h"

#include "core/base/require.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE_BYTES 4096u
#define USER_BASE 0x6a0000000000u
#define USER_GAP 0x40000000u /* between regions: what runs over the end of one finds nothing */

/* ---- memfds ---- */

enum viodma_result viodma_front_memory_new(uint64_t len_bytes, viodma_phys phys, struct viodma_front_memory *memory)
{
	int fd, reason;
	void *start;

	if (!len_bytes || len_bytes % PAGE_BYTES || len_bytes > INT64_MAX || len_bytes > SIZE_MAX)
		return VIODMA_E_INVALID;
	fd = memfd_create("viodma", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return VIODMA_E_IO;
	if (ftruncate(fd, (off_t)len_bytes) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
		reason = errno;
		close(fd);
		errno = reason;
		return VIODMA_E_IO;
	}
	start = mmap(NULL, (size_t)len_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (start == MAP_FAILED) {
		reason = errno;
		close(fd);
		errno = reason;
		return reason == ENOMEM ? VIODMA_E_NO_MEMORY : VIODMA_E_IO;
	}
	*memory = (struct viodma_front_memory){{start, phys, len_bytes}, fd, 0};
	return VIODMA_OK;
}

void viodma_front_memory_free(struct viodma_front_memory *memory)
{
	if (!memory->object.memory)
		return;
	munmap(memory->object.memory, (size_t)memory->object.len_bytes);
	viodma_descriptor_close(&memory->fd);
	memory->object.memory = NULL;
}

/* ---- regions ---- */

/* The position of the first region that ends after phys. */
static uint32_t position(const struct viodma_front *front, uint64_t phys)
{
	uint32_t low = 0, high = front->region_count;

	while (low < high) {
		const uint32_t middle = low + (high - low) / 2;
		const struct viodma_object *object = &front->regions[middle]->object;

		if (object->phys.v + (object->len_bytes - 1) < phys)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct viodma_front_region *viodma_front_region_at(const struct viodma_front *front, viodma_phys phys, uint64_t len_bytes)
{
	const uint32_t at = position(front, phys.v);
	struct viodma_front_region *region = at < front->region_count ? front->regions[at] : NULL;

	if (!region || phys.v < region->object.phys.v || len_bytes > region->object.len_bytes ||
	    phys.v - region->object.phys.v > region->object.len_bytes - len_bytes)
		return NULL;
	return region;
}

static bool meets(uint64_t one, uint64_t other, uint64_t len_bytes)
{
	return one <= other + (len_bytes - 1) && other <= one + (len_bytes - 1);
}

/* 0: there is none left. */
static uint64_t invent_user_address(struct viodma_front *front, const struct viodma_object *object)
{
	uint64_t user = front->next_user ? front->next_user : USER_BASE;

	if (meets(user, object->phys.v, object->len_bytes))
		user = object->phys.v + object->len_bytes; /* aligned, too; wraps to 0 at the very end */
	if (meets(user, (uintptr_t)object->memory, object->len_bytes))
		user = (((uintptr_t)object->memory + object->len_bytes) | (PAGE_BYTES - 1)) + 1;
	if (user < USER_BASE || user > INT64_MAX || object->len_bytes > INT64_MAX - user ||
	    meets(user, object->phys.v, object->len_bytes))
		return 0;
	front->next_user = ((user + object->len_bytes) | (USER_GAP - 1)) + 1;
	return user;
}

static struct vhost_user_region wire_of(const struct viodma_front_region *region)
{
	return (struct vhost_user_region){
		.guest_address = region->object.phys.v,
		.size = region->object.len_bytes,
		.user_address = region->user,
		.mmap_offset = region->fd_offset,
	};
}

static enum viodma_result send_one(struct viodma_front *front, uint32_t request, const struct viodma_front_region *region)
{
	const struct vhost_user_single_region single = {.region = wire_of(region)};

	return viodma_front_command(front, request, &single, sizeof(single), &region->fd,
				    request == VHOST_USER_ADD_MEM_REG ? 1 : 0);
}

static enum viodma_result send_table(struct viodma_front *front)
{
	struct vhost_user_memory table = {.num_regions = front->region_count};
	int fds[VHOST_USER_MEMORY_REGIONS];

	for (uint32_t i = 0; i < front->region_count; i++) {
		table.regions[i] = wire_of(front->regions[i]);
		fds[i] = front->regions[i]->fd;
	}
	return viodma_front_command(front, VHOST_USER_SET_MEM_TABLE, &table,
				    offsetof(struct vhost_user_memory, regions) +
					    front->region_count * sizeof(table.regions[0]),
				    fds, front->region_count);
}

/* Where a table was replaced, a device may have forgotten what it was told in advance. */
static enum viodma_result send_new_table(struct viodma_front *front)
{
	enum viodma_result result = send_table(front);

	if (result != VIODMA_OK || !front->platform)
		return result;
	result = viodma_front_grants_begin(front);
	/* It has the table; nobody knows any more what it believes. */
	return result == VIODMA_E_IO ? viodma_front_break(front, result, "grants are refused after a new memory table") :
				       result;
}

static void enter(struct viodma_front *front, uint32_t at, struct viodma_front_region *region)
{
	memmove(front->regions + at + 1, front->regions + at, (front->region_count - at) * sizeof(*front->regions));
	front->regions[at] = region;
	front->region_count++;
	front->statistics.shared_bytes += region->object.len_bytes;
}

static void take_out(struct viodma_front *front, uint32_t at)
{
	front->statistics.shared_bytes -= front->regions[at]->object.len_bytes;
	front->region_count--;
	memmove(front->regions + at, front->regions + at + 1, (front->region_count - at) * sizeof(*front->regions));
}

static void free_region(struct viodma_front_region *region)
{
	viodma_descriptor_close(&region->fd);
	free(region);
}

static const char *fault_of(const struct viodma_front *front, const struct viodma_front_memory *memory)
{
	const struct viodma_object *object = &memory->object;
	const uint64_t first = object->phys.v, last = first + (object->len_bytes - 1);
	uint32_t at;

	if (!object->len_bytes || first % PAGE_BYTES || object->len_bytes % PAGE_BYTES || memory->fd_offset % PAGE_BYTES)
		return "it is not whole pages of 4096 bytes";
	if (last < first || memory->fd_offset > INT64_MAX || object->len_bytes > INT64_MAX - memory->fd_offset) /* = PLT-10 */
		return "it wraps";
	at = position(front, first);
	if (!VIODMA_REQUIRE(PLT_10, at == front->region_count || front->regions[at]->object.phys.v > last))
		return "it overlaps what is shared";
	return NULL;
}

static enum viodma_result check(struct viodma_front *front, const struct viodma_front_memory *memory)
{
	const char *fault = fault_of(front, memory);

	if (!fault)
		return VIODMA_OK;
	viodma_front_log_some(front, "not shared: 0x%llx bytes at physical 0x%llx: %s",
			      (unsigned long long)memory->object.len_bytes, (unsigned long long)memory->object.phys.v, fault);
	return VIODMA_E_INVALID;
}

static enum viodma_result make(struct viodma_front *front, const struct viodma_front_memory *memory,
			       struct viodma_front_region **region)
{
	struct viodma_front_region *made;

	if (front->region_count == front->region_capacity) {
		const uint32_t capacity = front->region_capacity ? 2 * front->region_capacity : 8;
		void *grown = realloc(front->regions, capacity * sizeof(*front->regions));

		if (!grown)
			return VIODMA_E_NO_MEMORY;
		front->regions = grown;
		front->region_capacity = capacity;
	}
	made = malloc(sizeof(*made));
	if (!made)
		return VIODMA_E_NO_MEMORY;
	*made = (struct viodma_front_region){.object = memory->object, .fd_offset = memory->fd_offset};
	made->user = invent_user_address(front, &memory->object);
	made->fd = made->user ? fcntl(memory->fd, F_DUPFD_CLOEXEC, 0) : -1;
	if (made->fd < 0) {
		enum viodma_result result = made->user ? VIODMA_E_IO : VIODMA_E_NO_SPACE;
		const int reason = errno;

		free(made);
		errno = reason;
		return result;
	}
	*region = made;
	return VIODMA_OK;
}

enum viodma_result viodma_front_share(struct viodma_front *front, const struct viodma_front_memory *memory)
{
	const bool slots = viodma_front_has(front, VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS_BIT);
	struct viodma_front_region *region = NULL;
	enum viodma_result result = check(front, memory);
	uint32_t at;

	if (viodma_front_recover(front, front->broken) != VIODMA_OK)
		return front->broken;
	if (result != VIODMA_OK)
		return result;
	if (!slots && front->started)
		return VIODMA_E_UNSUPPORTED;
	if (front->region_count >= front->slots)
		return VIODMA_E_NO_SPACE;
	result = make(front, memory, &region);
	if (result != VIODMA_OK)
		return result;
	at = position(front, region->object.phys.v);
	enter(front, at, region);
	result = slots ? send_one(front, VHOST_USER_ADD_MEM_REG, region) : send_new_table(front);
	result = viodma_front_recover(front, result); /* a successor has it */
	if (result != VIODMA_OK) {
		take_out(front, at);
		free_region(region);
		return result;
	}
	viodma_front_log(front, "shared: 0x%llx bytes at physical 0x%llx", (unsigned long long)region->object.len_bytes,
			 (unsigned long long)region->object.phys.v);
	return VIODMA_OK;
}

/* With physical addresses a ring lies where the driver said, and stays there until it is stopped. */
static bool holds_a_ring(const struct viodma_front *front, const struct viodma_front_region *region)
{
	for (unsigned i = 0; !front->platform && i < front->queue_count; i++) {
		const struct viodma_front_queue *queue = &front->queues[i];

		if (queue->size && (viodma_front_region_at(front, (viodma_phys){queue->desc}, 1) == region ||
				    viodma_front_region_at(front, (viodma_phys){queue->avail}, 1) == region ||
				    viodma_front_region_at(front, (viodma_phys){queue->used}, 1) == region))
			return true;
	}
	return false;
}

enum viodma_result viodma_front_unshare(struct viodma_front *front, viodma_phys phys)
{
	const bool slots = viodma_front_has(front, VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS_BIT);
	const uint32_t at = position(front, phys.v);
	struct viodma_front_region *region = at < front->region_count ? front->regions[at] : NULL;
	enum viodma_result result;

	if (!region || region->object.phys.v != phys.v)
		return VIODMA_E_NOT_FOUND;
	if (!VIODMA_REQUIRE(PLT_10, !region->grants) || holds_a_ring(front, region))
		return VIODMA_E_BUSY;
	if (viodma_front_recover(front, front->broken) != VIODMA_OK)
		return front->broken;
	if (front->started && (!slots || !viodma_front_has(front, VHOST_USER_PROTOCOL_F_REPLY_ACK_BIT)))
		return VIODMA_E_UNSUPPORTED; /* nothing would prove that the device has done with it */
	take_out(front, at);
	result = slots ? send_one(front, VHOST_USER_REM_MEM_REG, region) : send_new_table(front);
	result = viodma_front_recover(front, result); /* a successor never had it */
	if (result != VIODMA_OK) {
		enter(front, at, region); /* as far as anybody knows */
		return result;
	}
	viodma_front_log(front, "no longer shared: 0x%llx bytes at physical 0x%llx",
			 (unsigned long long)region->object.len_bytes, (unsigned long long)phys.v);
	free_region(region);
	return VIODMA_OK;
}

enum viodma_result viodma_front_memory_again(struct viodma_front *front)
{
	enum viodma_result result = VIODMA_OK;

	if (!viodma_front_has(front, VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS_BIT))
		return front->region_count ? send_table(front) : VIODMA_OK;
	for (uint32_t i = 0; i < front->region_count && result == VIODMA_OK; i++)
		result = send_one(front, VHOST_USER_ADD_MEM_REG, front->regions[i]);
	return result;
}

void viodma_front_memory_drop(struct viodma_front *front)
{
	for (uint32_t i = 0; i < front->region_count; i++)
		free_region(front->regions[i]);
	free(front->regions);
	front->regions = NULL;
	front->region_count = front->region_capacity = 0;
}
