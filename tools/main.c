/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * main.c - the viodma program: finds the subcommand. Each subcommand is a file of its own, thin over the libraries.
 */
#include "tools/commands.h"

#include <stdio.h>
#include <string.h>

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *summary;
} commands[] = {
	{ "serve", viodma_serve_main, "serve virtio devices over vhost-user" },
	{ "drive", viodma_drive_main, "drive one, as a VM would, over vhost-user" },
	{ "demo", viodma_demo_main, "both, in two processes, over each kind of platform: a table" },
	{ "bench", viodma_bench_main, "what the DMA layer costs: measurements" },
	{ "check", viodma_check_main, "does this device keep the rules? Plays the other half" },
};
#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

/* --version and --help stand alone. */
static int too_much(const char *name, const char *more)
{
	fprintf(stderr, "viodma: '%s' after %s, expected nothing\n", more, name);
	return EXIT_USAGE;
}

static int help(void)
{
	printf("usage: viodma COMMAND [OPTION]...\n"
	       "\n"
	       "virtio devices that reach memory only through the platform's DMA (feature bit 33).\n"
	       "\n"
	       "commands:\n");
	for (size_t i = 0; i < COMMANDS; i++)
		printf("  %-10s %s\n", commands[i].name, commands[i].summary);
	printf("  %-10s print this and exit\n"
	       "\n"
	       "  --version  print the version and exit\n"
	       "  --help     print this and exit; after a command, print the command's own\n",
	       "help");
	return 0;
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : NULL;

	if (!name) {
		fprintf(stderr, "viodma: expected a command; see viodma --help\n");
		return EXIT_USAGE;
	}
	if (!strcmp(name, "--version") || !strcmp(name, "-V")) {
		if (argc > 2)
			return too_much(name, argv[2]);
		printf("viodma %s\n", VIODMA_VERSION);
		return 0;
	}
	if (!strcmp(name, "--help") || !strcmp(name, "-h") || !strcmp(name, "help"))
		return argc > 2 ? too_much(name, argv[2]) : help();
	for (size_t i = 0; i < COMMANDS; i++)
		if (!strcmp(name, commands[i].name))
			return commands[i].run(argc - 1, argv + 1);
	fprintf(stderr, "viodma: unknown %s '%s'; see viodma --help\n", name[0] == '-' ? "option" : "command", name);
	return EXIT_USAGE;
}
