/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * statistics.h - what the devices counted, as JSON (viodma-serve(1), "Statistics") and as lines of the log.
 */
#ifndef VIODMA_TOOLS_STATISTICS_H
#define VIODMA_TOOLS_STATISTICS_H

#include <viodma/device_blk.h>
#include <viodma/device_rng.h>
#include <viodma/vhost_user.h>

#include <stdio.h>

/* One device at one moment. Strings are the device's. */
struct device_report {
	const char *name;
	const char *type;   /* "blk", "rng" */
	const char *socket; /* NULL: an inherited descriptor */
	const char *file;   /* blk: the disk; rng: the source */
	enum viodma_platform_dma policy;
	struct viodma_vhost_user_statistics backend;
	struct viodma_blk_statistics blk; /* of its type */
	struct viodma_rng_statistics rng;
};

/*
 * Replace the file at `path` as a whole. False: it could not be; errno says why, and the old file is untouched.
 */
bool statistics_write(const char *path, const struct device_report *const *reports, unsigned count);

/* The same for any file that is written at once. */
bool statistics_replace(const char *path, void (*write_to)(FILE *file, const void *context), const void *context);

/* Could that file be written now? It is not touched. False: errno says why not. */
bool statistics_writable(const char *path);

/* The same for a reader: a few lines to the log. */
void statistics_log(const struct device_report *report);

/* The name of a feature bit of this type, device-independent ones included; NULL: it has none. */
const char *statistics_feature_name(const char *type, unsigned bit);

/* A set of features as an object: bits, names. */
void statistics_write_features(FILE *file, const char *type, uint64_t features);

#endif
