// Files that were refused, each with its reason.

import * as client from "./client.js";
import { h, sentence, when } from "./dom.js";

/** A page of refused photos; behind the last one the files that imports could not read at all. */
export async function load(cursor, batches, signal) {
  const { items, next } = await client.photos({ status: "rejected", cursor, limit: 60 }, signal);
  const rows = items.map(fromPhoto);
  if (next === null) {
    for (const batch of batches.filter((each) => each.rejected > 0)) {
      const unread = await client.files(batch.batch_id, { status: "rejected", limit: 200 });
      rows.push(...unread.items.filter((item) => item.photo_id === null).map((item) => fromItem(item, batch)));
    }
  }
  return { rows, next };
}

export function fromPhoto(photo) {
  return row(photo.photo_id, photo.file_name ?? "a file without a name", photo.error, photo.decided_at, photo.links.original);
}

function fromItem(item, batch) {
  return row(`${batch.batch_id}/${item.index}`, item.path, item.error, batch.started_at, null);
}

function row(id, name, error, at, original) {
  return h("li", { "data-tone": "rejected", "data-rejected": id },
    h("b", {}, name),
    h("span", { class: "why" }, sentence(error?.message ?? "refused")),
    h("span", { class: "aside" }, h("code", {}, error?.code ?? ""), h("br"), when(at),
      original && h("span", {}, " · ", h("a", { href: original, download: true }, "file"))));
}
