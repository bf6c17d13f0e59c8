/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * log.c - how it works: a line is put together in a buffer and written with one call. A standard error that cannot be
 * written is nobody's reason to stop serving.
 */
#include "tools/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINE_BYTES 1024
#define PREFIX_BYTES 64

void log_whole_line(const char *line)
{
	char text[LINE_BYTES + PREFIX_BYTES];
	size_t bytes = strlen(line);
	ssize_t written;

	if (bytes > sizeof(text) - 1)
		bytes = sizeof(text) - 1;
	memcpy(text, line, bytes);
	for (size_t i = 0; i < bytes; i++)
		if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
			text[i] = '?';
	text[bytes] = '\n';
	written = write(STDERR_FILENO, text, bytes + 1);
	(void)written;
}

void log_line(const char *device, const char *line)
{
	char text[LINE_BYTES + PREFIX_BYTES];

	snprintf(text, sizeof(text), "viodma: %s%s%s", device ? device : "", device ? ": " : "", line);
	log_whole_line(text);
}

void log_event(const char *device, const char *format, ...)
{
	char line[LINE_BYTES];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
	log_line(device, line);
}
