/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * require.h - one macro carries a requirement: the citation, the check, and in test builds the switch that breaks it.
 *
 *	if (!VIODMA_REQUIRE(DEV_9, permits))
 *		return VIODMA_FAULT_PERMISSION;
 *
 * cites DEV-9 for the tool that joins specification, code and tests. In a test build (VIODMA_TEST_BUILD) a mutant can
 * remove the check: the macro is then true although the condition is not. A sound build has the condition alone.
 * Where a requirement is met by how the code is built rather than by a check, a comment cites it: = DEV-11.
 */
#ifndef VIODMA_BASE_REQUIRE_H
#define VIODMA_BASE_REQUIRE_H

#include <stdbool.h>

#ifdef VIODMA_TEST_BUILD
/* Is this requirement's check removed? Asked only when the condition is false. Defined by tests/support/mutant.c. */
bool viodma_mutant(const char *requirement);
#define VIODMA_REQUIRE(id, condition) ((condition) || viodma_mutant(#id))
#else
#define VIODMA_REQUIRE(id, condition) (condition)
#endif

#endif
