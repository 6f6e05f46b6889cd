/* SPDX-License-Identifier: MIT */
/* pullet adopt: what is not followed, as configuration. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

#include "client.h"
#include "command.h"
#include "config.h"
#include "log.h"

#define ADOPTED	    "adopted.conf"
#define FILE_MAX    ((size_t)256 * 1024) /* as config.c reads it */
#define NAMES_SHOWN 4

/* --- the hint --- */

/* Those that are up: what has ended may stay where it is. */
static size_t count_up(const json_t *found)
{
	const json_t *v;
	size_t i, n = 0;

	json_array_foreach (found, i, v) {
		const char *state = json_get_string(v, "state");

		n += streq_null(state, "running") || streq_null(state, "restarting");
	}
	return n;
}

static char *hint_empty(struct client *c)
{
	_cleanup_json_ json_t *found = NULL;
	struct error ignored;
	size_t n = client_survey(c, &found, &ignored) == 0 ? count_up(found) : 0;

	return n > 0 ? xasprintf(
			       "no container is followed yet; %zu run%s here: pullet adopt --write",
			       n, n == 1 ? "s" : "")
		     : xstrdup(ADOPT_EMPTY);
}

char *adopt_hint(struct client *c)
{
	size_t n = json_array_size(c->unfollowed), i;
	_cleanup_free_ char *names = xstrdup("");
	const json_t *name;

	if (c->list.n == 0)
		return hint_empty(c);
	if (n == 0)
		return NULL;
	if (n > NAMES_SHOWN)
		return xasprintf("%zu containers of this machine are not followed: pullet adopt",
				 n);
	json_array_foreach (c->unfollowed, i, name) {
		char *more = xasprintf("%s%s%s", names, i ? ", " : "", json_string_value(name));

		free(names);
		names = text_printable(more);
	}
	return xasprintf("not followed: %s; to follow: pullet adopt", names);
}

/* --- the sections --- */

static bool is_named(const char *const *names, const char *name)
{
	while (*names && !streq(*names, name))
		names++;
	return *names;
}

static bool is_adopted(const struct command_options *o, const char *const *names, const json_t *v)
{
	return !json_get_string(v, "reason") && (!json_get_string(v, "doubt") || o->all ||
						 is_named(names, json_get_string(v, "container")));
}

/* One line that the configuration takes, whatever the text is: an image may write labels. */
static void put_line(FILE *f, const char *fmt, ...) format_printf(2, 3);
static void put_line(FILE *f, const char *fmt, ...)
{
	char line[2000];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	fprintf(f, "%s\n", text_printable(line));
}

static void put_section(FILE *f, const json_t *v, bool adopted)
{
	const char *service = json_get_string(v, "service") ?: "";
	const char *reason = json_get_string(v, "reason"), *doubt = json_get_string(v, "doubt");
	const char *mark = adopted ? "" : "#";

	if (service[0])
		put_line(f, "# compose project %s, service %s", json_get_string(v, "project") ?: "",
			 service);
	if (reason)
		put_line(f, "# cannot be followed: %s", reason);
	else if (doubt)
		put_line(f, "# %s: %s", adopted ? "note" : "left out", doubt);
	put_line(f, "%s[container %s]", mark, json_get_string(v, "container"));
	put_line(f, "%simage = %s", mark, json_get_string(v, "image") ?: "");
	putc('\n', f);
}

/* What is printed, or what is written: without those that only a comment is about. Caller frees. */
static char *make_text(const struct command_options *o, const char *const *names,
		       const json_t *found)
{
	char *text = NULL;
	size_t size, i;
	FILE *f = open_memstream(&text, &size);
	const json_t *v;

	if (!f)
		abort();
	json_array_foreach (found, i, v) {
		bool adopted = is_adopted(o, names, v);

		if ((adopted || !o->write) &&
		    (!names[0] || is_named(names, json_get_string(v, "container"))))
			put_section(f, v, adopted);
	}
	if (fclose(f) != 0)
		abort();
	return text;
}

/* --- the file --- */

/* Puts text behind what adopted.conf has, if the whole configuration is valid with it. */
static int add_to_config(const char *config_path, const char *text, struct error *ret_error)
{
	_cleanup_free_ char *dir = path_beside(config_path, "conf.d");
	_cleanup_free_ char *fresh = xasprintf("%s/" ADOPTED ".new", dir);
	_cleanup_free_ char *old = NULL, *whole = NULL;
	_cleanup_config_ struct config *checked = NULL;
	_cleanup_close_ int fd = -1;
	int r;

	(void)umask(022);
	(void)mkdir(dir, 0755);
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r = fd < 0 ? -errno : read_file_at(fd, ADOPTED, FILE_MAX, &old, NULL);
	if (r == 0 || r == -ENOENT) {
		whole = xasprintf("%s%s%s", old ?: "", old && !has_suffix(old, "\n") ? "\n" : "",
				  text);
		r = fd < 0 ? r
			   : write_file_atomic_at(fd, ADOPTED ".new", 0644, whole, strlen(whole));
	}
	if (r < 0)
		return error_set(ret_error, r, "%s/" ADOPTED ": %s%s", dir, strerror(-r),
				 r == -EACCES ? "; try: sudo pullet adopt --write" : "");
	r = config_load_with(config_path, fresh, &checked, ret_error);
	if (r == 0 && (renameat(fd, ADOPTED ".new", fd, ADOPTED) < 0 || fsync(fd) < 0))
		r = error_set(ret_error, -errno, "%s/" ADOPTED ": %m", dir);
	if (r < 0)
		(void)unlinkat(fd, ADOPTED ".new", 0);
	return r;
}

/* Asks pulletd, which reads the configuration again for it, and tells of each container what became of it. */
static int show_followed(const struct command_options *o, struct client *c,
			 const char *const *names, const json_t *found)
{
	_cleanup_json_ json_t *left = NULL;
	struct error e;
	const json_t *v;
	size_t i;
	int status = 0;

	if (client_survey(c, &left, &e) < 0 || client_list(c, &e) < 0)
		log_error("%s", e.text);
	json_array_foreach (found, i, v) {
		const char *name = json_get_string(v, "container");
		const char *why = json_get_string(v, "reason") ?: json_get_string(v, "doubt");
		bool followed = status_list_find(&c->list, name);

		if (names[0] && !is_named(names, name))
			continue;
		if (is_adopted(o, names, v))
			why = c->config_error ?: "pulletd reads another configuration";
		put_line(stdout, "%s: %s%s", name,
			 followed ? "followed now" : "not followed: ", followed ? "" : why);
		status |= !followed && (names[0] || is_adopted(o, names, v));
	}
	return status;
}

/* --- the command --- */

static const json_t *find(const json_t *found, const char *key, const char *value)
{
	const json_t *v;
	size_t i;

	json_array_foreach (found, i, v) {
		if (streq_null(json_get_string(v, key), value))
			return v;
	}
	return NULL;
}

/* Whether each name is of a container that is not followed; else after an error message. */
static bool check_names(const struct client *c, const json_t *found, const char *const *names)
{
	bool all = true;

	for (; *names; names++) {
		const json_t *of_service = **names ? find(found, "service", *names) : NULL;

		if (find(found, "container", *names))
			continue;
		all = false;
		if (status_list_find(&c->list, *names))
			log_error("%s: it is followed already; see: pullet status %s", *names,
				  *names);
		else if (of_service)
			log_error("there is no container '%s' in the engine; there is %s, whose "
				  "compose service is %s",
				  *names, json_get_string(of_service, "container"), *names);
		else
			log_error("there is no container '%s' in the engine; for a list: docker "
				  "ps --all",
				  *names);
	}
	return all;
}

static int adopt(const struct command_options *o, struct client *c, const char *const *names,
		 const json_t *found)
{
	_cleanup_free_ char *text = NULL;
	struct error e;
	json_t *v;
	size_t i;

	if (!check_names(c, found, names))
		return 2;
	json_array_foreach (found, i, v) {
		if (o->json && (!names[0] || is_named(names, json_get_string(v, "container"))))
			command_print_json(json_incref(v));
	}
	if (json_array_size(found) == 0 && !o->json)
		log_info("every container of the engine is followed");
	text = make_text(o, names, found);
	if (!o->write && !o->json)
		fputs(text, stdout);
	if (!o->write)
		return 0;
	if (text[0] && add_to_config(o->config, text, &e) < 0) {
		log_error("%s", e.text);
		return e.code == -EINVAL ? 2 : 1;
	}
	return show_followed(o, c, names, found);
}

int command_adopt(const struct command_options *o, const char *const *names)
{
	_cleanup_json_ json_t *found = NULL;
	struct client c;
	struct error e;
	int status = 1;

	if (client_open(&c, &e) < 0) {
		log_error("%s", e.text);
		return 1;
	}
	if (!c.up)
		log_error("pulletd is not running; to start it: systemctl start pulletd");
	else if (client_survey(&c, &found, &e) < 0)
		log_error("%s", e.text);
	else
		status = adopt(o, &c, names, found);
	client_close(&c);
	return status;
}
