/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * demo_table.h - the rows of the demonstration: what was seen in each, what has to be seen, and both as text.
 */
#ifndef VIODMA_TOOLS_DEMO_TABLE_H
#define VIODMA_TOOLS_DEMO_TABLE_H

#include "tools/demo_device.h"
#include "tools/drive_stray.h"

#define DEMO_KINDS 7u
#define DEMO_ROWS (2 * DEMO_KINDS) /* each over a split and a packed ring */

/* What it grants, at its peak. */
enum demo_reach { DEMO_ALL, DEMO_POOL, DEMO_LIVE };

/* Who keeps the device from memory that nobody granted. */
enum demo_enforcer { DEMO_NOBODY, DEMO_OWN_CODE, DEMO_NEVER_HANDED };

/* What a row has to show. */
struct demo_wanted {
	enum drive_domain domain;
	bool bit33;     /* offered */
	bool identical; /* bus addresses are physical ones: bit 33 is clear, or the platform is direct */
	bool all_handed; /* private memory, too */
	enum demo_reach reach;
	enum demo_enforcer enforcer;
};

extern const struct demo_wanted demo_kinds[DEMO_KINDS];

/* What was seen. Bytes. */
struct demo_row {
	const struct demo_wanted *wanted;
	bool packed;      /* what the ring is to be */
	bool ran;         /* to its end; else nothing below counts */
	uint64_t private_bytes, pool_bytes; /* the driver half's memory */
	bool accepted;    /* bit 33 */
	bool drove_packed; /* what the driver half's ring was */
	struct demo_maps maps; /* of the device's process */
	uint64_t granted_peak; /* by the driver half */
	uint64_t moved, moved_wanted;
	bool data_right;  /* read back, and on the disk */
	struct drive_stray stray;
	struct viodma_vhost_user_statistics device; /* what the device half counted */
};

/* The lines above the rows. */
void demo_table_begin(void);

/* A row. False: cells are not as they must be; each was logged. */
bool demo_table_row(const struct demo_row *row);

/* What the table shows; said only of one that is right. */
void demo_table_end(void);

/* Everything, replaced as a whole. False: errno. */
bool demo_table_write(const char *path, const struct demo_row *rows, unsigned count, int status, uint64_t elapsed_ns);

#endif
