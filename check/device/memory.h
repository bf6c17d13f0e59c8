/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * memory.h - the memory that a session hands over, and who touched what of it.
 *
 * It is in regions whose physical addresses do not adjoin. Pages are holes until somebody touches them: a device that only
 * reads where it must not makes the hole a page, which the file knows (SEEK_DATA). A place is some pages: what lies around the
 * bytes asked for is filled with a pattern. Bus addresses are scattered: none equals a physical or user address of
 * anything, and neighbours on the bus are no neighbours in memory.
 */
#ifndef VIODMA_CHECK_MEMORY_H
#define VIODMA_CHECK_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CHECK_PAGE 4096u
#define CHECK_REGIONS 3u
#define CHECK_REGION_PAGES 1024u
#define CHECK_REGION_BYTES ((uint64_t)CHECK_REGION_PAGES * CHECK_PAGE)

struct check_region {
	int fd;
	unsigned char *at; /* ours */
	uint64_t phys, user, offset;
	uint32_t next;     /* pages given out */
	bool handed_over;
};

#define CHECK_ALLOWED_MAX 512u
struct check_memory {
	struct check_region regions[CHECK_REGIONS];
	uint32_t turn; /* the region the next place is in */
	uint32_t places;
	unsigned char *before; /* as it was: check_memory_remember */
	bool *there;           /* for each page: it was no hole */
	struct {
		unsigned region;
		uint64_t from, end; /* in the region */
	} allowed[CHECK_ALLOWED_MAX];
	uint32_t allowed_count;
	struct check_spread *spreads;
};

/* Pages that adjoin on the bus, and in our own view, and nowhere else: each is in another region than the one before. */
struct check_spread {
	struct check_spread *next;
	unsigned char *at; /* our view of them */
	uint32_t count;
	struct {
		struct check_region *region;
		uint64_t offset;
	} pages[];
};

/* Bytes in memory, and where they are for everybody. */
struct check_place {
	unsigned char *at;
	uint64_t phys, user, bus; /* of the first byte */
	uint64_t bytes;
	struct check_region *region;
	const struct check_spread *spread; /* NULL: it is in one piece */
};

bool check_memory_new(struct check_memory *memory);
void check_memory_free(struct check_memory *memory);

/*
 * A place of its own, in pages of its own, at a distance in bytes from the start of its first one. The bus address keeps that
 * distance. Zeroed; the rest of its pages is filled with a pattern. False: out of pages.
 */
bool check_memory_place(struct check_memory *memory, uint64_t bytes, uint32_t distance, struct check_place *place);
/* The same, of pages that are spread. */
bool check_memory_spread(struct check_memory *memory, uint64_t bytes, uint32_t distance, struct check_place *place);
/* The physical and user address of the page that holds this byte of it, and its first byte's distance in the page. */
void check_memory_page(const struct check_place *place, uint64_t at, uint64_t *phys, uint64_t *user);
/* The same of holes: nobody has touched them. */
bool check_memory_hole(struct check_memory *memory, uint64_t bytes, struct check_place *place);

/* What there is now is right. */
void check_memory_remember(struct check_memory *memory);
/* What that much of a place holds now is right, too: we wrote it ourselves. */
void check_memory_accept(struct check_memory *memory, const struct check_place *place, uint64_t from, uint64_t bytes);
/* From the last remember on, that much of a place may change, or be touched. */
void check_memory_allow(struct check_memory *memory, const struct check_place *place, uint64_t from, uint64_t bytes);

/* The first that was changed (a write) or touched (a page where a hole was) since then and was not allowed. */
struct check_touch {
	uint64_t phys;
	bool written; /* else read */
	unsigned char was, is;
};
bool check_memory_touched(const struct check_memory *memory, struct check_touch *touch);

#endif
