/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * broken.h - what the files of this room share. Each function here stands between (ld --wrap) ours and whoever calls it, and
 * does what ours does, unless the mutant is selected that is named after a case of `viodma check device`: VIODMA_MUTANT=ID.
 *
 *   ring.c        rings that are served wrongly
 *   space.c       addresses that are translated wrongly
 *   vhost_user.c  messages that are answered wrongly
 *   lies.c        what becomes of a device that does not look at what its driver says
 */
#ifndef VIODMA_BROKEN_BROKEN_H
#define VIODMA_BROKEN_BROKEN_H

#include "core/base/require.h"

/* Is the mutant of this case selected? The id, with underscores. */
#define BROKEN(id) viodma_mutant(#id)

/* Ours, and the one that stands between: name, what it answers, what it takes. */
#define BETWEEN(result, name, ...)              \
	result __real_##name(__VA_ARGS__);      \
	result __wrap_##name(__VA_ARGS__);      \
	result __wrap_##name(__VA_ARGS__)

#endif
