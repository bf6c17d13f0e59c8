/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * deferred.c - how it works: not yet.
 */
#include "dma.h"

enum viodma_result viodma_deferred_settle(struct viodma_domain *domain, bool all)
{
	(void)domain;
	(void)all;
	return VIODMA_E_UNSUPPORTED;
}
