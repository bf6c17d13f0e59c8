/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * result.c - names, texts and requirement ids of results, all from the one table in viodma/result.h.
 */
#include <viodma/result.h>

const char *viodma_result_name(enum viodma_result result)
{
#define NAME(name, value, requirement, text)                                                                          \
	case name:                                                                                                    \
		return #name;
	switch (result) {
		VIODMA_RESULTS(NAME)
	default:
		return "VIODMA_RESULT_UNKNOWN";
	}
#undef NAME
}

const char *viodma_result_text(enum viodma_result result)
{
#define TEXT(name, value, requirement, text)                                                                          \
	case name:                                                                                                    \
		return text;
	switch (result) {
		VIODMA_RESULTS(TEXT)
	default:
		return "unknown result";
	}
#undef TEXT
}

const char *viodma_result_requirement(enum viodma_result result)
{
#define REQUIREMENT(name, value, requirement, text)                                                                   \
	case name:                                                                                                    \
		return requirement;
	switch (result) {
		VIODMA_RESULTS(REQUIREMENT)
	default:
		return "";
	}
#undef REQUIREMENT
}
