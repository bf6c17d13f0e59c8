/* SPDX-License-Identifier: BSD-3-Clause */
/* cases.c - the lists of cases against devices, in the order in which they are played. */
#include "check/device/cases.h"

const struct check_case *const check_device_cases[] = {
	check_cases_features,
	check_cases_places,
	check_cases_used,
	check_cases_access,
	check_cases_misses,
	check_cases_revocation,
	check_cases_life,
	check_cases_record,
	check_cases_regions,
	check_cases_signals,
	check_cases_lies,
	NULL,
};
