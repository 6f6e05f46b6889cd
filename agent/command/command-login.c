/* SPDX-License-Identifier: MIT */
/* Writes and removes the files of auth.d (login.h): the login of one registry each. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "command.h"
#include "config.h"
#include "fetch.h"
#include "log.h"
#include "login.h"
#include "program.h"
#include "ref.h"

#define PASSWORD_MAX ((size_t)16 * 1024)
#define FILE_MAX     ((size_t)256 * 1024)
#define HOST_KEY     "/var/lib/systemd/credential.secret"
/* The drop-in of packaging/examples, without which the services load nothing that is encrypted. */
#define DROP_IN "/etc/systemd/system/pullet-fetch@.service.d/encrypted-logins.conf"

/* What a command works on. */
struct place {
	const char *command;
	char *host, *name;
	char *plain, *encrypted; /* directories */
};

static void place_free(struct place *p)
{
	free(p->host);
	free(p->name);
	free(p->plain);
	free(p->encrypted);
}

/* Takes what "docker login" takes: a scheme and a path do not count. Exit status. */
static int place_find(const struct command_options *o, const char *text, struct place *ret)
{
	const char *host = after_prefix(text, "https://") ?: after_prefix(text, "http://") ?: text;
	_cleanup_free_ char *name = xstrndup(host, strcspn(host, "/"));
	_cleanup_free_ char *image = xasprintf("%s/login", name);
	_cleanup_(ref_free) struct ref ref = {0};
	const char *why;

	if (ref_parse(image, &ref, &why) < 0 || !streq(ref.host, name)) {
		log_error("'%s' is no registry: %s", text,
			  why ?: "its host has a dot or a port, as in registry.example:5000");
		return 2;
	}
	*ret = (struct place){
		.command = o->command,
		.host = xstrdup(streq(login_key(name), name) ? name : "docker.io"),
		.plain = login_directory(o->config),
	};
	ret->name = login_file(ret->host);
	ret->encrypted = xasprintf("%s.encrypted", ret->plain);
	return 0;
}

/* -errno after an error message. */
static int open_directory(const struct place *p, const char *path)
{
	int fd;

	(void)mkdir(path, 0700);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0 && faccessat(fd, ".", W_OK, AT_EACCESS) == 0)
		return fd;
	log_error("%s: %m%s%s %s", path, errno == EACCES ? "; try: sudo pullet " : "",
		  errno == EACCES ? p->command : "", errno == EACCES ? p->host : "");
	if (fd >= 0)
		close(fd);
	return -EACCES;
}

/* All of standard input, cut at max bytes. The caller owns the result. */
static char *read_pipe(size_t max, size_t *ret_n)
{
	char *text = xcalloc(1, max + 1);

	*ret_n = fread(text, 1, max, stdin);
	return text;
}

/* The caller owns the result, without the newline behind it. */
static char *read_password(void)
{
	size_t n;
	char *text = read_pipe(PASSWORD_MAX, &n);

	if (n > 0 && text[n - 1] == '\n')
		text[--n] = '\0';
	if (n > 0 && text[n - 1] == '\r')
		text[--n] = '\0';
	return text;
}

static char *ask_user(void)
{
	char *line = NULL;
	size_t size = 0;

	(void)fputs("User name: ", stderr);
	if (getline(&line, &size, stdin) > 0)
		line[strcspn(line, "\n")] = '\0';
	return line;
}

/* {"auths"}, as docker's config.json has it; NULL: not UTF-8. A helper's user name for an identity token is "<token>". */
static json_t *make_logins(const char *host, const char *user, const char *password)
{
	if (streq(user, "<token>"))
		return json_pack("{s:{s:{s:s}}}", "auths", login_key(host), "identitytoken",
				 password);
	return json_pack("{s:{s:{s:s, s:s}}}", "auths", login_key(host), "username", user,
			 "password", password);
}

/* NULL after an error message. */
static json_t *ask(const struct command_options *o, const char *host)
{
	bool terminal = isatty(STDIN_FILENO) && !o->password_stdin;
	_cleanup_free_ char *user = o->user ? xstrdup(o->user) : terminal ? ask_user() : NULL;
	char *password;
	json_t *j = NULL;

	if (!user || !*user) {
		log_error("missing option --user; see: pullet login --help");
		return NULL;
	}
	password = terminal ? getpass("Password: ") : read_password();
	if (password && *password)
		j = make_logins(host, user, password);
	if (!j)
		log_error(password && *password ? "user name and password must be UTF-8"
						: "the password is empty");
	if (password)
		explicit_bzero(password, strlen(password));
	if (!terminal)
		free(password);
	return j;
}

/* The entries of docker's config.json for this registry, and for no other. */
static json_t *select_logins(const json_t *j, const char *host)
{
	json_t *auths = json_need(json_object()), *value;
	const char *key;

	json_object_foreach (json_object_get(j, "auths"), key, value) {
		_cleanup_free_ char *scope = login_scope(key, host);

		if (scope)
			json_put(auths, key, json_incref(value));
	}
	return json_need(json_pack("{s:o, s:O*, s:O*}", "auths", auths, "credsStore",
				   json_object_get(j, "credsStore"), "credHelpers",
				   json_object_get(j, "credHelpers")));
}

/* From docker's config.json, or from what "docker-credential-NAME get" writes. NULL after an error message. */
static json_t *read_logins(const char *path, const char *host)
{
	_cleanup_json_ json_t *j = NULL;
	const char *user, *secret;
	char *data = NULL;
	struct error e;
	size_t n = 0;
	int r = 0;

	if (streq(path, "-"))
		data = read_pipe(FILE_MAX, &n);
	else
		r = read_file_at(AT_FDCWD, path, FILE_MAX, &data, &n);
	if (r < 0) {
		log_error("%s: %s", path, strerror(-r));
		return NULL;
	}
	r = json_parse(data, n, path, &j, &e);
	explicit_bzero(data, n);
	free(data);
	if (r < 0 || !json_is_object(j)) {
		log_error("%s: not the JSON of docker's config.json or of a credential helper",
			  path);
		return NULL;
	}
	user = json_get_string(j, "Username");
	secret = json_get_string(j, "Secret");
	return user && secret ? make_logins(host, user, secret) : select_logins(j, host);
}

/* Lets pullet-fetch send them to the registry. Exit status. */
static int try_logins(const struct command_options *o, const struct place *p, const char *from,
		      json_t *logins)
{
	const struct fetch_options options = {.config = o->config, .role = "--login"};
	_cleanup_fetch_ struct fetch *fetch = fetch_new(&options, p->host);
	_cleanup_free_ char *image = xasprintf("%s/login", p->host);
	_cleanup_json_ json_t *ignored = NULL,
			      *question = json_need(json_pack("{s:s, s:s, s:s?, s:O}", "op",
							      "login", "image", image, "from",
							      streq_null(from, "-") ? NULL : from,
							      "logins", logins));
	struct error e;
	bool named;

	if (fetch_ask_publish(fetch, question, &ignored, &e) == 0)
		return 0;
	named = after_prefix(e.text, p->host);
	/* An error of the connection begins with its host. */
	log_error("%s%s%s; nothing was written", named ? "" : p->host, named ? "" : ": ", e.text);
	return 1;
}

/* Whether the services load what is encrypted, and systemd-creds has a key of this machine: it is not to make one. */
static bool has_key(void)
{
	const char *const argv[] = {SYSTEMD_CREDS, "has-tpm2", "--quiet", NULL};
	char *ignored = NULL;
	size_t n;
	struct error e;
	bool tpm;

	if (access(DROP_IN, F_OK) < 0)
		return false;
	tpm = program_filter(argv, "", 0, &ignored, &n, &e) == 0;
	free(ignored);
	return tpm || (access(HOST_KEY, F_OK) == 0 && access(SYSTEMD_CREDS, X_OK) == 0);
}

/* Not bound to the state of the firmware, whose update would end all of pullet's. */
static int encrypt(const struct place *p, const char *text, char **ret, size_t *ret_n)
{
	_cleanup_free_ char *name = xasprintf("--name=" LOGIN_ENCRYPTED "%s", p->name);
	const char *const argv[] = {SYSTEMD_CREDS, "encrypt", name, "--tpm2-pcrs=", "-", "-", NULL};
	struct error e;
	int r = has_key() ? program_filter(argv, text, strlen(text), ret, ret_n, &e) : -ENOKEY;

	if (r < 0 && r != -ENOKEY)
		log_warning("%s; the login is written without encryption", e.text);
	return r;
}

static void remove_from(const char *directory, const char *name)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", directory, name);

	if (unlink(path) < 0 && errno != ENOENT)
		log_warning("%s: %m", path);
}

/* Exit status. */
static int save(const struct place *p, const char *text)
{
	char *secret = NULL;
	size_t n = 0;
	bool encrypted = encrypt(p, text, &secret, &n) == 0;
	const char *directory = encrypted ? p->encrypted : p->plain;
	_cleanup_close_ int fd = open_directory(p, directory);
	int r = fd < 0 ? fd
		       : write_file_atomic_at(fd, p->name, 0600, encrypted ? secret : text,
					      encrypted ? n : strlen(text));

	free(secret);
	if (r < 0) {
		log_error("%s/%s: %s", directory, p->name, strerror(-r));
		return 1;
	}
	remove_from(encrypted ? p->plain : p->encrypted, p->name);
	printf("%s: login succeeded, written to %s/%s\n", p->host, directory, p->name);
	return 0;
}

/* A section's own credentials count before auth.d. */
static void warn_of_section(const struct command_options *o, const char *host)
{
	_cleanup_config_ struct config *config = config_read(o->config, NULL, NULL);
	const struct registry_config *rc = config_registry(config, host);

	if (rc && rc->credentials)
		log_warning("[registry %s] has credentials = %s, which counts before this login: "
			    "remove that line",
			    host, rc->credentials);
}

int command_login(const struct command_options *o, const char *const *operands)
{
	_cleanup_(place_free) struct place p = {0};
	_cleanup_json_ json_t *logins = NULL;
	_cleanup_free_ char *text = NULL;
	int status = place_find(o, operands[0], &p), fd;

	if (status)
		return status;
	if (o->from && (o->user || o->password_stdin)) {
		log_error("options --from and --user are mutually exclusive");
		return 2;
	}
	fd = open_directory(&p, p.plain);
	if (fd < 0)
		return 1;
	close(fd);
	logins = o->from ? read_logins(o->from, p.host) : ask(o, p.host);
	if (!logins)
		return 2;
	status = try_logins(o, &p, o->from, logins);
	if (status)
		return status;
	(void)json_object_del(logins, "credsStore");
	(void)json_object_del(logins, "credHelpers");
	text = json_text(logins, JSON_COMPACT);
	status = save(&p, text);
	explicit_bzero(text, strlen(text));
	if (status == 0)
		warn_of_section(o, p.host);
	return status;
}

int command_logout(const struct command_options *o, const char *const *operands)
{
	_cleanup_(place_free) struct place p = {0};
	int status = place_find(o, operands[0], &p), gone = 0;

	if (status)
		return status;
	for (int i = 0; i < 2; i++) {
		_cleanup_free_ char *path = xasprintf("%s/%s", i ? p.encrypted : p.plain, p.name);

		gone += unlink(path) == 0;
		if (errno != ENOENT && !gone) {
			log_error("%s: %m%s%s", path,
				  errno == EACCES ? "; try: sudo pullet logout " : "",
				  errno == EACCES ? p.host : "");
			return 1;
		}
	}
	if (gone)
		return 0;
	log_error("%s: %s/%s does not exist: there is no login to remove", p.host, p.plain, p.name);
	return 1;
}
