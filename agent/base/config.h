/* SPDX-License-Identifier: MIT */
/* config: pullet.conf, then its drop-ins in conf.d beside it, by name. An unknown key or section is an error with file
 * and line. No setting comes from labels: an image can set those. */
#pragma once

#include "calendar.h"
#include "error.h"

#define CONFIG_PATH_DEFAULT	 "/etc/pullet/pullet.conf"
#define CREDENTIAL_STORE	 "/etc/credstore" /* of systemd's credentials: for root alone */
#define CONFIG_STATE_DIR_DEFAULT "/var/lib/pullet"

enum health_kind {
	HEALTH_AUTO,
	HEALTH_HEALTHCHECK,
	HEALTH_RUNNING,
	HEALTH_EXIT,
};

enum rollout_rule {
	ROLLOUT_AUTO,	  /* a policy is optional */
	ROLLOUT_REQUIRED, /* no update without a policy */
	ROLLOUT_NO,	  /* policies are ignored */
};

enum copied_rule {
	COPIED_REFUSE, /* files that look as if compose had put them into the container are refused */
	COPIED_IGNORE, /* they are the application's own */
};

struct registry_config {
	char *host; /* as in image references: "registry.example:5000", "docker.io" */
	bool insecure;
	bool insecure_set;  /* the key is in the file */
	char *ca;	    /* path of a PEM file, or NULL */
	char *credentials;  /* path of a file in the form of docker's config.json, or NULL */
	char *token_server; /* URL whose origin may see the credentials, or NULL */
	char *mirror;	    /* URL that is asked first, or NULL */
};

struct container_config {
	char *name;
	char *origin; /* "FILE:LINE" of its section */
	char *image;
	enum health_kind health;
	uint64_t health_period_ms;
	int stop_timeout_s; /* -1: the container's own */
	char *create;	    /* path of a create body, or NULL */
	char **keys;	    /* NULL-terminated paths, or NULL */
	struct window_list windows, download_windows;
	uint64_t min_age_ms; /* since this device first saw the digest */
	enum rollout_rule rollout;
	enum copied_rule copied;
	bool hold;
};

/* The section [report]. */
struct report_config {
	char *url;	   /* of an OpenTelemetry collector, without a trailing '/'; NULL: none */
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
	char *device_id;	     /* NULL: the machine id */
	struct report_config report;
	struct registry_config *registries;
	size_t n_registries;
	struct container_config *containers;
	size_t n_containers;
	uint64_t fingerprint; /* of the text of all files */
};

/* That of an empty file. config_free(). */
struct config *config_new(void);

/* Reads path and its drop-ins; the first error begins with "FILE:LINE: ". The caller owns ret (config_free). */
int config_load(const char *path, struct config **ret, struct error *ret_error) warn_unused;
void config_free(struct config *c);

/* Calls report, which may be NULL, for each error. Never NULL; incomplete after an error. config_free(). */
struct config *config_read(const char *path, void (*report)(void *userdata, const char *text),
			   void *userdata);

/* By name; NULL when there is none. Borrowed. */
const struct container_config *config_container(const struct config *c, const char *name);
const struct registry_config *config_registry(const struct config *c, const char *host);

/* The path in "unix:///run/docker.sock"; NULL for anything else. Borrowed from url. */
const char *config_engine_path(const char *url);

static inline void cleanup_config_p(struct config **c)
{
	config_free(*c);
}
#define _cleanup_config_ _cleanup_(cleanup_config_p)
