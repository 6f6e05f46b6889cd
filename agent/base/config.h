/* SPDX-License-Identifier: MIT */
/* config: pullet.conf, then its drop-ins in conf.d beside it, by name. An unknown key or section is an error with file
 * and line. No setting comes from labels: an image can set those. */
#pragma once

#include "calendar.h"
#include "error.h"
#include "json.h"
#include "order.h"

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

enum update_rule {
	UPDATE_TAKE,
	UPDATE_TELL, /* the schedule only looks; an operator takes it */
};

enum download_way {
	DOWNLOAD_SPOOL,	 /* pullet-fetch brings the layers into the spool */
	DOWNLOAD_ENGINE, /* the engine pulls */
};

enum copied_rule {
	COPIED_REFUSE, /* files that look as if compose had put them into the container are refused */
	COPIED_IGNORE, /* they are the application's own */
};

/* Units that are started around the swap, and whose exit status counts. */
enum hook_kind {
	HOOK_BEFORE, /* not 0: the update is deferred */
	HOOK_HEALTH, /* not 0: the update is rolled back */
	HOOK_AFTER,  /* told only */
	HOOK_MAX,
};

struct hook {
	char *unit; /* "NAME.service", or a template "NAME@.service"; NULL: none */
	uint64_t timeout_ms;
};

enum hook_then {
	HOOK_GO_ON,   /* after before-unit-deferrals the update is made all the same */
	HOOK_GIVE_UP, /* that version is left alone */
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

/* after = NAME */
struct after {
	char *name;
	char *origin; /* "FILE:LINE" */
};

struct container_config {
	char *name;
	char *origin; /* "FILE:LINE" of its section */
	char *image;
	enum health_kind health;
	uint64_t health_period_ms;
	int stop_timeout_s;	    /* -1: the container's own */
	char *create;		    /* path of a create body, or NULL */
	char **keys;		    /* NULL-terminated paths of valid public keys, or NULL */
	unsigned int key_threshold; /* different keys that must have signed */
	char **revoked;		    /* NULL-terminated paths of valid lists, or NULL */
	struct window_list windows, download_windows;
	uint64_t min_age_ms; /* since this device first saw the digest */
	enum update_rule update;
	enum rollout_rule rollout;
	enum copied_rule copied;
	bool hold;
	struct hook hooks[HOOK_MAX];
	unsigned int before_deferrals; /* 0: any number */
	enum hook_then before_then;
	struct after *after;
	size_t n_after;
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
	unsigned int jitter_percent;	   /* 0 to 100 */
	char *engine;			   /* path of a unix socket */
	char *ring;			   /* of rollouts; NULL: none */
	char *device_id;		   /* NULL: the machine id */
	uint64_t speed;			   /* of downloads, bytes a second; 0: any */
	uint64_t budget_day, budget_month; /* bytes both ways; 0: none */
	enum download_way download;
	bool deltas;   /* a delta is taken where there is one */
	char **notify; /* units as in struct hook, NULL-terminated, or NULL */
	struct report_config report;
	struct registry_config *registries;
	size_t n_registries;
	struct container_config *containers;
	size_t n_containers;
	char *auth_dir;	      /* of logins: login.h */
	uint64_t fingerprint; /* of the text of all files */
};

/* That of an empty file. config_free(). */
struct config *config_new(void);

/* Reads path and its drop-ins; the first error begins with "FILE:LINE: ". The caller owns ret (config_free). */
int config_load(const char *path, struct config **ret, struct error *ret_error) warn_unused;
/* The same, with one more drop-in behind them. */
int config_load_with(const char *path, const char *drop_in, struct config **ret,
		     struct error *ret_error) warn_unused;
void config_free(struct config *c);

/* Calls report, which may be NULL, for each error. Never NULL; incomplete after an error. config_free(). */
struct config *config_read(const char *path, void (*report)(void *userdata, const char *text),
			   void *userdata);

/* The keys in force as an array of {"section", "name", "key", "value", "origin"}, grouped by section. name is "" for a
 * section without one. origin is "FILE:LINE", and null for a default; a key that has neither value nor default is left
 * out. A path is absolute. Errors as config_load(). The caller owns *ret. */
int config_settings(const char *path, json_t **ret, struct error *ret_error) warn_unused;
/* What the containers say by after =, as numbers in c->containers. Returns their number; the caller frees *ret. */
size_t config_dependencies(const struct config *c, struct dependency **ret);
/* "a circle: web, api, web" of what order_sort() found. Caller frees. */
char *config_circle(const struct config *c, const size_t *circle, size_t n);

/* By name; NULL when there is none. Borrowed. */
const struct container_config *config_container(const struct config *c, const char *name);
const struct registry_config *config_registry(const struct config *c, const char *host);

/* Why no section can have that name; NULL: one can. Static. */
const char *config_name_fault(const char *name);

/* The path in "unix:///run/docker.sock"; NULL for anything else. Borrowed from url. */
const char *config_engine_path(const char *url);

static inline void cleanup_config_p(struct config **c)
{
	config_free(*c);
}
#define _cleanup_config_ _cleanup_(cleanup_config_p)
