/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * page.c - what all pages have: colours for either ground, text, tables, pictures.
 */
#include "hosted/base/page.h"

static const char common[] =
	":root{color-scheme:light dark;--ground:#fff;--ink:#1b1f24;--faint:#6a737d;--line:#d5d9de;"
	"--c0:#57606a;--c1:#0550ae;--c2:#1a7f37;--c3:#8250df;--c4:#bc4c00;--c5:#953800;--c6:#cf222e;--c7:#bf3989;"
	"--c8:#0a7ea4;--c9:#7d4e00}\n"
	"@media(prefers-color-scheme:dark){:root{--ground:#0d1117;--ink:#e6edf3;--faint:#9198a1;--line:#30363d;"
	"--c0:#9ea7b3;--c1:#79c0ff;--c2:#56d364;--c3:#d2a8ff;--c4:#ffa657;--c5:#f0883e;--c6:#ff7b72;--c7:#f778ba;"
	"--c8:#76e3ea;--c9:#e3b341}}\n"
	"body{background:var(--ground);color:var(--ink);font:15px/1.5 system-ui,sans-serif;max-width:76rem;margin:2rem auto;"
	"padding:0 1rem}\n"
	"h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2.2rem}\n"
	"svg{max-width:100%;height:auto}svg text{fill:var(--ink);font:11px system-ui,sans-serif}"
	"svg .axis{stroke:var(--line)}svg .faint{fill:var(--faint)}\n"
	"table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.85rem;margin:.5rem 0 1rem}"
	"th,td{padding:.1rem .6rem;border-bottom:1px solid var(--line)}"
	"th{font-weight:600}\n"
	"summary{cursor:pointer}.wide{overflow-x:auto}\n";

void viodma_page_begin(FILE *to, const char *title, const char *style)
{
	fprintf(to,
		"<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/>\n"
		"<meta name=\"viewport\" content=\"width=device-width\"/>\n<title>%s</title>\n<style>\n%s%s</style></head>\n"
		"<body>\n", title, common, style);
}

void viodma_page_end(FILE *to)
{
	fputs("</body></html>\n", to);
}
