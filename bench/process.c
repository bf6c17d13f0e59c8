/* SPDX-License-Identifier: BSD-3-Clause */
/* process.c - how it works: see below. */
#include "bench/bench.h"

bool bench_group_in_processes(const struct bench_choice *choice, const struct bench_cell *cells, uint32_t count,
			      struct bench_row *rows)
{
	(void)choice;
	for (uint32_t i = 0; i < count; i++) {
		rows[i].cell = cells[i];
		snprintf(rows[i].fault, sizeof(rows[i].fault), "not there yet");
	}
	return true;
}
