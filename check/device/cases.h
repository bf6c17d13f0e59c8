/* SPDX-License-Identifier: BSD-3-Clause */
/* cases.h - the lists of cases against devices: a file each, cases_THEME.c. */
#ifndef VIODMA_CHECK_CASES_H
#define VIODMA_CHECK_CASES_H

#include "check/device/session.h"

extern const struct check_case check_cases_features[];
extern const struct check_case check_cases_access[];
extern const struct check_case check_cases_places[];
extern const struct check_case check_cases_misses[];
extern const struct check_case check_cases_revocation[];
extern const struct check_case check_cases_used[];
extern const struct check_case check_cases_lies[];
extern const struct check_case check_cases_life[];
extern const struct check_case check_cases_record[];
extern const struct check_case check_cases_regions[];
extern const struct check_case check_cases_signals[];

#endif
