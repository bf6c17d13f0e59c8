/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * mutant.c - how it works: the list of ids is text, "DEV-9,DRV-12"; the macro asks with the identifier, "DEV_9". It
 * asks only when a check has failed, so text is fast enough.
 */
#include "tests/support/mutant.h"

#include "core/base/require.h"

#include <stdlib.h>
#include <string.h>

static const char *selected;
static bool selection_made;

void viodma_mutant_set(const char *ids)
{
	selected = ids;
	selection_made = true;
}

static bool same_id(const char *text, const char *identifier)
{
	for (; *identifier; text++, identifier++) {
		char wanted = *identifier == '_' ? '-' : *identifier;

		if (*text != wanted)
			return false;
	}
	return *text == '\0' || *text == ',';
}

bool viodma_mutant(const char *requirement)
{
	const char *ids = selection_made ? selected : getenv("VIODMA_MUTANT");

	while (ids && *ids) {
		if (same_id(ids, requirement))
			return true;
		ids = strchr(ids, ',');
		if (ids)
			ids++;
	}
	return false;
}
