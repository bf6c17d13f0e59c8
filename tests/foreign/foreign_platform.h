/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * foreign_platform - how it works: a machine that nobody has, with one disk, in one program.
 *
 * Memory is five areas of 64 pages each. Three are windows of the bus, at addresses that have nothing to do with the
 * physical ones, their pages shuffled by a permutation of which the device's bridge has the inverse. FAR has bus
 * addresses that no device of 40 bits drives, HOLE has none. The last pages of HIGH are coherent, one copy of the
 * bytes. All else exists twice, as the driver's CPU sees it and as the device does, and moves between the two by cache
 * lines. A line is dirty if the CPU's bytes differ from what it was filled with. Clean writes a dirty line back,
 * invalidate fills a line anew and loses what was dirty. Each time the device runs some lines do one or the other by
 * themselves, so that maintenance that is late, or harms a neighbour, is seen. The disk answers later, in any order.
 */
#ifndef FOREIGN_PLATFORM_H
#define FOREIGN_PLATFORM_H

#include <viodma/device_blk.h>
#include <viodma/domain.h>
#include <viodma/transport.h>

enum { FOREIGN_NEAR, FOREIGN_MIDDLE, FOREIGN_HIGH, FOREIGN_FAR, FOREIGN_HOLE, FOREIGN_AREAS };
enum { FOREIGN_LINE = 64, FOREIGN_PAGE = 4096, FOREIGN_PAGES = 64, FOREIGN_AREA_BYTES = FOREIGN_PAGES * FOREIGN_PAGE };
enum { FOREIGN_BYTES = FOREIGN_AREAS * FOREIGN_AREA_BYTES, FOREIGN_DISK_BYTES = 1 << 20 };
enum { FOREIGN_RINGS_BYTES = 16 * FOREIGN_PAGE, FOREIGN_RINGS = 3 * FOREIGN_AREA_BYTES - FOREIGN_RINGS_BYTES };
enum { FOREIGN_QUEUE_MAX = 128, FOREIGN_SEG_MAX = 126, FOREIGN_PIECES = FOREIGN_SEG_MAX * 18 };

struct foreign {
	/* ---- what a driver is given ---- */
	char text[128]; /* the description */
	struct viodma_object objects[FOREIGN_AREAS];
	struct viodma_memory memory;
	struct viodma_bus_of bus_of;
	struct viodma_cache_ops cache;
	struct viodma_transport transport;
	bool called; /* the device's interrupt */
	/* ---- the machine ---- */
	_Alignas(FOREIGN_PAGE) unsigned char cpu[FOREIGN_BYTES], ram[FOREIGN_BYTES], line[FOREIGN_BYTES];
	unsigned char disk[FOREIGN_DISK_BYTES];
	/* ---- the device ---- */
	bool kicked, resetting;
	uint8_t status;
	uint64_t accepted;
	struct viodma_space space;
	struct viodma_queue queue;
	struct viodma_blk blk;
	struct viodma_blk_io ios[FOREIGN_QUEUE_MAX], *pending[FOREIGN_QUEUE_MAX];
	uint32_t pending_count;
	max_align_t queue_memory[VIODMA_QUEUE_MEMORY_BYTES(FOREIGN_QUEUE_MAX, FOREIGN_SEG_MAX + 2, FOREIGN_PIECES) /
					 sizeof(max_align_t) + 1];
};

/* Switch it on; memory holds anything. limits: more words of the description. events: of the space. */
enum viodma_result foreign_init(struct foreign *foreign, const char *limits, const struct viodma_space_events *events);

/* Let the device, and the caches, work for a moment. True: the device had something to do. */
bool foreign_run(struct foreign *foreign);

#endif
