/* SPDX-License-Identifier: MIT */
#include "journal.h"

#include <stdio.h>
#include <systemd/sd-journal.h>

#include "log.h"
#include "result.h"

struct message {
	const char *what, *id;
};

/* Each has its text in systemd/pullet.catalog; a test compares. */
static const struct message phases[] = {
	{"prepare", "f3c95789ace14954ac5d6baed2eac902"},
	{"trial", "cbf27734ac1045258b66402800e03d2c"},
	{"commit", "e0a3a91f23464c13bc27ed12b10877a9"},
	{"revert", "f1260ebc7d564b56b714dc919b27dbdf"},
	{"idle", "6caf76a5703548ae8280ad3729a6f2e7"},
	{0},
};

static const struct message results[] = {
	{"updated", "3f0c9931918c40bf9670c342c6cce996"},
	{"rolled-back", "004498f4b98747c18c9c26a813678d7a"},
	{"deferred", "0ecaf828e2f745538fcc69d79561a0d1"},
	{"refused", "73f80e52a36948b5a4414c46f147ecf9"},
	{"failed", "c1af446506f142fca1010f154a9f2968"},
	{0},
};

#define STORE_DAMAGED_ID "78b74617e40149b08826eb08334f3778"

static const char *find_id(const struct message *messages, const char *what)
{
	for (const struct message *m = messages; m->what; m++) {
		if (streq(m->what, what))
			return m->id;
	}
	return NULL;
}

/* A failure of its own: what to do about it is something else. */
static const char *id_of_result(const char *what, const char *reason)
{
	if (what && reason && streq(what, "failed") && after_prefix(reason, RESULT_STORE_DAMAGED))
		return STORE_DAMAGED_ID;
	return what ? find_id(results, what) : NULL;
}

static void write_entry(enum log_level level, const char *id, const char *container,
			const char *phase, const char *digest, const char *text)
{
	if (!id || !log_to_journal()) {
		log_write(level, "%s", text);
		return;
	}
	(void)sd_journal_send("MESSAGE=%s", text, "PRIORITY=%d", (int)level, "MESSAGE_ID=%s", id,
			      "PULLET_CONTAINER=%s", container, "PULLET_DIGEST=%s", digest,
			      phase ? "PULLET_PHASE=%s" : NULL, phase, NULL);
}

void journal_phase(const char *container, const char *phase, const char *digest)
{
	_cleanup_free_ char *text = xasprintf("%s: %s %.19s", container, phase, digest);

	write_entry(LOG_LEVEL_INFO, find_id(phases, phase), container, phase, digest, text);
}

void journal_result(const json_t *result)
{
	_cleanup_free_ char *text = result_text(result);
	const char *what = json_get_string(result, "result"), *to = json_get_string(result, "to");
	const char *container = json_get_string(result, "container");
	enum log_level level = LOG_LEVEL_INFO;

	if (what && streq(what, "up-to-date"))
		level = LOG_LEVEL_DEBUG;
	else if (result_is_bad(result))
		level = LOG_LEVEL_ERROR;
	/* No phase: a pass that was interrupted leaves the update in any of them. */
	write_entry(level, id_of_result(what, json_get_string(result, "reason")),
		    container ? container : "", NULL, to ? to : "", text);
}
