/* SPDX-License-Identifier: MIT */
/* config: pullet.conf and its drop-ins (conf.d, *.conf beside it, by name, after it). INI whose every
 * unknown key or section is an error with file and line. Settings of containers come from here
 * alone, never from labels: an image can write labels. */
#pragma once

#include "calendar.h"
#include "error.h"

#define CONFIG_PATH_DEFAULT	 "/etc/pullet/pullet.conf"
#define CONFIG_STATE_DIR_DEFAULT "/var/lib/pullet"

enum health_kind {
	HEALTH_AUTO,
	HEALTH_HEALTHCHECK,
	HEALTH_RUNNING,
	HEALTH_EXIT,
};

enum rollout_rule {
	ROLLOUT_AUTO,	  /* obeys a policy that is there */
	ROLLOUT_REQUIRED, /* takes nothing without one */
	ROLLOUT_NO,	  /* does not ask */
};

struct registry_config {
	char *host; /* as in image references: "registry.example:5000", "docker.io" */
	bool insecure;
	bool insecure_set; /* the key stands in the file */
	char *ca;	   /* path of a PEM file, or NULL */
	char *credentials; /* path of a file in the form of docker's config.json, or NULL */
};

struct container_config {
	char *name;
	char *origin; /* "FILE:LINE" of its section */
	char *image;
	enum health_kind health;
	uint64_t health_period_ms;
	int stop_timeout_s; /* -1: what the container itself says */
	char *create;	    /* path of a create body, or NULL */
	char **keys;	    /* NULL-terminated paths, or NULL */
	struct window_list windows, download_windows;
	uint64_t min_age_ms; /* since this device saw it first */
	enum rollout_rule rollout;
	bool hold;
};

/* Where this device tells how it is. */
struct report_config {
	char *url;	   /* of an OpenTelemetry collector, without a '/' at its end; NULL: none */
	char *ca;	   /* path of a PEM file, or NULL */
	char *credentials; /* path, or NULL */
	uint64_t interval_ms; /* between metrics; 0: after each poll only */
	char *textfile;	      /* path, or NULL */
};

struct config {
	uint64_t interval_ms;
	unsigned int jitter_percent; /* 0 to 100 */
	char *engine;		     /* path of a unix socket */
	char *ring;		     /* of rollouts; NULL: none */
	char *device_id;	     /* NULL: the machine's */
	struct report_config report;
	struct registry_config *registries;
	size_t n_registries;
	struct container_config *containers;
	size_t n_containers;
};

/* Reads path and its drop-ins; an error's text is "FILE:LINE: what is wrong". The caller owns
 * ret (config_free). */
int config_load(const char *path, struct config **ret, struct error *ret_error) warn_unused;
void config_free(struct config *c);

/* Reads on behind each fault and tells it; never NULL, and good for nothing else when there was one. */
struct config *config_read(const char *path, void (*tell)(void *userdata, const char *fault),
			   void *userdata);

/* NULL when there is none of that name. Borrowed. */
const struct container_config *config_container(const struct config *c, const char *name);
const struct registry_config *config_registry(const struct config *c, const char *host);

/* "unix:///run/docker.sock" to the path in it; NULL for anything else. Borrowed from url. */
const char *config_engine_path(const char *url);
