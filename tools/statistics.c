/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * statistics.c - how it works: written by hand, member by member, to a temporary file in the same directory, which then
 * takes the old one's place. Feature sets and addresses are text, since many readers lose bits of larger numbers.
 */
#include "tools/statistics.h"
#include "hosted/base/text_out.h"

#include "tools/serve_options.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- text ---- */

static const char *json_bool(bool value)
{
	return value ? "true" : "false";
}

/* ---- features ---- */

const char *statistics_feature_name(const char *type, unsigned bit)
{
	if (bit < 24)
		return !strcmp(type, "blk") ? viodma_blk_feature_name(bit) : NULL;
	return bit == 30 ? "VHOST_USER_F_PROTOCOL_FEATURES" : viodma_feature_name(bit);
}

void statistics_write_features(FILE *file, const char *type, uint64_t features)
{
	const char *separator = "";

	fprintf(file, "{\"bits\": \"0x%" PRIx64 "\", \"names\": [", features);
	for (unsigned bit = 0; bit < 64; bit++) {
		const char *name;

		if (!(features & VIODMA_FEATURE(bit)))
			continue;
		name = statistics_feature_name(type, bit);
		if (name)
			fprintf(file, "%s\"%s\"", separator, name);
		else
			fprintf(file, "%s\"bit %u\"", separator, bit);
		separator = ", ";
	}
	fputs("]}", file);
}

/* ---- parts ---- */

static void write_blk_requests(FILE *file, const struct viodma_blk_statistics *blk)
{
	fprintf(file,
		"\"requests\": {\"in\": %" PRIu64 ", \"out\": %" PRIu64 ", \"flush\": %" PRIu64 ", \"get_id\": %" PRIu64
		", \"discard\": %" PRIu64 ", \"write_zeroes\": %" PRIu64 ", \"secure_erase\": %" PRIu64
		", \"lifetime\": %" PRIu64 ", \"unsupported\": %" PRIu64 ", \"failed\": %" PRIu64 ", \"total\": %" PRIu64
		"},\n   \"bytes\": {\"in\": %" PRIu64 ", \"out\": %" PRIu64 "},\n   ",
		blk->in, blk->out, blk->flush, blk->get_id, blk->discard, blk->write_zeroes, blk->secure_erase,
		blk->lifetime, blk->unsupported, blk->failed,
		blk->in + blk->out + blk->flush + blk->get_id + blk->discard + blk->write_zeroes + blk->secure_erase +
			blk->lifetime + blk->unsupported + blk->failed,
		blk->in_bytes, blk->out_bytes);
}

static void write_rng_requests(FILE *file, const struct viodma_rng_statistics *rng)
{
	fprintf(file,
		"\"requests\": {\"random\": %" PRIu64 ", \"failed\": %" PRIu64 ", \"total\": %" PRIu64
		"},\n   \"bytes\": {\"random\": %" PRIu64 "},\n   ",
		rng->requests, rng->failed, rng->requests + rng->failed, rng->bytes);
}

/* Members both the device and its sessions have. */
static void write_iotlb_counts(FILE *file, const struct viodma_iotlb_statistics *iotlb)
{
	fprintf(file,
		"\"hits\": %" PRIu64 ", \"misses\": %" PRIu64 ", \"answered\": %" PRIu64 ", \"failed\": %" PRIu64
		", \"updates\": %" PRIu64 ", \"invalidations\": %" PRIu64,
		iotlb->hits, iotlb->misses, iotlb->answered, iotlb->failed, iotlb->updates, iotlb->invalidations);
}

static void write_fault(FILE *file, const struct viodma_fault *fault)
{
	fprintf(file, "{\"address\": \"0x%" PRIx64 "\", \"length\": %" PRIu64 ", \"direction\": \"%s\", \"reason\": ",
		fault->bus.v, fault->len_bytes,
		fault->permission == VIODMA_READ  ? "read" :
		fault->permission == VIODMA_WRITE ? "write" :
						    "read-write");
	viodma_text_json(file, viodma_result_text(fault->reason));
	fprintf(file, ", \"requirement\": \"%s\"}", viodma_result_requirement(fault->reason));
}

static void write_session(FILE *file, const struct viodma_vhost_user_session *session)
{
	fprintf(file,
		"{\"bit33\": %s, \"iotlb_active\": %s, \"queue_size\": %" PRIu32 ", \"desc\": \"0x%" PRIx64
		"\", \"avail\": \"0x%" PRIx64 "\", \"used\": \"0x%" PRIx64 "\", \"requests\": %" PRIu64
		", \"translations\": %" PRIu64 ", \"identity_translations\": %" PRIu64
		", \"reachable_bytes_peak\": %" PRIu64 ", \"faults\": %" PRIu64 ", \"iotlb\": {",
		json_bool(session->bit33), json_bool(session->iotlb_active), session->setup.size,
		session->setup.desc.v, session->setup.avail.v, session->setup.used.v, session->requests,
		session->space.translations, session->space.identity_translations, session->reachable_bytes_peak,
		session->faults);
	write_iotlb_counts(file, &session->iotlb);
	fputs("}}", file);
}

static void write_device(FILE *file, const struct device_report *report)
{
	const struct viodma_vhost_user_statistics *backend = &report->backend;
	const bool rng = !strcmp(report->type, "rng");

	fputs("  {\"name\": ", file);
	viodma_text_json(file, report->name);
	fprintf(file, ", \"type\": \"%s\", \"socket\": ", report->type);
	if (report->socket)
		viodma_text_json(file, report->socket);
	else
		fputs("null", file);
	fputs(rng ? ", \"source\": " : ", \"file\": ", file);
	viodma_text_json(file, report->file);
	fprintf(file, ",\n   \"connected\": %s, \"connections\": %" PRIu64 ", \"features_accepted\": ",
		json_bool(backend->connected), backend->connections);
	statistics_write_features(file, report->type, backend->accepted);
	fprintf(file, ",\n   \"platform_dma\": {\"policy\": \"%s\", \"accepted\": %s, \"iotlb_active\": %s},\n   ",
		serve_platform_dma_name(report->policy),
		json_bool(backend->accepted & VIODMA_FEATURE(VIRTIO_F_ACCESS_PLATFORM_BIT)),
		json_bool(backend->iotlb_active));
	if (rng)
		write_rng_requests(file, &report->rng);
	else
		write_blk_requests(file, &report->blk);
	fprintf(file, "\"translations\": %" PRIu64 ", \"identity_translations\": %" PRIu64 ",\n   \"iotlb\": {",
		backend->space.translations, backend->space.identity_translations);
	write_iotlb_counts(file, &backend->iotlb);
	fprintf(file,
		", \"outstanding\": %" PRIu32 ", \"dropped\": %" PRIu64 ", \"evictions\": %" PRIu64
		", \"entries\": %" PRIu32 ", \"capacity\": %" PRIu32 "},\n   \"region_bytes\": %" PRIu64
		", \"reachable_bytes\": %" PRIu64 ", \"reachable_bytes_peak\": %" PRIu64
		",\n   \"faults\": {\"total\": %" PRIu64 ", \"recent\": [",
		backend->misses_outstanding, backend->iotlb.dropped, backend->iotlb.evictions, backend->iotlb_entries,
		backend->iotlb_capacity, backend->region_bytes, backend->reachable_bytes,
		backend->reachable_bytes_peak, backend->fault_count);
	for (uint32_t i = 0; i < backend->faults_kept; i++) {
		fputs(i ? ",\n    " : "\n    ", file);
		write_fault(file, &backend->faults[i]);
	}
	fprintf(file, "]},\n   \"session_count\": %" PRIu64 ", \"sessions\": [", backend->session_count);
	for (uint32_t i = 0; i < backend->sessions_kept; i++) {
		fputs(i ? ",\n    " : "\n    ", file);
		write_session(file, &backend->sessions[i]);
	}
	fputs("]}", file);
}

struct device_reports {
	const struct device_report *const *reports;
	unsigned count;
};

static void write_all(FILE *file, const void *context)
{
	const struct device_reports *all = context;

	fputs("{\"version\": ", file);
	viodma_text_json(file, VIODMA_VERSION);
	fputs(", \"devices\": [\n", file);
	for (unsigned i = 0; i < all->count; i++) {
		write_device(file, all->reports[i]);
		fputs(i + 1 < all->count ? ",\n" : "\n", file);
	}
	fputs("]}\n", file);
}

/* ---- the file ---- */

/* A new file beside `path`, *temporary, which the caller frees. -1: errno says why. */
static int make_temporary(const char *path, char **temporary)
{
	static const char suffix[] = ".XXXXXX";
	size_t path_bytes = strlen(path);

	*temporary = malloc(path_bytes + sizeof(suffix));
	if (!*temporary)
		return -1;
	memcpy(*temporary, path, path_bytes);
	memcpy(*temporary + path_bytes, suffix, sizeof(suffix));
	return mkstemp(*temporary);
}

bool statistics_writable(const char *path)
{
	struct stat found;
	char *temporary;
	int fd, error;

	/* Replacing a device or a directory is nobody's wish. */
	if (stat(path, &found) == 0 && !S_ISREG(found.st_mode)) {
		errno = S_ISDIR(found.st_mode) ? EISDIR : EINVAL;
		return false;
	}
	fd = make_temporary(path, &temporary);
	error = errno;
	if (fd >= 0) {
		unlink(temporary);
		close(fd);
	}
	free(temporary);
	errno = error;
	return fd >= 0;
}

bool statistics_replace(const char *path, void (*write_to)(FILE *file, const void *context), const void *context)
{
	char *temporary;
	mode_t mask = umask(0);
	FILE *file = NULL;
	bool ok = false;
	int fd, error;

	umask(mask);
	fd = make_temporary(path, &temporary);
	if (fd >= 0) {
		file = fdopen(fd, "w");
		if (!file)
			close(fd);
	}
	if (file) {
		write_to(file, context);
		/* mkstemp's file is its owner's alone; this one is like any other. */
		ok = fchmod(fd, 0666 & ~mask) == 0 && !ferror(file);
		ok = fclose(file) == 0 && ok;
		ok = ok && rename(temporary, path) == 0;
	}
	error = errno;
	if (fd >= 0 && !ok)
		unlink(temporary);
	free(temporary);
	errno = error;
	return ok;
}

bool statistics_write(const char *path, const struct device_report *const *reports, unsigned count)
{
	const struct device_reports all = { reports, count };

	return statistics_replace(path, write_all, &all);
}
