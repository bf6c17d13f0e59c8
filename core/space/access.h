/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * access.h - what core/ring needs from core/space beyond the public contract.
 */
#ifndef VIODMA_SPACE_ACCESS_H
#define VIODMA_SPACE_ACCESS_H

#include <viodma/space.h>

typedef enum viodma_result (*viodma_space_visit)(void *context, struct viodma_shared *memory, uint64_t len_bytes);

/* Visit the translated stretches of a buffer in order. Results as viodma_space_map, or the first other one of visit. */
enum viodma_result viodma_space_each(struct viodma_space *space, struct viodma_space_cache *cache, unsigned queue,
				     viodma_bus start, uint64_t len_bytes, enum viodma_permission permission,
				     viodma_space_visit visit, void *context, viodma_bus *missed);

/* Tell the owner that these bytes, which translate, are about to be used. */
void viodma_space_touch(struct viodma_space *space, struct viodma_space_cache *cache, viodma_bus start,
			uint64_t len_bytes, enum viodma_permission permission);

/*
 * The memory of one aligned ring word of 2 bytes. VIODMA_PEER_RING_LAYOUT: the platform mapped it to an odd address, so
 * that it cannot be read or written in one go.
 */
enum viodma_result viodma_space_word(struct viodma_space *space, struct viodma_space_cache *cache, unsigned queue,
				     viodma_bus bus, enum viodma_permission permission, struct viodma_shared **word,
				     viodma_bus *missed);

#endif
