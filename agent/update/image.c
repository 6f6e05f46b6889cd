/* SPDX-License-Identifier: MIT */
#include "image.h"

#include <errno.h>

#include "candidate.h"
#include "download.h"
#include "spool.h"

/* The image must be the target, and this machine must be able to run it. */
static int check_image(const struct pass *p, const json_t *image, struct error *ret_error)
{
	const struct release *target = &p->record.target;
	const struct fetch_reply *reply = &p->state.answer.reply;
	const char *id = json_get_string(image, "Id");
	struct oci_platform got = {0};

	/* An image that ran here before is known by its Id. */
	if (!world_has_digest(image, release_pulled(target)) &&
	    !(target->image[0] && streq_null(id, target->image)))
		return error_set(ret_error, -EKEYREJECTED,
				 "the engine does not list %s among the image's RepoDigests",
				 release_pulled(target)->text);
	/* The index may offer the engine another manifest than the one that was checked. The engine is not asked for that
	 * one by its digest: it would list the image under it alone, and no longer under what the tag points to. */
	if (!candidate_is_chosen(reply, image))
		return error_set(ret_error, -EKEYREJECTED,
				 "the engine has another image than the manifest %s, which was "
				 "checked (another platform's, or other layers)",
				 target->manifest.text);
	copy_text(got.os, sizeof(got.os), json_get_string(image, "Os"));
	copy_text(got.architecture, sizeof(got.architecture),
		  json_get_string(image, "Architecture"));
	copy_text(got.variant, sizeof(got.variant), json_get_string(image, "Variant"));
	return candidate_check_platform(p, &got, ret_error);
}

/* The image came in whole and cannot be used: it is not pulled again. A rollback's ran here before. */
static int refuse_image(struct pass *p, struct error *ret_error)
{
	const struct release *target = &p->record.target;

	ret_error->code = -EKEYREJECTED;
	return p->record.rollback
		       ? -EKEYREJECTED
		       : candidate_refuse(p, &target->digest, &target->manifest, ret_error);
}

const struct oci_platform *image_choice(const struct pass *p, struct oci_platform *ret)
{
	return platform_parse(p->record.platform, ret) == 0 ? ret : NULL;
}

static int pull(struct pass *p, size_t *ret_found, struct error *ret_error)
{
	p->pull.bytes_max = p->state.answer.reply.layer_bytes;
	copy_text(p->pull.platform, sizeof(p->pull.platform), p->record.platform);
	return engine_pull(p->context.engine, p->context.ref, p->verified, &p->pull, ret_found,
			   ret_error);
}

/* Brings the image in by the spool, or lets the engine pull it. */
static int bring(struct pass *p, const char *pinned, size_t *ret_found, struct error *ret_error)
{
	int q;

	if (!p->verified ||
	    !digest_eq(verified_digest(p->verified), release_pulled(&p->record.target)))
		return error_set(ret_error, -EKEYREJECTED, "%s was not verified in this pass",
				 pinned);
	q = download_is_spooled(p) ? download_image(p, ret_found, ret_error) : -ENODATA;
	if (q != -ENODATA)
		return q;
	p->state.by_engine = true;
	return pull(p, ret_found, ret_error);
}

/* After a power cut: whether the engine was given the image before it, and may keep what was not synced. */
static bool may_have_parts(const struct pass *p)
{
	_cleanup_close_ int spool = -1;
	struct error ignored;
	size_t found;

	if (!download_is_spooled(p))
		return true;
	spool = spool_open(p->task->state_dir, &ignored);
	return spool < 0 || spool_get_load(spool, p->c->name, &found) != -ENOENT;
}

/* -EKEYREJECTED also if it is larger than may be read. */
static int inspect_and_check(const struct pass *p, const char *reference, json_t **ret,
			     struct error *ret_error)
{
	struct oci_platform choice;
	_cleanup_json_ json_t *image = NULL;
	int q = engine_inspect_platform(p->context.engine, reference, image_choice(p, &choice),
					&image, ret_error);

	if (world_is_unreadable(q))
		q = ret_error->code = -EKEYREJECTED;
	if (q == 0)
		q = check_image(p, image, ret_error);
	if (q == 0)
		*ret = steal(image);
	return q;
}

int image_fetch(struct pass *p, struct error *ret_error)
{
	const struct record *r = &p->record;
	struct pass_state *m = &p->state;
	_cleanup_free_ char *pinned = ref_pinned(p->context.ref, release_pulled(&r->target));
	_cleanup_json_ json_t *image = NULL;
	bool here = p->world.image[0] != '\0';
	/* After a lost record or a failure of the store, an image that is here may be incomplete. */
	bool doubted = m->recovered || digest_is_set(&m->saved_spec) ||
		       digest_eq(&r->target.digest, &r->damage.digest);
	bool cut = !streq(r->boot_id, p->world.boot_id) && may_have_parts(p);
	size_t found = 0;
	int q = -EKEYREJECTED;

	/* An image that is here is complete as long as the machine stayed up, but may not be on the disk yet. */
	if (here) {
		engine_sync(p->context.engine);
		q = inspect_and_check(p, p->world.image, &image, ret_error);
		/* containerd's store: another platform's image of the same index is here. */
		here = (q != -EKEYREJECTED && q != -ENOENT) ||
		       !streq(p->world.image, r->target.digest.text) || !p->verified;
	}
	if (!here) {
		q = bring(p, pinned, &found, ret_error);
		if (q == 0 && m->pause[0])
			return 0;
		if (q == 0)
			q = inspect_and_check(p, pinned, &image, ret_error);
	}
	if (q == -EKEYREJECTED)
		return refuse_image(p, ret_error);
	if (q < 0)
		return q;
	m->fetched = true;
	m->followers_known = false; /* the download may have taken hours */
	m->drop_tried &= here;
	/* Layers that outlive a drop belong to another image. After a pull that was cut short no layer is trusted:
	 * the engine may notice only after unpacking one that it had it already. */
	if (m->dropped)
		m->untrusted = false;
	else if (here)
		m->untrusted = cut || doubted;
	else
		m->untrusted = cut || !engine_layers_are_trusted(p->context.engine, image, found);
	return 0;
}
