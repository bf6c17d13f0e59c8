/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * memory.c - how it works: each region is a memfd of its own, so that its file says which pages there are. Our own look at a
 * page would make it one: what is compared is read with pread, and only where the file says that there is data.
 */
#include "check/device/memory.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PATTERN(i) ((unsigned char)(0xa5 ^ (i) * 29u))

/* Physical addresses, user addresses and bus addresses have nothing in common but their place in a page. */
static const uint64_t phys_of[CHECK_REGIONS] = {0x100000000, 0x140800000, 0x23c000000};
static const uint64_t user_of[CHECK_REGIONS] = {0x7f1200000000, 0x7f1500400000, 0x7f0930000000};
#define BUS_FIRST 0x5a0000000000u
#define BUS_STEP 0x40000u /* so much lies between places, and is nobody's */

bool check_memory_new(struct check_memory *memory)
{
	memset(memory, 0, sizeof(*memory));
	for (unsigned i = 0; i < CHECK_REGIONS; i++)
		memory->regions[i].fd = -1;
	memory->before = calloc(CHECK_REGIONS, CHECK_REGION_BYTES);
	memory->there = calloc(CHECK_REGIONS * CHECK_REGION_PAGES, sizeof(*memory->there));
	if (!memory->before || !memory->there)
		goto failed;
	for (unsigned i = 0; i < CHECK_REGIONS; i++) {
		struct check_region *region = &memory->regions[i];
		void *at;

		region->phys = phys_of[i];
		region->user = user_of[i];
		region->fd = memfd_create("viodma-check", MFD_CLOEXEC | MFD_ALLOW_SEALING);
		/* What a device may not do is to make it shorter under us. */
		if (region->fd < 0 || ftruncate(region->fd, CHECK_REGION_BYTES) < 0 ||
		    fcntl(region->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
			goto failed;
		at = mmap(NULL, CHECK_REGION_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, region->fd, 0);
		if (at == MAP_FAILED)
			goto failed;
		region->at = at;
	}
	return true;
failed:
	check_memory_free(memory);
	return false;
}

void check_memory_free(struct check_memory *memory)
{
	for (unsigned i = 0; i < CHECK_REGIONS; i++) {
		struct check_region *region = &memory->regions[i];

		if (region->at)
			munmap(region->at, CHECK_REGION_BYTES);
		if (region->fd >= 0)
			close(region->fd);
		region->at = NULL;
		region->fd = -1;
	}
	while (memory->spreads) {
		struct check_spread *spread = memory->spreads;

		memory->spreads = spread->next;
		if (spread->at)
			munmap(spread->at, (size_t)spread->count * CHECK_PAGE);
		free(spread);
	}
	free(memory->before);
	free(memory->there);
	memory->before = NULL;
	memory->there = NULL;
}

/* Bus addresses go down as memory goes up. */
static bool take(struct check_memory *memory, uint64_t bytes, uint32_t distance, struct check_place *place)
{
	const uint32_t pages = (uint32_t)((distance + bytes + CHECK_PAGE - 1) / CHECK_PAGE);

	for (unsigned tried = 0; tried < CHECK_REGIONS; tried++) {
		struct check_region *region = &memory->regions[memory->turn++ % CHECK_REGIONS];
		const uint64_t at = (uint64_t)region->next * CHECK_PAGE;
		const uint64_t step = (uint64_t)memory->places * BUS_STEP;

		/* A page between places: what runs beyond one is seen. */
		if (bytes > BUS_STEP / 2 || pages + 1 > CHECK_REGION_PAGES - region->next)
			continue;
		region->next += pages + 1;
		memory->places++;
		*place = (struct check_place){
			.at = region->at + at + distance,
			.phys = region->phys + at + distance,
			.user = region->user + at + distance,
			.bus = BUS_FIRST - step + distance,
			.bytes = bytes,
			.region = region,
		};
		return true;
	}
	return false;
}

/* The pattern around it, and zeroes in it. */
static void fill(const struct check_place *place, uint32_t distance)
{
	unsigned char *page = place->at - distance;
	unsigned char *end = page + (distance + place->bytes + CHECK_PAGE - 1) / CHECK_PAGE * CHECK_PAGE;

	for (unsigned char *at = page; at < end; at++)
		*at = PATTERN((uint64_t)(at - page));
	memset(place->at, 0, place->bytes);
}

bool check_memory_place(struct check_memory *memory, uint64_t bytes, uint32_t distance, struct check_place *place)
{
	if (!take(memory, bytes, distance, place))
		return false;
	fill(place, distance);
	return true;
}

bool check_memory_spread(struct check_memory *memory, uint64_t bytes, uint32_t distance, struct check_place *place)
{
	const uint32_t count = (uint32_t)((distance + bytes + CHECK_PAGE - 1) / CHECK_PAGE);
	struct check_spread *spread = calloc(1, sizeof(*spread) + count * sizeof(spread->pages[0]));
	struct check_place page;
	void *at;

	if (!spread)
		return false;
	spread->next = memory->spreads;
	memory->spreads = spread;
	at = mmap(NULL, (size_t)count * CHECK_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (at == MAP_FAILED)
		return false;
	spread->at = at;
	spread->count = count;
	for (uint32_t i = 0; i < count; i++) {
		if (!take(memory, CHECK_PAGE, 0, &page))
			return false;
		spread->pages[i].region = page.region;
		spread->pages[i].offset = (uint64_t)(page.at - page.region->at);
		if (mmap(spread->at + (size_t)i * CHECK_PAGE, CHECK_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
			 page.region->fd, (off_t)spread->pages[i].offset) == MAP_FAILED)
			return false;
	}
	*place = (struct check_place){.at = spread->at + distance, .bytes = bytes, .region = spread->pages[0].region, .spread = spread};
	place->bus = page.bus + distance; /* below it lies what the other pages would have had */
	check_memory_page(place, 0, &place->phys, &place->user);
	place->phys += distance;
	place->user += distance;
	fill(place, distance);
	return true;
}

/* Where a byte of a place is, in a region. */
static struct check_region *find(const struct check_place *place, uint64_t at, uint64_t *offset)
{
	const struct check_spread *spread = place->spread;
	uint64_t of_view;

	if (!spread) {
		*offset = (uint64_t)(place->at - place->region->at) + at;
		return place->region;
	}
	of_view = (uint64_t)(place->at - spread->at) + at;
	*offset = spread->pages[of_view / CHECK_PAGE].offset + of_view % CHECK_PAGE;
	return spread->pages[of_view / CHECK_PAGE].region;
}

void check_memory_page(const struct check_place *place, uint64_t at, uint64_t *phys, uint64_t *user)
{
	uint64_t offset;
	const struct check_region *region = find(place, at, &offset);

	*phys = region->phys + offset / CHECK_PAGE * CHECK_PAGE;
	*user = region->user + offset / CHECK_PAGE * CHECK_PAGE;
}

bool check_memory_hole(struct check_memory *memory, uint64_t bytes, struct check_place *place)
{
	return take(memory, bytes, 0, place);
}

/* For each page that is no hole. */
static void each_page(const struct check_memory *memory,
		      bool (*visit)(void *context, unsigned region, uint32_t page, const unsigned char *bytes), void *context)
{
	unsigned char bytes[CHECK_PAGE];

	for (unsigned i = 0; i < CHECK_REGIONS; i++) {
		const int fd = memory->regions[i].fd;
		off_t at = 0;

		while ((at = lseek(fd, at, SEEK_DATA)) >= 0 && at < (off_t)CHECK_REGION_BYTES) {
			if (pread(fd, bytes, sizeof(bytes), at) != (ssize_t)sizeof(bytes) ||
			    !visit(context, i, (uint32_t)(at / CHECK_PAGE), bytes))
				return;
			at += CHECK_PAGE;
		}
	}
}

static bool keep(void *context, unsigned region, uint32_t page, const unsigned char *bytes)
{
	struct check_memory *memory = context;
	const uint64_t index = (uint64_t)region * CHECK_REGION_PAGES + page;

	memory->there[index] = true;
	memcpy(memory->before + index * CHECK_PAGE, bytes, CHECK_PAGE);
	return true;
}

void check_memory_remember(struct check_memory *memory)
{
	memory->allowed_count = 0;
	memset(memory->there, 0, CHECK_REGIONS * CHECK_REGION_PAGES * sizeof(*memory->there));
	each_page(memory, keep, memory);
}

/* Each page's part of some bytes of a place. */
static void each_part(struct check_memory *memory, const struct check_place *place, uint64_t from, uint64_t bytes,
		      void (*visit)(struct check_memory *memory, unsigned region, uint64_t offset, const unsigned char *at,
				    uint64_t count))
{
	for (uint64_t at = from; at < from + bytes;) {
		uint64_t offset, count;
		const struct check_region *region = find(place, at, &offset);

		count = CHECK_PAGE - offset % CHECK_PAGE;
		if (count > from + bytes - at)
			count = from + bytes - at;
		visit(memory, (unsigned)(region - memory->regions), offset, place->at + at, count);
		at += count;
	}
}

static void accept_part(struct check_memory *memory, unsigned region, uint64_t offset, const unsigned char *at, uint64_t count)
{
	memcpy(memory->before + region * CHECK_REGION_BYTES + offset, at, count);
	memory->there[region * CHECK_REGION_PAGES + offset / CHECK_PAGE] = true;
}

void check_memory_accept(struct check_memory *memory, const struct check_place *place, uint64_t from, uint64_t bytes)
{
	each_part(memory, place, from, bytes, accept_part);
}

static void allow_part(struct check_memory *memory, unsigned region, uint64_t offset, const unsigned char *at, uint64_t count)
{
	(void)at;
	if (memory->allowed_count == CHECK_ALLOWED_MAX)
		return;
	memory->allowed[memory->allowed_count].region = region;
	memory->allowed[memory->allowed_count].from = offset;
	memory->allowed[memory->allowed_count++].end = offset + count;
}

void check_memory_allow(struct check_memory *memory, const struct check_place *place, uint64_t from, uint64_t bytes)
{
	each_part(memory, place, from, bytes, allow_part);
}

static bool allowed(const struct check_memory *memory, unsigned region, uint64_t from, uint64_t end)
{
	for (uint32_t i = 0; i < memory->allowed_count; i++)
		if (memory->allowed[i].region == region && memory->allowed[i].from < end && memory->allowed[i].end > from)
			return true;
	return false;
}

struct search {
	const struct check_memory *memory;
	struct check_touch *touch;
	bool found;
};

static bool compare(void *context, unsigned region, uint32_t page, const unsigned char *bytes)
{
	struct search *search = context;
	const struct check_memory *memory = search->memory;
	const uint64_t index = (uint64_t)region * CHECK_REGION_PAGES + page, at = (uint64_t)page * CHECK_PAGE;
	const bool was_there = memory->there[index];

	for (uint32_t i = 0; i < CHECK_PAGE; i++) {
		const unsigned char was = was_there ? memory->before[index * CHECK_PAGE + i] : 0;

		if (bytes[i] == was || allowed(memory, region, at + i, at + i + 1))
			continue;
		*search->touch = (struct check_touch){memory->regions[region].phys + at + i, true, was, bytes[i]};
		search->found = true;
		return false;
	}
	if (!was_there && !allowed(memory, region, at, at + CHECK_PAGE)) {
		*search->touch = (struct check_touch){memory->regions[region].phys + at, false, 0, 0};
		search->found = true;
	}
	return !search->found;
}

bool check_memory_touched(const struct check_memory *memory, struct check_touch *touch)
{
	struct search search = {memory, touch, false};

	each_page(memory, compare, &search);
	return search.found;
}
