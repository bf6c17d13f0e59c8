/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * options.c - how it works: getopt_long finds the options, stopping at the first word that is none; each value is
 * checked where it is taken.
 */
#include "tools/options.h"

#include <viodma/poller.h>

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define POLL_US_MAX 1000000u
#define SOCKET_PATH_BYTES (sizeof(((struct sockaddr_un *)0)->sun_path) - 1)

bool options_wrong(const struct options *options, const char *format, ...)
{
	va_list arguments;

	fprintf(stderr, "%s: ", options->command);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	return false;
}

/* `text` is argv's word for the option getopt_long took. */
static bool check_word(struct options *options, const char *text, int index)
{
	const char *name = options->known[index].name;
	const size_t bytes = strcspn(text + 2, "=");

	if (bytes != strlen(name))
		return options_wrong(options, "unknown option '%.*s', expected --%s: options are not abbreviated",
				     (int)bytes + 2, text, name);
	if (options->seen >> index & 1 && options->known[index].val != options->repeatable)
		return options_wrong(options, "--%s: is there twice, expected it once", name);
	options->seen |= UINT64_C(1) << index;
	return true;
}

int options_next(struct options *options, const char **argument, int *rest)
{
	const int at = optind;
	int option, index = 0;

	opterr = 0;
	option = getopt_long(options->argc, options->argv, "+:h", options->known, &index);
	*argument = optarg;
	*rest = optind;
	switch (option) {
	case ':':
		options_wrong(options, "%s: expected a value", options->argv[optind - 1]);
		return OPTIONS_WRONG;
	case '?':
		options_wrong(options, "unknown option, or a value where none is expected: '%s'; see %s --help",
			      options->argv[optind - 1], options->command);
		return OPTIONS_WRONG;
	default:
		if (option >= OPTIONS_FIRST && !check_word(options, options->argv[at], index))
			return OPTIONS_WRONG;
		return option;
	}
}

bool options_number(const struct options *options, const char *name, const char *text, uint32_t least, uint32_t most,
		    uint32_t *number)
{
	char *end = NULL;
	unsigned long long value;

	errno = 0;
	value = strtoull(text, &end, 10);
	if (text[0] < '0' || text[0] > '9' || *end || errno || value < least || value > most)
		return options_wrong(options, "%s: '%s', expected a number from %" PRIu32 " to %" PRIu32, name, text,
				     least, most);
	*number = (uint32_t)value;
	return true;
}

bool options_poll_us(const struct options *options, const char *text, uint32_t *poll_us)
{
	if (!strcmp(text, "auto"))
		*poll_us = VIODMA_POLL_AUTO;
	else if (text[0] < '0' || text[0] > '9')
		return options_wrong(options, "--poll-us: '%s', expected auto or a number from 0 to %u", text, POLL_US_MAX);
	else
		return options_number(options, "--poll-us", text, 0, POLL_US_MAX, poll_us);
	return true;
}

bool options_size(const struct options *options, const char *name, const char *text, uint64_t least, uint64_t most,
		  uint64_t *bytes)
{
	static const char units[] = "KMGT";
	const bool hexadecimal = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
	const char *unit;
	unsigned shift = 0;
	char *end = NULL;
	uint64_t value;

	errno = 0;
	value = strtoull(text, &end, hexadecimal ? 16 : 10);
	if (*end && (unit = strchr(units, *end))) {
		shift = 10 * (unsigned)(unit - units + 1);
		end++;
	}
	if (text[0] < '0' || text[0] > '9' || *end || errno || value > UINT64_MAX >> shift || value << shift < least ||
	    value << shift > most)
		return options_wrong(options,
				     "%s: '%s', expected bytes from %" PRIu64 " to %" PRIu64 " (4096, 0x1000, 4K, 1M)",
				     name, text, least, most);
	*bytes = value << shift;
	return true;
}

bool options_path(const struct options *options, const char *name, const char *text, const char **path)
{
	if (!*text)
		return options_wrong(options, "%s: empty, expected a path", name);
	*path = text;
	return true;
}

bool options_socket_path(const struct options *options, const char *name, const char *text, const char **path)
{
	if (!*text || strlen(text) > SOCKET_PATH_BYTES)
		return options_wrong(options, "%s: '%s', expected a path of 1 to %zu bytes", name, text,
				     SOCKET_PATH_BYTES);
	*path = text;
	return true;
}

bool options_socket_fd(const struct options *options, const char *text, int *fd)
{
	struct stat found;
	uint32_t number;

	if (!options_number(options, "--fd", text, 1, 1u << 30, &number))
		return false;
	if (fstat((int)number, &found) < 0)
		return options_wrong(options, "--fd: %u is not open (%s), expected a socket", number, strerror(errno));
	if (!S_ISSOCK(found.st_mode))
		return options_wrong(options, "--fd: %u is not a socket, expected one", number);
	*fd = (int)number;
	return true;
}
