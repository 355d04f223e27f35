// The details of an import: why files failed, which were duplicates, and the reports to keep.

import * as client from "./client.js";
import { count, h, icon, ICONS } from "./dom.js";
import { progress, reason, stateOf } from "./import_words.js";

const MOST = 200;

export class Report {
  #dialog = document.getElementById("report");
  #on;

  /** `on` has openPhoto(id). */
  constructor(on) {
    this.#on = on;
    this.#dialog.addEventListener("close", () => this.#dialog.replaceChildren());
    this.#dialog.addEventListener("click", (event) => {
      if (event.target === this.#dialog) this.#dialog.close();
    });
  }

  async open(batch) {
    const address = `/v1/imports/${encodeURIComponent(batch.batch_id)}`;
    const body = h("div", { class: "sections" });
    this.#dialog.replaceChildren(
      h("header", {}, h("h2", { id: "report-name" }, `Import of ${batch.title}`),
        h("button", { class: "button quiet close", type: "button", "aria-label": "Close", onclick: () => this.#dialog.close() }, icon(ICONS.close))),
      h("p", {}, [stateOf(batch), progress(batch)].filter(Boolean).join(", ") + "."),
      h("p", {}, `${count(batch.found)} files found: ${count(batch.accepted - batch.cancelled)} analysed, ${count(batch.duplicates)} ${batch.duplicates === 1 ? "duplicate" : "duplicates"}, ${count(batch.rejected)} rejected${batch.cancelled ? `, ${count(batch.cancelled)} cancelled` : ""}${batch.pending ? `, ${count(batch.pending)} on their way` : ""}.`),
      h("p", { class: "links" },
        h("a", { class: "button", href: `${address}/report.html`, target: "_blank", rel: "noopener" }, "Report"),
        h("a", { class: "button", href: `${address}/report.csv`, download: true }, "Every file as CSV")),
      body);
    this.#dialog.showModal();
    try {
      await this.#fill(body, batch);
    } catch (problem) {
      body.append(h("p", { role: "alert" }, problem.message));
    }
  }

  async #fill(body, batch) {
    const failures = await client.failures(batch.batch_id, { limit: MOST });
    if (failures.reasons.length) body.append(section("Why files failed", failures.reasons.map(reasonRow)));
    if (failures.items.length) body.append(section("Failed files", failures.items.map(failedRow), failures.next));
    const copies = await client.files(batch.batch_id, { status: "duplicate", limit: MOST });
    if (copies.items.length) body.append(section("Duplicates", copies.items.map((item) => this.#copyRow(item)), copies.next));
  }

  #copyRow(item) {
    const open = h("button", { type: "button", onclick: () => { this.#dialog.close(); this.#on.openPhoto(item.duplicate_of); } }, split(item.duplicate_of_path ?? "a known photo")[1]);
    return h("li", { "data-tone": "duplicate" }, named(item.path), h("span", { class: "why" }, "same bytes as ", open));
  }
}

function section(title, rows, more = null) {
  return h("section", {}, h("h3", {}, title), h("ul", { class: "files" }, rows),
    more && h("p", { class: "muted" }, `Only the first ${MOST} are listed here; the CSV has every file.`));
}

function reasonRow(failure) {
  const { text, code } = reason(failure);
  return h("li", { "data-tone": "rejected" }, h("b", {}, text),
    h("span", { class: "path" }, failure.paths.map((path) => split(path)[1]).join(", "), failure.count > failure.paths.length && " …"),
    h("span", { class: "aside" }, h("b", {}, count(failure.count)), h("br"), h("code", {}, code)));
}

function failedRow(file) {
  return h("li", { "data-tone": "rejected" }, named(file.path),
    h("span", { class: "why" }, reason(file).text),
    h("span", { class: "aside" }, h("code", {}, file.code)));
}

function named(path) {
  const [folder, name] = split(path);
  return h("b", {}, h("span", { class: "path" }, folder), name);
}

function split(path) {
  const at = path.lastIndexOf("/") + 1;
  return [path.slice(0, at), path.slice(at)];
}
