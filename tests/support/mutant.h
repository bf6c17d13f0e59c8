/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * mutant.h - which requirements are broken on purpose (test builds only; core/base/require.h asks).
 */
#ifndef VIODMA_TESTS_MUTANT_H
#define VIODMA_TESTS_MUTANT_H

#include <stdbool.h>

/* Comma-separated ids ("DEV-9,DRV-12"); NULL: none. Default: the environment's VIODMA_MUTANT. Not thread-safe. */
void viodma_mutant_set(const char *ids);

#endif
