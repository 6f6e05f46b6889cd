/* SPDX-License-Identifier: MIT */
/* pulletd: arguments, configuration, and off. */
#include <getopt.h>
#include <stdio.h>

#include "agent.h"
#include "log.h"

static int usage(FILE *f, int status)
{
	fputs("Usage: pulletd [OPTION]...              run as the service\n"
	      "       pulletd --once [OPTION]... [NAME]...  one pass, then end\n\n"
	      "Keeps containers at the newest image behind their tag, and never without one.\n\n"
	      "  --once            one pass in the foreground for each NAME, or for all\n"
	      "  --json            with --once: print one JSON object a container\n"
	      "  --config FILE     configuration (" CONFIG_PATH_DEFAULT ")\n"
	      "  --state-dir DIR   records (" CONFIG_STATE_DIR_DEFAULT ")\n"
	      "  --engine URL      Docker socket, unix:///PATH (the configuration's)\n"
	      "  --fetch-socket PATH  use the pullet-fetch that listens there\n"
	      "  --debug           tell each action\n"
	      "  --help, --version\n\n"
	      "Exit status: 0 all well (updated, up-to-date, deferred); 1 something failed, was\n"
	      "refused or rolled back; 2 usage or configuration.\n",
	      f);
	return status;
}

/* 0, or -1 with the exit status in *ret_status. */
static int parse_arguments(int argc, char **argv, struct agent_options *ret, int *ret_status)
{
	static const struct option options[] = {
		{"once", no_argument, NULL, 'o'},
		{"json", no_argument, NULL, 'j'},
		{"config", required_argument, NULL, 'c'},
		{"state-dir", required_argument, NULL, 's'},
		{"engine", required_argument, NULL, 'e'},
		{"fetch-socket", required_argument, NULL, 'f'},
		{"debug", no_argument, NULL, 'd'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'v'},
		{0},
	};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		if (c == 'o')
			ret->once = true;
		else if (c == 'j')
			ret->json = true;
		else if (c == 'c')
			ret->config_path = optarg;
		else if (c == 's')
			ret->state_dir = optarg;
		else if (c == 'e')
			ret->engine = optarg;
		else if (c == 'f')
			ret->fetch_socket = optarg;
		else if (c == 'd')
			ret->debug = true;
		else if (c == 'v')
			puts("pulletd " PULLET_VERSION);
		if (c == 'h' || c == 'v' || c == '?') {
			*ret_status = c == 'h' ? usage(stdout, 0) : c == 'v' ? 0 : usage(stderr, 2);
			return -1;
		}
	}
	ret->names = (const char *const *)(argv + optind);
	if (!ret->once && (ret->names[0] || ret->json)) {
		log_error("%s is for --once", ret->json ? "--json" : "a container's NAME");
		*ret_status = usage(stderr, 2);
		return -1;
	}
	if (ret->engine && !config_engine_path(ret->engine)) {
		log_error("--engine: '%s' is not of the form unix:///PATH", ret->engine);
		*ret_status = 2;
		return -1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct agent_options o = {
		.config_path = CONFIG_PATH_DEFAULT,
		.state_dir = CONFIG_STATE_DIR_DEFAULT,
	};
	struct config *config;
	struct error e;
	int status = 2;

	if (parse_arguments(argc, argv, &o, &status) < 0)
		return status;
	if (o.debug)
		log_set_level(LOG_LEVEL_DEBUG);
	if (config_load(o.config_path, &config, &e) < 0) {
		log_error("%s", e.text);
		return 2;
	}
	for (const char *const *name = o.names; *name; name++) {
		if (!config_container(config, *name)) {
			log_error("%s has no [container %s]", o.config_path, *name);
			config_free(config);
			return 2;
		}
	}
	return agent_run(&o, config);
}
