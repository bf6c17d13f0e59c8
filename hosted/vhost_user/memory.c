/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * memory.c - how it works: each region of the front end's memory is one shared mapping of its descriptor, from the page
 * below its offset on; the region itself is exactly what the message says, checked against wrapping and against the
 * file's size. The descriptor is closed once it is mapped. A new table is mapped completely before the old one is
 * touched, so a table that is refused changes nothing; the exchange itself waits in revoke.c.
 */
#include "hosted/vhost_user/guard.h"
#include "hosted/vhost_user/messages.h"

#include "core/base/require.h"

#include <errno.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

/* What stands behind a region of the space: its tag. */
struct mapping {
	void *start;
	size_t bytes;
	int guard;
};

static bool wraps(uint64_t first, uint64_t bytes)
{
	return bytes == 0 || first + (bytes - 1) < first;
}

/* The size of the pages a descriptor maps with; 0: it is no file that can be mapped. */
static size_t page_bytes(int fd, uint64_t *file_bytes)
{
	struct stat status;
	struct statfs system;

	if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode) || status.st_size < 0)
		return 0;
	*file_bytes = (uint64_t)status.st_size;
	if (fstatfs(fd, &system) == 0 && system.f_type == HUGETLBFS_MAGIC && system.f_bsize > 0)
		return (size_t)system.f_bsize;
	return (size_t)sysconf(_SC_PAGESIZE);
}

static enum viodma_result refused(const char **why, const char *text)
{
	*why = text;
	return VIODMA_PEER_MAPPING;
}

enum viodma_result viodma_memory_map(struct viodma_vhost_user *backend, const struct vhost_user_region *wire, int fd,
				     struct viodma_region *region, const char **why)
{
	struct mapping *mapping;
	uint64_t file_bytes = 0, before, bytes;
	size_t granule;
	void *start;

	if (!VIODMA_REQUIRE(PLT_10, !wraps(wire->guest_address, wire->size) && !wraps(wire->user_address, wire->size)))
		return refused(why, "a region is empty or wraps");
	granule = page_bytes(fd, &file_bytes);
	if (!granule)
		return refused(why, "a descriptor is not memory: a memfd or a file is due");
	if (wraps(wire->mmap_offset, wire->size) || wire->mmap_offset + wire->size > INT64_MAX - granule)
		return refused(why, "a region's offset and size wrap"); /* = PLT-10 */
	if (!VIODMA_REQUIRE(PLT_10, wire->mmap_offset + wire->size <= file_bytes))
		return refused(why, "a region reaches beyond the end of its file");
	before = wire->mmap_offset % granule;
	bytes = (before + wire->size + (granule - 1)) / granule * granule;
	if (bytes > SIZE_MAX)
		return refused(why, "a region is larger than this process's address space");

	mapping = malloc(sizeof(*mapping));
	if (!mapping) {
		*why = "out of memory";
		return VIODMA_E_NO_MEMORY;
	}
	start = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd,
		     (off_t)(wire->mmap_offset - before));
	if (start == MAP_FAILED) {
		*why = strerror(errno);
		free(mapping);
		return VIODMA_PEER_MAPPING;
	}
	mapping->start = start;
	mapping->bytes = (size_t)bytes;
	mapping->guard = viodma_guard_add(start, (size_t)bytes, granule, &backend->memory_gone);
	if (mapping->guard < 0) {
		munmap(start, (size_t)bytes);
		free(mapping);
		*why = "too many regions in this process";
		return VIODMA_E_NO_SPACE;
	}
	(void)madvise(start, (size_t)bytes, MADV_DONTDUMP); /* the driver's memory is not for our core files */
	*region = (struct viodma_region){
		.phys = {wire->guest_address},
		.user = {wire->user_address},
		.len_bytes = wire->size,
		.memory = (char *)start + before,
		.tag = mapping,
	};
	return VIODMA_OK;
}

void viodma_memory_unmap(struct viodma_region *region)
{
	struct mapping *mapping = region->tag;

	viodma_guard_remove(mapping->guard);
	munmap(mapping->start, mapping->bytes);
	free(mapping);
	region->tag = NULL;
}

void viodma_memory_log(struct viodma_vhost_user *backend)
{
	viodma_backend_log_some(backend, "memory table: %u regions, %llu bytes", backend->space.region_count,
			   (unsigned long long)backend->region_bytes);
}

void viodma_memory_drop_all(struct viodma_vhost_user *backend)
{
	while (backend->space.region_count) {
		const viodma_phys phys = backend->space.regions[0].phys;
		enum viodma_result result = viodma_spaces_retire_region(backend, phys);
		struct viodma_region region;

		if (result != VIODMA_OK && result != VIODMA_E_NOT_FOUND) /* not found: retired before */
			return;
		if (viodma_spaces_remove_region(backend, phys, &region) != VIODMA_OK)
			return; /* pinned after all: the precondition was broken */
		viodma_memory_unmap(&region);
	}
	backend->region_bytes = 0;
}

enum viodma_result viodma_memory_add_all(struct viodma_vhost_user *backend, struct viodma_region *regions,
					 unsigned count)
{
	enum viodma_result outcome = VIODMA_OK;

	for (unsigned i = 0; i < count; i++) {
		enum viodma_result result = outcome == VIODMA_OK
						    ? viodma_spaces_add_region(backend, &regions[i])
						    : outcome;

		if (result == VIODMA_OK)
			backend->region_bytes += regions[i].len_bytes;
		else
			viodma_memory_unmap(&regions[i]);
		outcome = result;
	}
	viodma_reachable_changed(backend);
	return outcome;
}

static bool overlap(uint64_t one, uint64_t one_bytes, uint64_t other, uint64_t other_bytes)
{
	return one <= other + (other_bytes - 1) && other <= one + (one_bytes - 1);
}

static bool regions_overlap(const struct viodma_region *regions, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		for (unsigned j = 0; j < i; j++)
			if (overlap(regions[i].phys.v, regions[i].len_bytes, regions[j].phys.v, regions[j].len_bytes) ||
			    overlap(regions[i].user.v, regions[i].len_bytes, regions[j].user.v, regions[j].len_bytes))
				return true;
	return false;
}

enum viodma_verdict viodma_handle_mem_table(struct viodma_vhost_user *backend, struct viodma_message *message)
{
	const struct vhost_user_memory *table = &message->payload.memory;
	struct viodma_revocation *revocation = &backend->revocation;
	const uint32_t request = message->header.request;
	enum viodma_result result = VIODMA_OK;
	const char *why = "";
	unsigned count;

	if (table->num_regions > VHOST_USER_MEMORY_REGIONS || table->num_regions > message->fd_count ||
	    !VIODMA_REQUIRE(PLT_9, message->header.size == 8 + table->num_regions * sizeof(table->regions[0]) &&
					   message->fd_count == table->num_regions))
		return viodma_connection_refuse(backend, request, VIODMA_PEER_MESSAGE,
						"%u regions in %u bytes with %u descriptors", table->num_regions,
						message->header.size, message->fd_count);
	for (count = 0; count < table->num_regions; count++) {
		result = viodma_memory_map(backend, &table->regions[count], message->fds[count],
					   &revocation->staged[count], &why);
		if (result != VIODMA_OK)
			break;
	}
	if (result == VIODMA_OK && !VIODMA_REQUIRE(PLT_10, !regions_overlap(revocation->staged, count)))
		result = refused(&why, "regions overlap");
	if (result != VIODMA_OK) {
		while (count)
			viodma_memory_unmap(&revocation->staged[--count]);
		return viodma_connection_refuse(backend, request, result, "%s", why);
	}
	revocation->staged_count = count;
	viodma_revocation_begin(backend, VIODMA_REVOKE_TABLE, message);
	return VIODMA_LATER;
}

enum viodma_verdict viodma_handle_add_region(struct viodma_vhost_user *backend, struct viodma_message *message)
{
	struct viodma_region region;
	const char *why = "it overlaps another one";
	enum viodma_result result;

	if (backend->space.region_count == VIODMA_BACKEND_MEMORY_SLOTS)
		return viodma_connection_refuse(backend, message->header.request, VIODMA_PEER_MAPPING,
						"there are %u slots", VIODMA_BACKEND_MEMORY_SLOTS);
	result = viodma_memory_map(backend, &message->payload.single.region, message->fds[0], &region, &why);
	if (result == VIODMA_OK)
		result = viodma_memory_add_all(backend, &region, 1);
	if (result == VIODMA_OK) {
		/* A ring may have waited for this memory. */
		for (unsigned i = 0; result == VIODMA_OK && i < backend->options.queue_count; i++)
			result = viodma_vring_try_start(&backend->rings[i], &why);
	}
	if (result != VIODMA_OK)
		return viodma_connection_refuse(backend, message->header.request, result, "%s", why);
	viodma_memory_log(backend);
	return VIODMA_DONE;
}

enum viodma_verdict viodma_handle_remove_region(struct viodma_vhost_user *backend, struct viodma_message *message)
{
	const struct vhost_user_region *wire = &message->payload.single.region;
	const viodma_phys phys = {wire->guest_address};
	const struct viodma_region *region = viodma_space_find_phys(&backend->space, phys);

	/* = PLT-10 */
	if (!region || region->phys.v != wire->guest_address || region->user.v != wire->user_address ||
	    region->len_bytes != wire->size)
		return viodma_connection_refuse(backend, message->header.request, VIODMA_PEER_MAPPING,
						"there is no such region");
	backend->revocation.phys = region->phys;
	if (viodma_spaces_retire_region(backend, region->phys) != VIODMA_OK)
		return viodma_connection_refuse(backend, message->header.request, VIODMA_PEER_MAPPING,
						"it is being removed");
	viodma_revocation_begin(backend, VIODMA_REVOKE_REGION, message);
	return VIODMA_LATER;
}
