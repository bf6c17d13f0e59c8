/* SPDX-License-Identifier: BSD-3-Clause */
/* cases.h - the lists of cases against devices: a file each, cases_THEME.c. */
#ifndef VIODMA_CHECK_CASES_H
#define VIODMA_CHECK_CASES_H

#include "check/device/session.h"

extern const struct check_case check_cases_features[], check_cases_access[], check_cases_places[], check_cases_misses[], check_cases_revocation[], check_cases_used[],
	check_cases_lies[], check_cases_life[], check_cases_record[], check_cases_regions[], check_cases_signals[];

#endif
