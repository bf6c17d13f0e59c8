/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * out_of_order.c - how it works: stands between the queue and the record of what is in flight (the linker's --wrap), and
 * moves one of the two steps that a request's return takes to the wrong side of the used element. Nothing shows until a
 * kill falls between the two: EARLY, the record has forgotten a request that the driver does not have back, which is lost;
 * LATE, it holds one that the driver has back, which is done again. VIODMA_OUT_OF_ORDER says which.
 */
#include "hosted/vhost_user/inflight.h"

#include <stdlib.h>

static bool early(void)
{
	const char *text = getenv("VIODMA_OUT_OF_ORDER");

	return text && text[0] == 'e';
}

#define OUT_OF_ORDER(kind)                                                                                             \
	void __real_viodma_inflight_##kind##_returning(struct viodma_inflight_##kind *record, uint16_t id);            \
	void __real_viodma_inflight_##kind##_returned(struct viodma_inflight_##kind *record, uint16_t id);             \
	void __wrap_viodma_inflight_##kind##_returning(struct viodma_inflight_##kind *record, uint16_t id);            \
	void __wrap_viodma_inflight_##kind##_returned(struct viodma_inflight_##kind *record, uint16_t id);             \
	static void both_##kind(struct viodma_inflight_##kind *record, uint16_t id)                                    \
	{                                                                                                              \
		__real_viodma_inflight_##kind##_returning(record, id);                                                 \
		__real_viodma_inflight_##kind##_returned(record, id);                                                  \
	}                                                                                                              \
	void __wrap_viodma_inflight_##kind##_returning(struct viodma_inflight_##kind *record, uint16_t id)             \
	{                                                                                                              \
		if (early())                                                                                           \
			both_##kind(record, id);                                                                       \
	}                                                                                                              \
	void __wrap_viodma_inflight_##kind##_returned(struct viodma_inflight_##kind *record, uint16_t id)              \
	{                                                                                                              \
		if (!early())                                                                                          \
			both_##kind(record, id);                                                                       \
	}

OUT_OF_ORDER(split)
OUT_OF_ORDER(packed)
