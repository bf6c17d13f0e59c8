/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * iotlb_misses.h - the questions an IOTLB has put to the platform: one per page and permission, until it is answered.
 */
#ifndef VIODMA_SPACE_IOTLB_MISSES_H
#define VIODMA_SPACE_IOTLB_MISSES_H

#include <viodma/iotlb.h>

enum iotlb_miss_state { MISS_NONE, MISS_ASKED, MISS_REFUSED, MISS_NOT_COVERED };

void viodma_iotlb_misses_init(struct viodma_iotlb *iotlb);

/* The slot of a page and permission, else NULL. */
struct viodma_iotlb_miss *viodma_iotlb_misses_find(const struct viodma_iotlb *iotlb, uint64_t bus,
					    enum viodma_permission wanted);

/* A new slot in state ASKED; NULL when the table is three quarters full. Pre: there is none yet. */
struct viodma_iotlb_miss *viodma_iotlb_misses_add(struct viodma_iotlb *iotlb, uint64_t bus, enum viodma_permission wanted);

/* Every permission asked for at addresses first..last. */
unsigned viodma_iotlb_misses_asked(const struct viodma_iotlb *iotlb, uint64_t first, uint64_t last);

/* Questions within first..last that this permission answers are gone. Returns how many. */
uint32_t viodma_iotlb_misses_answer(struct viodma_iotlb *iotlb, uint64_t first, uint64_t last, unsigned permission);

/* Every question that was refused is gone. */
void viodma_iotlb_misses_settle(struct viodma_iotlb *iotlb);

#endif
