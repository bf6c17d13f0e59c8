/* SPDX-License-Identifier: BSD-3-Clause */
/* picture.h - a case's timeline, for a page. */
#ifndef VIODMA_CHECK_PICTURE_H
#define VIODMA_CHECK_PICTURE_H

#include "check/check.h"

/* An <svg> element; of a long case the end of it. Nothing if nothing happened. */
void check_picture(const struct check_outcome *outcome, FILE *to);

#endif
