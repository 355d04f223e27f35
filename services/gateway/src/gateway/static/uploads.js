// Photos handed in on the page: by the button or dropped anywhere.

import * as client from "./client.js";
import { h, icon, ICONS, toneOf, TONES } from "./dom.js";

const AT_ONCE = 3;
const TRIES = 6;
const SHOWN = 60;

export class Uploads {
  #tray = document.getElementById("tray");
  #drop = document.getElementById("drop");
  #title = h("span", {});
  #list = h("ul", {});
  #waiting = [];
  #running = 0;
  #total = 0;
  #done = 0;
  #rows = new Map(); // photo id → row, to tell what came of it
  #on;

  /** `on` has openPhoto(id) and added(photo). */
  constructor(on) {
    this.#on = on;
    this.#tray.append(h("header", {}, this.#title,
      h("button", { class: "button quiet", type: "button", "aria-label": "Hide uploads", onclick: () => { this.#tray.hidden = true; } }, icon(ICONS.close))), this.#list);
    document.getElementById("files").addEventListener("change", (event) => {
      this.add([...event.target.files]);
      event.target.value = "";
    });
    this.#listenForDrops();
  }

  #listenForDrops() {
    let depth = 0;
    const carries = (event) => event.dataTransfer?.types.includes("Files");
    const show = (shown) => { this.#drop.hidden = !shown; };
    addEventListener("dragenter", (event) => { if (carries(event)) { depth += 1; show(true); } });
    addEventListener("dragleave", (event) => { if (carries(event)) { depth = Math.max(0, depth - 1); show(depth > 0); } });
    addEventListener("dragover", (event) => { if (carries(event)) event.preventDefault(); });
    addEventListener("drop", (event) => {
      if (!carries(event)) return;
      event.preventDefault();
      depth = 0;
      show(false);
      const entries = [...event.dataTransfer.items].map((item) => ({ file: item.getAsFile(), folder: item.webkitGetAsEntry?.()?.isDirectory }));
      this.add(entries.filter((entry) => entry.file && !entry.folder).map((entry) => entry.file));
      for (const entry of entries.filter((each) => each.folder)) this.#refuse(entry.file?.name ?? "Folder", "Folders come in by ./darkroom import FOLDER.");
    });
  }

  add(files) {
    if (!files.length) return;
    if (this.#running === 0 && this.#waiting.length === 0) this.#total = this.#done = 0;
    this.#total += files.length;
    this.#waiting.push(...files);
    this.#tray.hidden = false;
    while (this.#running < AT_ONCE && this.#waiting.length) this.#next();
    this.#count();
  }

  /** News of a photo: tell it where it was handed in. */
  update(photo) {
    const row = this.#rows.get(photo.photo_id);
    if (row && photo.status !== "pending") this.#tell(row, photo);
  }

  async #next() {
    this.#running += 1;
    const file = this.#waiting.shift();
    const row = this.#row(file.name, "sending");
    try {
      const { photo } = await this.#send(file);
      this.#rows.set(photo.photo_id, row);
      this.#tell(row, photo);
      if (!photo.duplicate_of) this.#on.added(photo);
    } catch (problem) {
      this.#fail(row, problem.message);
    }
    this.#running -= 1;
    this.#done += 1;
    this.#count();
    if (this.#waiting.length) this.#next();
  }

  /** A door that is busy, or has taken in its number for now, says when to come back. */
  async #send(file, tried = 1) {
    try {
      return await client.upload(file);
    } catch (problem) {
      if (![429, 503].includes(problem.status) || tried >= TRIES) throw problem;
      await new Promise((resolve) => setTimeout(resolve, 1000 * (problem.retryAfter ?? 2)));
      return this.#send(file, tried + 1);
    }
  }

  #row(name, state) {
    const row = h("li", {}, h("b", { title: name }, name), h("span", {}, state));
    this.#list.prepend(row);
    while (this.#list.children.length > SHOWN) this.#list.lastElementChild.remove();
    return row;
  }

  #tell(row, photo) {
    const tone = toneOf(photo);
    row.dataset.tone = tone;
    const open = () => this.#on.openPhoto(photo.photo_id);
    if (photo.duplicate_of) {
      row.dataset.tone = "duplicate";
      row.children[1].replaceChildren("already here, ", h("button", { type: "button", onclick: open }, "see it"));
    } else if (tone === "pending") {
      row.children[1].replaceChildren("developing");
    } else {
      row.children[1].replaceChildren(h("button", { type: "button", onclick: open }, photo.label ?? TONES[tone]));
    }
    if (photo.error) this.#fail(row, photo.error.message);
  }

  #fail(row, why) {
    row.dataset.tone = "rejected";
    row.children[1].replaceChildren("rejected");
    row.querySelector(".why")?.remove();
    row.append(h("span", { class: "why" }, why));
  }

  #refuse(name, why) {
    this.#tray.hidden = false;
    this.#fail(this.#row(name, ""), why);
    this.#count();
  }

  #count() {
    const busy = this.#done < this.#total;
    this.#title.textContent = busy ? `Sending ${this.#done + 1} of ${this.#total}` : "Uploads";
  }
}
