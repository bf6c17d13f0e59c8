/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * check.c - `viodma check`: does this device keep the rules? The cases are check/'s; here are the words.
 */
#include "check/check.h"
#include "tools/commands.h"
#include "tools/options.h"

#include <string.h>
#include <unistd.h>

enum {
	OPT_SOCKET_PATH = OPTIONS_FIRST,
	OPT_FD,
	OPT_COMMAND,
	OPT_TYPE,
	OPT_ONLY,
	OPT_READ_ONLY,
	OPT_TIMEOUT_MS,
	OPT_LIST,
	OPT_MARKDOWN,
	OPT_JSON,
	OPT_JUNIT,
	OPT_HTML,
};

static const struct option known[] = {
	{"socket-path", required_argument, NULL, OPT_SOCKET_PATH},
	{"fd", required_argument, NULL, OPT_FD},
	{"command", required_argument, NULL, OPT_COMMAND},
	{"type", required_argument, NULL, OPT_TYPE},
	{"only", required_argument, NULL, OPT_ONLY},
	{"read-only", no_argument, NULL, OPT_READ_ONLY},
	{"timeout-ms", required_argument, NULL, OPT_TIMEOUT_MS},
	{"list", no_argument, NULL, OPT_LIST},
	{"markdown", no_argument, NULL, OPT_MARKDOWN},
	{"json", required_argument, NULL, OPT_JSON},
	{"junit", required_argument, NULL, OPT_JUNIT},
	{"html", required_argument, NULL, OPT_HTML},
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

struct words {
	struct check_options options;
	const char *json, *junit, *html;
	bool help, list, markdown;
};

static void help(void)
{
	printf("usage: viodma check device --socket-path PATH --type TYPE [OPTION]...\n"
	       "\n"
	       "Does this device keep the rules of platform DMA? Plays the driver, right and wrong, against any vhost-user back\n"
	       "end. It writes to what the device keeps: give it a scratch disk, or --read-only.\n"
	       "\n"
	       "  --socket-path PATH  where the back end listens; each case connects anew\n"
	       "  --fd N              a connected socket, for the first connection\n"
	       "  --command COMMAND   run this before each connection, and end it after: for back ends that serve one\n"
	       "  --type TYPE         blk, net, rng, fs\n"
	       "  --only IDS          only these cases, or those of these requirements; with commas\n"
	       "  --read-only         nothing that the device keeps is written to\n"
	       "  --timeout-ms N      a device that is silent for so long is silent, 10 to 60000; default 1000\n"
	       "  --json FILE         write all of it, as JSON\n"
	       "  --junit FILE        write it as JUnit's XML, for continuous integration\n"
	       "  --html FILE         write a page: the requirements, the evidence, a picture of each failure\n"
	       "  --list              print the cases and exit; with --markdown, as docs/cases.md\n"
	       "  --markdown          see --list\n"
	       "  --help              print this and exit\n"
	       "\n"
	       "exit status: 0; 1 a case failed; 2 it could not run\n");
}

static bool take(struct options *options, struct words *words, int option, const char *argument)
{
	struct check_options *check = &words->options;
	const char *unknown;
	size_t length;

	switch (option) {
	case OPT_SOCKET_PATH:
		return options_socket_path(options, "--socket-path", argument, &check->socket_path);
	case OPT_FD:
		return options_socket_fd(options, argument, &check->socket_fd);
	case OPT_COMMAND:
		check->command = argument;
		return true;
	case OPT_TYPE:
		check->type = check_type_named(argument, strlen(argument));
		return check->type || options_wrong(options, "--type: '%s', expected blk, net, rng or fs", argument);
	case OPT_ONLY:
		check->only = argument;
		return check_only_known(argument, &unknown, &length) ||
		       options_wrong(options, "--only: '%.*s' is no case and no requirement with one; see --list", (int)length, unknown);
	case OPT_READ_ONLY:
		check->writes = false;
		return true;
	case OPT_TIMEOUT_MS:
		return options_number(options, "--timeout-ms", argument, 10, 60000, &check->timeout_ms);
	case OPT_JSON:
		return options_path(options, "--json", argument, &words->json);
	case OPT_JUNIT:
		return options_path(options, "--junit", argument, &words->junit);
	case OPT_HTML:
		return options_path(options, "--html", argument, &words->html);
	case OPT_LIST:
		words->list = true;
		return true;
	case OPT_MARKDOWN:
		words->markdown = true;
		return true;
	default:
		words->help = true;
		return true;
	}
}

static bool take_all(int argc, char **argv, struct words *words)
{
	const bool device = argc > 1 && !strcmp(argv[1], "device");
	struct options options = {.command = "viodma check", .known = known, .argc = argc - device, .argv = argv + device};
	const char *argument;
	int option, rest;

	optind = 1;
	while ((option = options_next(&options, &argument, &rest)) >= 0)
		if (!take(&options, words, option, argument))
			return false;
	if (option == OPTIONS_WRONG)
		return false;
	argc -= device;
	argv += device;
	if (words->help || words->list)
		return true;
	if (!device)
		return options_wrong(&options, "expected 'device' first; see viodma check --help");
	if (rest < argc)
		return options_wrong(&options, "'%s': expected nothing", argv[rest]);
	if (!words->options.socket_path)
		return options_wrong(&options, "expected --socket-path");
	if (!words->options.type)
		return options_wrong(&options, "expected --type");
	return true;
}

static bool write_reports(const struct words *words, const struct check_report *report)
{
	const char *missing = NULL;

	if (words->json && !check_report_json(report, words->json))
		missing = words->json;
	if (words->junit && !check_report_junit(report, words->junit))
		missing = words->junit;
	if (words->html && !check_report_html(report, words->html))
		missing = words->html;
	if (missing)
		fprintf(stderr, "viodma check: %s cannot be written\n", missing);
	return !missing;
}

static void progress(void *context, const struct check_case *playing, uint32_t at, uint32_t of)
{
	(void)context;
	fprintf(stderr, "\r\033[K%u of %u: %s", at + 1, of, check_case_id(playing));
	fflush(stderr);
}

int viodma_check_main(int argc, char **argv)
{
	struct words words = {.options = {.socket_fd = -1, .timeout_ms = 1000, .writes = true}};
	struct check_report report;
	int status = 0;

	if (!take_all(argc, argv, &words))
		return EXIT_USAGE;
	if (words.help || words.list) {
		if (words.help)
			help();
		else
			check_list(stdout, words.markdown);
		return 0;
	}
	if (isatty(STDERR_FILENO))
		words.options.progress = progress;
	if (!check_device(&words.options, &report)) {
		fprintf(stderr, "viodma check: out of memory\n");
		return EXIT_USAGE;
	}
	if (words.options.progress)
		fprintf(stderr, "\r\033[K");
	if (report.could_not_run) {
		fprintf(stderr, "viodma check: %s\n", report.reason);
		status = EXIT_USAGE;
	} else {
		check_report_text(&report, stdout);
	}
	for (uint32_t i = 0; i < report.outcome_count && !status; i++)
		if (report.outcomes[i].verdict == CHECK_FAILED)
			status = EXIT_FAILED;
	if (!report.could_not_run && !write_reports(&words, &report))
		status = EXIT_USAGE;
	check_report_free(&report);
	return status;
}
