/* SPDX-License-Identifier: MIT */
/* pulletd: arguments and configuration; agent.c does the rest. */
#include "agent.h"
#include "log.h"
#include "options.h"
#include "unit-start.h"

static const char usage[] =
	"Usage: pulletd [OPTION]...              run as the service\n"
	"       pulletd --once [OPTION]... [NAME]...  one round, then exit\n\n"
	"Keeps containers at the newest image behind their tag, and never without one.\n\n"
	"  --once            check and update each NAME, or all, in the foreground\n"
	"  --now             with --once: updates past windows, min-age, speed and budget\n"
	"  --json            with --once: print one JSON object a container\n"
	"  --config FILE     configuration (" CONFIG_PATH_DEFAULT ")\n"
	"  --state-dir DIR   records (" CONFIG_STATE_DIR_DEFAULT ")\n"
	"  --engine URL      Docker socket, unix:///PATH (the configuration's)\n"
	"  --fetch-socket PATH  connect to pullet-fetch there, do not start it\n"
	"  --update-socket PATH  connect to pullet-update there, do not start it\n"
	"  --unit-socket PATH  ask for units of hooks there (" UNIT_SOCKET_DEFAULT "), and notify\n"
	"  --debug           log each action\n"
	"  --help, --version\n\n"
	"Exit status: 0 all well (updated, up-to-date, deferred); 1 something failed, was\n"
	"refused or rolled back; 2 usage or configuration.\n";

static bool has_valid_arguments(const struct agent_options *o)
{
	if (!o->once && (o->names[0] || o->json || o->now))
		log_error("%s needs --once", o->json  ? "--json"
					     : o->now ? "--now"
						      : "a container's NAME");
	else if (o->helper.engine && !config_engine_path(o->helper.engine))
		log_error("--engine: '%s' is not of the form unix:///PATH", o->helper.engine);
	else
		return true;
	return false;
}

int main(int argc, char **argv)
{
	struct agent_options o = {
		.helper = {.config_path = CONFIG_PATH_DEFAULT,
			   .state_dir = CONFIG_STATE_DIR_DEFAULT},
	};
	_cleanup_config_ struct config *config = NULL;
	struct error e;
	const struct option_row rows[] = {
		{"once", NULL, &o.once},
		{"json", NULL, &o.json},
		{"now", NULL, &o.now},
		{"debug", NULL, &o.helper.debug},
		{"config", &o.helper.config_path, NULL},
		{"state-dir", &o.helper.state_dir, NULL},
		{"engine", &o.helper.engine, NULL},
		{"fetch-socket", &o.helper.fetch_socket, NULL},
		{"update-socket", &o.helper.update_socket, NULL},
		{"unit-socket", &o.helper.unit_socket, NULL},
		{0},
	};
	int first = options_parse(argc, argv, rows, usage), r;

	if (first < 0)
		return -1 - first;
	o.names = (const char *const *)(argv + first);
	if (!has_valid_arguments(&o))
		return 2;
	if (o.helper.debug)
		log_set_level(LOG_LEVEL_DEBUG);
	r = config_load(o.helper.config_path, &config, &e);
	if (r < 0 && o.once) {
		log_error("%s", e.text);
		return 2;
	}
	/* A service that ended would be started again and again, or never, and nobody on site would see why. */
	if (r < 0)
		config = config_new();
	for (const char *const *name = o.names; *name; name++) {
		if (!config_container(config, *name)) {
			log_error("%s has no [container %s]", o.helper.config_path, *name);
			return 2;
		}
	}
	return agent_run(&o, steal(config), r < 0 ? e.text : NULL);
}
