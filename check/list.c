/* SPDX-License-Identifier: BSD-3-Clause */
/* list.c - the cases there are: a line each, or docs/cases.md. */
#include "check/case.h"

#include <stdlib.h>
#include <string.h>

int check_requirement_compare(const char *one, const char *other)
{
	const size_t letters = strcspn(one, "0123456789");

	if (letters != strcspn(other, "0123456789") || strncmp(one, other, letters))
		return strcmp(one, other);
	return (int)(strtol(one + letters, NULL, 10) - strtol(other + letters, NULL, 10));
}

static uint32_t count_cases(void)
{
	uint32_t count = 0;

	for (const struct check_case *const *list = check_device_cases; *list; list++)
		for (const struct check_case *each = *list; each->id; each++)
			count++;
	return count;
}

static const struct check_case *nth(uint32_t n)
{
	for (const struct check_case *const *list = check_device_cases; *list; list++)
		for (const struct check_case *each = *list; each->id; each++)
			if (!n--)
				return each;
	return NULL;
}

static void list_lines(uint32_t count, FILE *to)
{
	size_t id = 0, requirement = 0;

	for (uint32_t i = 0; i < count; i++) {
		const struct check_case *each = nth(i);

		id = strlen(each->id) > id ? strlen(each->id) : id;
		requirement = strlen(each->requirement) > requirement ? strlen(each->requirement) : requirement;
	}
	for (uint32_t i = 0; i < count; i++)
		fprintf(to, "%-*s  %-*s  %s\n", (int)id, nth(i)->id, (int)requirement, nth(i)->requirement, nth(i)->title);
}

/* ---- the page ---- */

static void put_needs(unsigned needs, FILE *to)
{
	static const struct {
		unsigned need;
		const char *what;
	} all[] = {
		{CHECK_NEEDS_PLATFORM, "bit 33"},
		{CHECK_NEEDS_NO_PLATFORM, "no bit 33"},
		{CHECK_NEEDS_INDIRECT, "INDIRECT_DESC"},
		{CHECK_NEEDS_EVENT_IDX, "EVENT_IDX"},
		{CHECK_NEEDS_IN_ORDER, "IN_ORDER"},
		{CHECK_NEEDS_REPLY_ACK, "REPLY_ACK"},
		{CHECK_NEEDS_STATUS, "STATUS"},
		{CHECK_NEEDS_MQ, "two queues"},
		{CHECK_NEEDS_INFLIGHT, "INFLIGHT_SHMFD"},
		{CHECK_NEEDS_SLOTS, "CONFIGURE_MEM_SLOTS"},
		{CHECK_NEEDS_RESET_DEVICE, "RESET_DEVICE"},
		{CHECK_NEEDS_CONFIG, "CONFIG"},
		{CHECK_NEEDS_FROM_DEVICE, "data from the device"},
		{CHECK_NEEDS_TO_DEVICE, "data to the device"},
	};
	const char *separator = "";

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if (!(needs & all[i].need))
			continue;
		fprintf(to, "%s%s", separator, all[i].what);
		separator = ", ";
	}
}

/* The requirement that comes after this one; NULL: none does. */
static const char *next_requirement(uint32_t count, const char *after)
{
	const char *next = NULL;

	for (uint32_t i = 0; i < count; i++) {
		const char *each = nth(i)->requirement;

		if ((!after || check_requirement_compare(each, after) > 0) && (!next || check_requirement_compare(each, next) < 0))
			next = each;
	}
	return next;
}

static void list_page(uint32_t count, FILE *to)
{
	fprintf(to, "<!-- SPDX-License-Identifier: BSD-3-Clause -->\n# The cases of `viodma check device`\n\n"
		    "Written by `make cases`. %u cases, by the requirement of [the specification](../spec/platform-dma.md) that they\n"
		    "are about; those of drivers (DRV) are broken on purpose, to see what the device makes of it. A case with a ring\n"
		    "is played for each layout that the device offers. What a case needs and does not find makes it *not exercised*.\n",
		count);
	for (const char *requirement = NULL; (requirement = next_requirement(count, requirement)) != NULL;) {
		fprintf(to, "\n## %s\n\n| case | a sound device | ring | needs |\n|---|---|---|---|\n", requirement);
		for (uint32_t i = 0; i < count; i++) {
			const struct check_case *each = nth(i);

			if (strcmp(each->requirement, requirement))
				continue;
			fprintf(to, "| `%s` | %s | %s | ", each->id, each->title, each->needs & CHECK_NEEDS_RING ? "each layout" : "none");
			put_needs(each->needs, to);
			fputs(" |\n", to);
		}
	}
}

void check_list(FILE *to, bool markdown)
{
	const uint32_t count = count_cases();

	if (markdown)
		list_page(count, to);
	else
		list_lines(count, to);
}
