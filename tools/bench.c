/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench.c - `viodma bench`: what the DMA layer costs. The measuring is bench/'s; here are the words.
 */
#include "bench/bench.h"
#include "tools/commands.h"
#include "tools/options.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { OPT_QUICK = OPTIONS_FIRST, OPT_ONLY, OPT_ROUNDS, OPT_ROUND_US, OPT_COUNT, OPT_UNTOUCHED, OPT_JSON, OPT_HTML };

static const struct option known[] = {
	{ "quick", no_argument, NULL, OPT_QUICK },
	{ "only", required_argument, NULL, OPT_ONLY },
	{ "rounds", required_argument, NULL, OPT_ROUNDS },
	{ "round-us", required_argument, NULL, OPT_ROUND_US },
	{ "count", required_argument, NULL, OPT_COUNT },
	{ "untouched", no_argument, NULL, OPT_UNTOUCHED },
	{ "json", required_argument, NULL, OPT_JSON },
	{ "html", required_argument, NULL, OPT_HTML },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

struct words {
	struct bench_choice choice;
	const char *json, *html;
	bool help;
};

static void help(void)
{
	printf("usage: viodma bench [OPTION]...\n"
	       "\n"
	       "What the DMA layer costs: both halves over a ring, each kind of platform beside a build that has no DMA\n"
	       "layer, in interleaved rounds.\n"
	       "\n"
	       "  --quick          fewer sizes and rounds: some seconds\n"
	       "  --only WORDS     only cells named, with commas: of each kind of word those that are there\n"
	       "                   one-thread two-threads two-processes; split packed; one chain indirect;\n"
	       "                   64 1500 4096 65536 262145; to-device from-device; x1 x32; plain retpoline;\n"
	       "                   raw direct-clear direct offset bounce restricted iommu-strict iommu-deferred\n"
	       "                   iommu-premapped bounce+iommu\n"
	       "                   without it: in two threads retpolines for one,x32 alone; in two processes two buffers\n"
	       "                   for 4096 alone\n"
	       "  --rounds N       rounds, 1 to 101; default 9, with --quick 3\n"
	       "  --round-us N     microseconds that a cell runs in each; default 3000, with --quick 500\n"
	       "  --json FILE      write all of it, as JSON\n"
	       "  --html FILE      write a page with plots\n"
	       "  --count N        for profilers: run N requests of each cell named, and no others, once; no times\n"
	       "  --untouched      nobody looks at the payload\n"
	       "  --help           print this and exit\n"
	       "\n"
	       "exit status: 0; 1 a cell failed its checks, or the machine did; 2 usage\n");
}

static bool take(struct options *options, struct words *words, int option, const char *argument)
{
	struct bench_choice *choice = &words->choice;
	uint32_t number;
	size_t length;
	const char *unknown;

	switch (option) {
	case OPT_QUICK:
		choice->quick = true;
		return true;
	case OPT_ONLY:
		choice->only = argument;
		return bench_only_known(argument, &unknown, &length) ||
		       options_wrong(options, "--only: '%.*s' is no word it knows; see viodma bench --help", (int)length,
				     unknown);
	case OPT_ROUNDS:
		return options_number(options, "--rounds", argument, 1, 101, &choice->rounds);
	case OPT_ROUND_US:
		if (!options_number(options, "--round-us", argument, 10, 10000000, &number))
			return false;
		choice->round_ns = (uint64_t)number * 1000;
		return true;
	case OPT_COUNT:
		choice->alone = true;
		return options_number(options, "--count", argument, 1, 1u << 30, &choice->count);
	case OPT_UNTOUCHED:
		choice->untouched = true;
		return true;
	case OPT_JSON:
		return options_path(options, "--json", argument, &words->json);
	case OPT_HTML:
		return options_path(options, "--html", argument, &words->html);
	default:
		words->help = true;
		return true;
	}
}

static bool take_all(int argc, char **argv, struct words *words)
{
	struct options options = { .command = "viodma bench", .known = known, .argc = argc, .argv = argv };
	const char *argument;
	int option, rest;

	optind = 1;
	while ((option = options_next(&options, &argument, &rest)) >= 0)
		if (!take(&options, words, option, argument))
			return false;
	if (option == OPTIONS_WRONG)
		return false;
	if (rest < argc)
		return options_wrong(&options, "'%s': expected nothing", argv[rest]);
	return true;
}

static void progress(const char *line)
{
	fprintf(stderr, "\r\033[K%s", line);
	fflush(stderr);
}

int viodma_bench_main(int argc, char **argv)
{
	struct words words = { .choice = { .rounds = 0 } };
	struct bench_choice *choice = &words.choice;
	struct bench_results results;
	int status = 0;

	if (!take_all(argc, argv, &words))
		return EXIT_USAGE;
	if (words.help) {
		help();
		return 0;
	}
	if (!choice->rounds)
		choice->rounds = choice->quick ? 3 : 9;
	if (!choice->round_ns)
		choice->round_ns = choice->quick ? 500000 : 3000000;
	if (isatty(STDERR_FILENO))
		choice->progress = progress;
	if (!bench_run(choice, &results)) {
		fprintf(stderr, "viodma bench: out of memory\n");
		status = EXIT_FAILED;
	}
	if (choice->progress)
		fprintf(stderr, "\r\033[K");
	if (!choice->count)
		bench_report_text(&results, stdout);
	if (words.json && !bench_report_json(&results, choice, words.json)) {
		fprintf(stderr, "viodma bench: %s cannot be written\n", words.json);
		status = EXIT_FAILED;
	}
	if (words.html && !bench_report_html(&results, words.html)) {
		fprintf(stderr, "viodma bench: %s cannot be written\n", words.html);
		status = EXIT_FAILED;
	}
	if (results.faults) {
		fprintf(stderr, "viodma bench: %u cells failed their checks\n", results.faults);
		status = EXIT_FAILED;
	}
	bench_results_free(&results);
	return status;
}
