/* SPDX-License-Identifier: BSD-3-Clause */
/* types.h - the device types there are: a file each. */
#ifndef VIODMA_CHECK_TYPES_H
#define VIODMA_CHECK_TYPES_H

#include "check/device/session.h"

extern const struct check_type check_type_blk, check_type_net, check_type_rng, check_type_fs;

#endif
