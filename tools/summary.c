/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * summary.c - what a device counted, as lines of the log: at SIGUSR1 and at the end. The JSON file has more.
 */
#include "tools/log.h"
#include "tools/statistics.h"

#include <inttypes.h>
#include <string.h>

static void log_features(const struct device_report *report)
{
	char text[512] = "";
	size_t at = 0;

	for (unsigned bit = 0; bit < 64; bit++) {
		const char *name = statistics_feature_name(report->type, bit);
		int wrote;

		if (!(report->backend.accepted & VIODMA_FEATURE(bit)) || at >= sizeof(text))
			continue;
		wrote = name ? snprintf(text + at, sizeof(text) - at, " %s", name)
			     : snprintf(text + at, sizeof(text) - at, " bit %u", bit);
		at += wrote > 0 ? (size_t)wrote : 0;
	}
	log_event(report->name, "accepted:%s", at ? text : " nothing");
}

static void log_faults(const struct device_report *report)
{
	const struct viodma_vhost_user_statistics *backend = &report->backend;

	log_event(report->name, "faults: %" PRIu64 "%s", backend->fault_count,
		  backend->fault_count > backend->faults_kept ? ", the last of them:" : backend->faults_kept ? ":" : "");
	for (uint32_t i = 0; i < backend->faults_kept; i++) {
		const struct viodma_fault *fault = &backend->faults[i];

		log_event(report->name, "  %s of 0x%" PRIx64 " (%" PRIu64 " bytes) refused: %s %s",
			  fault->permission == VIODMA_READ ? "read" : "write", fault->bus.v, fault->len_bytes,
			  viodma_result_requirement(fault->reason), viodma_result_text(fault->reason));
	}
}

static void log_requests(const struct device_report *report)
{
	const struct viodma_blk_statistics *blk = &report->blk;

	if (!strcmp(report->type, "rng")) {
		log_event(report->name, "requests: %" PRIu64 " answered (%" PRIu64 " bytes), %" PRIu64 " failed",
			  report->rng.requests, report->rng.bytes, report->rng.failed);
		return;
	}
	log_event(report->name,
		  "requests: %" PRIu64 " in (%" PRIu64 " bytes), %" PRIu64 " out (%" PRIu64 " bytes), %" PRIu64
		  " flush, %" PRIu64 " get-id, %" PRIu64 " unsupported, %" PRIu64 " failed",
		  blk->in, blk->in_bytes, blk->out, blk->out_bytes, blk->flush, blk->get_id, blk->unsupported,
		  blk->failed);
	if (blk->discard || blk->write_zeroes || blk->secure_erase || blk->lifetime)
		log_event(report->name,
			  "requests: %" PRIu64 " discard, %" PRIu64 " write-zeroes, %" PRIu64 " secure-erase, %" PRIu64
			  " lifetime",
			  blk->discard, blk->write_zeroes, blk->secure_erase, blk->lifetime);
}

void statistics_log(const struct device_report *report)
{
	const struct viodma_vhost_user_statistics *backend = &report->backend;

	log_features(report);
	log_requests(report);
	log_event(report->name,
		  "translations: %" PRIu64 "; IOTLB: %" PRIu64 " hits, %" PRIu64 " misses, %" PRIu64
		  " updates, %" PRIu64 " invalidations",
		  backend->space.translations, backend->iotlb.hits, backend->iotlb.misses, backend->iotlb.updates,
		  backend->iotlb.invalidations);
	log_event(report->name, "reachable: %" PRIu64 " bytes now, %" PRIu64 " at most, of %" PRIu64 " handed over",
		  backend->reachable_bytes, backend->reachable_bytes_peak, backend->region_bytes);
	log_faults(report);
}
