/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * drive_report.c - how it works: one object of JSON. What was counted between a negotiation and the reset that ended it
 * stands at the top; where the platform became restricted in between, the first such use is "before_restriction".
 * Feature sets and addresses are text, since many readers lose bits of larger numbers.
 */
#include "tools/drive_report.h"
#include "hosted/base/text_out.h"

#include "tools/statistics.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *json_bool(bool value)
{
	return value ? "true" : "false";
}

static const char *addressing_name(const struct viodma_driver_decision *decision)
{
	return decision->addressing == VIODMA_ADDRESSING_PLATFORM ? "bus" : "physical";
}

/* ---- info ---- */

static void print_features(const char *name, uint64_t features)
{
	printf("%-16s", name);
	for (unsigned bit = 0; bit < 64; bit++) {
		const char *known = statistics_feature_name("blk", bit);

		if (!(features & VIODMA_FEATURE(bit)))
			continue;
		if (known)
			printf(" %s", known);
		else
			printf(" bit-%u", bit);
	}
	putchar('\n');
}

static void print_id(const char *id)
{
	printf("%-16s ", "id");
	for (unsigned i = 0; id && i < VIODMA_DRIVER_BLK_ID_BYTES && id[i]; i++)
		putchar(id[i] >= ' ' && id[i] <= '~' ? id[i] : '?');
	puts(!id ? "not supported" : *id ? "" : "(empty)");
}

static void print_ranges(const char *name, const struct viodma_driver_blk_ranges *ranges, const char *also)
{
	if (!ranges->max_sectors) {
		printf("%-16s not offered\n", name);
		return;
	}
	printf("%-16s %" PRIu32 " ranges of %" PRIu64 " bytes%s\n", name, ranges->max_ranges,
	       (uint64_t)ranges->max_sectors * 512, also);
}

void drive_report_info(const struct drive_device *device, const char *id)
{
	const struct viodma_driver_blk *blk = &device->blk;
	const struct viodma_driver_decision *decision = &device->driver.decision;
	const bool physical = decision->addressing == VIODMA_ADDRESSING_PHYSICAL;

	printf("%-16s %" PRIu64 " bytes%s\n", "capacity", blk->capacity_sectors * 512,
	       blk->read_only ? ", read-only" : "");
	printf("%-16s %" PRIu32 "\n", "block size", blk->blk_size);
	printf("%-16s %" PRIu32 " used\n", "seg_max", blk->seg_max);
	if (blk->size_max == UINT32_MAX)
		printf("%-16s no limit\n", "size_max");
	else
		printf("%-16s %" PRIu32 " used\n", "size_max", blk->size_max);
	if (blk->topology.physical_block_exp || blk->topology.opt_io_blocks || blk->topology.min_io_blocks)
		printf("%-16s %" PRIu64 " bytes; best from %" PRIu64 ", up to %" PRIu64 "\n", "physical block",
		       (uint64_t)blk->blk_size << blk->topology.physical_block_exp,
		       (uint64_t)blk->blk_size * blk->topology.min_io_blocks,
		       (uint64_t)blk->blk_size * blk->topology.opt_io_blocks);
	printf("%-16s %s%s\n", "cache", blk->writeback ? "writeback" : "writethrough",
	       blk->may_switch ? "" : ", cannot be switched");
	print_ranges("discard", &blk->discard, "");
	print_ranges("write-zeroes", &blk->write_zeroes, blk->may_unmap ? ", may unmap" : "");
	print_ranges("secure-erase", &blk->secure_erase, "");
	printf("%-16s %s\n", "lifetime", blk->lifetime ? "known" : "not offered");
	printf("%-16s %u used, of %u\n", "queues", device->queue_count, (unsigned)blk->device_queues);
	printf("%-16s %" PRIu32 ", %s\n", "queue size", device->queues[0].config.size,
	       drive_device_is_packed(device) ? "packed" : "split");
	print_id(id);
	print_features("offered", device->driver.offered);
	print_features("accepted", decision->accepted);
	printf("%-16s %s, by %s%s%s\n", "addresses", addressing_name(decision), decision->rule,
	       decision->pass_through ? "; pass-through is programmed" : "",
	       decision->pool_at_physical ? "; in the pool, the weaker promise" : "");
	printf("%-16s %s\n", "domain", viodma_domain_kind_name(device->domain.kind));
	printf("%-16s %s\n", "platform", device->platform.text);
	printf("%-16s %s\n", "enforced by", drive_platform_enforced(&device->platform, physical));
}

/* ---- JSON ---- */

static void write_agreement(FILE *file, const struct drive_session *session)
{
	const struct viodma_driver_decision *decision = &session->decision;

	fprintf(file, "\"domain\": \"%s\", \"kind\": \"%s\", \"platform\": ", drive_domain_name(session->domain),
		viodma_domain_kind_name(session->kind));
	viodma_text_json(file, session->platform);
	fputs(",\n \"enforced_by\": ", file);
	viodma_text_json(file, session->enforced);
	fputs(",\n \"features_offered\": ", file);
	statistics_write_features(file, "blk", session->offered);
	fputs(",\n \"features_accepted\": ", file);
	statistics_write_features(file, "blk", decision->accepted);
	fprintf(file,
		",\n \"addressing\": \"%s\", \"rule\": \"%s\", \"pass_through\": %s, \"pool_at_physical\": %s"
		", \"order_platform\": %s,\n ",
		addressing_name(decision), decision->rule ? decision->rule : "", json_bool(decision->pass_through),
		json_bool(decision->pool_at_physical), json_bool(decision->order_platform));
}

static void write_pool(FILE *file, const struct viodma_pool_statistics *pool)
{
	fprintf(file,
		"\"pool\": {\"bytes\": %" PRIu64 ", \"used_bytes\": %" PRIu64 ", \"high_water_bytes\": %" PRIu64
		", \"quarantined_bytes\": %" PRIu64 ", \"allocations\": %" PRIu64 ", \"failures\": %" PRIu64
		", \"copied_in_bytes\": %" PRIu64 ", \"copied_out_bytes\": %" PRIu64 "},\n ",
		pool->bytes, pool->used_bytes, pool->high_water_bytes, pool->quarantined_bytes, pool->allocations,
		pool->failures, pool->copied_in_bytes, pool->copied_out_bytes);
}

static void write_dma(FILE *file, const struct viodma_domain_statistics *dma)
{
	const struct viodma_iommu_statistics *iommu = &dma->iommu;

	fprintf(file,
		"\"maps\": {\"maps\": %" PRIu64 ", \"unmaps\": %" PRIu64 ", \"live\": %" PRIu64
		", \"live_peak\": %" PRIu64
		", \"bounced_bytes\": %" PRIu64 ", \"in_place_bytes\": %" PRIu64 ", \"exhausted\": %" PRIu64
		", \"quarantined\": %" PRIu64 "},\n ",
		dma->maps, dma->unmaps, dma->live, dma->live_peak, dma->bounced, dma->in_place, dma->exhausted,
		dma->quarantined);
	fprintf(file,
		"\"iommu\": {\"maps\": %" PRIu64 ", \"unmaps\": %" PRIu64 ", \"invalidations\": %" PRIu64
		", \"mapped_bytes\": %" PRIu64 ", \"mapped_bytes_peak\": %" PRIu64 ", \"waiting\": %" PRIu64
		", \"waiting_peak\": %" PRIu64 ", \"failures\": %" PRIu64 ", \"quarantined_bytes\": %" PRIu64 "},\n ",
		iommu->maps, iommu->unmaps, iommu->invalidations, iommu->mapped_bytes, iommu->mapped_bytes_peak,
		iommu->waiting, iommu->waiting_peak, iommu->failures, iommu->quarantined_bytes);
}

static void write_device_side(FILE *file, const struct drive_session *session)
{
	const struct viodma_front_statistics *front = &session->front;
	const struct viodma_driver_queue_statistics *queues = &session->queues;
	const struct viodma_driver_blk_statistics *blk = &session->blk;

	fprintf(file,
		"\"shared_bytes\": %" PRIu64 ", \"granted_bytes\": %" PRIu64 ", \"granted_bytes_peak\": %" PRIu64
		",\n \"misses\": {\"asked\": %" PRIu64 ", \"granted\": %" PRIu64 ", \"refused\": %" PRIu64
		"}, \"updates\": %" PRIu64 ", \"invalidations\": %" PRIu64 ", \"messages\": %" PRIu64
		", \"reconnections\": %" PRIu64 ",\n ",
		front->shared_bytes, front->granted_bytes, front->granted_bytes_peak, front->misses, front->granted,
		front->refused, front->updates, front->invalidations, front->messages, front->reconnections);
	fprintf(file,
		"\"queues\": {\"count\": %u, \"size\": %" PRIu32 ", \"packed\": %s, \"added\": %" PRIu64 ", \"got\": %" PRIu64
		", \"indirect\": %" PRIu64 ", \"kicks\": %" PRIu64 ", \"kicks_suppressed\": %" PRIu64
		", \"calls\": %" PRIu64
		", \"calls_suppressed\": %" PRIu64 ", \"clamped\": %" PRIu64 "},\n ",
		session->queue_count, session->queue_size, json_bool(session->packed), queues->added, queues->got, queues->indirect, queues->kicks,
		queues->kicks_suppressed, front->calls, queues->calls_suppressed, queues->clamped);
	fprintf(file,
		"\"requests\": {\"ended\": %" PRIu64 ", \"failed\": %" PRIu64 ", \"parts\": %" PRIu64
		", \"waited\": %" PRIu64
		"}, \"bytes\": {\"read\": %" PRIu64 ", \"written\": %" PRIu64 "}",
		blk->requests, blk->failed, blk->parts, blk->waited, blk->read_bytes, blk->written_bytes);
}

static void write_session(FILE *file, const struct drive_session *session)
{
	write_agreement(file, session);
	write_pool(file, &session->pool);
	write_dma(file, &session->dma);
	write_device_side(file, session);
}

static void write_debug(FILE *file, const struct drive_device *device)
{
	const char *separator = "";

	fprintf(file, "{\"reports\": %" PRIu64 ", \"kinds\": {", device->debug_reports);
	for (unsigned i = 0; i <= VIODMA_DEBUG_FULL; i++) {
		if (!device->debug_counts[i])
			continue;
		fprintf(file, "%s\"%s\": %" PRIu64, separator, viodma_debug_kind_name((enum viodma_debug_kind)i),
			device->debug_counts[i]);
		separator = ", ";
	}
	fputs("}}", file);
}

static void write_load(FILE *file, const struct drive_load *load)
{
	fprintf(file,
		"\"load\": {\"reads\": %" PRIu64 ", \"writes\": %" PRIu64 ", \"flushes\": %" PRIu64
		", \"read_bytes\": %" PRIu64 ", \"written_bytes\": %" PRIu64 ", \"verified_bytes\": %" PRIu64
		", \"queue_resets\": %" PRIu64 ", \"elapsed_ns\": %" PRIu64 "},\n ",
		load->reads, load->writes, load->flushes, load->read_bytes, load->written_bytes, load->verified_bytes,
		load->queue_resets, load->elapsed_ns);
}

static void write_all(FILE *file, const void *context)
{
	const struct drive_report *report = context;
	const struct drive_device *device = report->device;
	const struct drive_options *options = device->options;
	const struct drive_transfer *transfer = report->transfer;

	fputs("{\"version\": ", file);
	viodma_text_json(file, VIODMA_VERSION);
	fputs(", \"name\": ", file);
	viodma_text_json(file, device->name);
	fputs(", \"type\": \"blk\", \"socket\": ", file);
	if (options->socket_path)
		viodma_text_json(file, options->socket_path);
	else
		fputs("null", file);
	fprintf(file, ", \"command\": \"%s\", \"exit_status\": %d,\n ", drive_command_name(options->command),
		report->status);
	fprintf(file,
		"\"transfer\": {\"bytes\": %" PRIu64 ", \"requests\": %" PRIu64 ", \"elapsed_ns\": %" PRIu64 "},\n ",
		transfer ? transfer->moved : 0, transfer ? transfer->requests : 0, transfer ? transfer->elapsed_ns : 0);
	if (report->load)
		write_load(file, report->load);
	fputs("\"debug\": ", file);
	if (options->debug)
		write_debug(file, device);
	else
		fputs("null", file);
	if (device->session_count) {
		fputs(",\n ", file);
		write_session(file, &device->sessions[device->session_count - 1]);
	}
	if (device->session_count > 1) {
		fputs(",\n \"before_restriction\": {", file);
		write_session(file, &device->sessions[0]);
		fputs("}", file);
	}
	fputs("}\n", file);
}

bool drive_report_write(const char *path, const struct drive_report *report)
{
	return statistics_replace(path, write_all, report);
}
