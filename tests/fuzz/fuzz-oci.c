/* SPDX-License-Identifier: MIT */
#include "crypto.h"
#include "oci.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const struct oci_platform host = {"linux", "arm64", "v8"};
	struct digest d = hash_bytes(data, n);
	struct oci_artifact artifact;
	struct oci_document document;
	char text[96];
	struct error e;

	if (oci_parse_artifact((const char *)data, n, NULL, "application/x", &artifact, &e) == 0) {
		struct digest got = {0};

		if (artifact.data)
			got = hash_bytes(artifact.data, artifact.size);
		if (artifact.data && !digest_eq(&got, &artifact.digest))
			abort();
		free(artifact.data);
	}
	if (oci_parse((const char *)data, n, NULL, &d, &document, &e) < 0)
		return 0;
	if (document.n_entries > OCI_INDEX_ENTRIES_MAX || document.n_layers > OCI_LAYERS_MAX ||
	    document.layer_bytes > INT64_MAX ||
	    document.is_index == digest_is_set(&document.config))
		abort();
	(void)oci_choose(&document, &host);
	for (size_t i = 0; i < document.n_entries; i++) {
		(void)oci_platform_rank(&document.entries[i].platform, &host);
		(void)oci_platform_text(&document.entries[i].platform, text, sizeof(text));
	}
	oci_document_free(&document);
	return 0;
}
