// One photo, large, with everything that was found on it.

import { describe, nameOf } from "./card.js";
import { bytes, h, icon, ICONS, percent, ratio, s, sentence, toneOf, TONES, UNCALIBRATED, when } from "./dom.js";

const STAGES = ["detector", "ocr", "embedder"];

export class Detail {
  #dialog = document.getElementById("detail");
  #on;
  #photo = null;
  #boxes = localStorage.getItem("boxes") !== "off";

  /** `on` has like(photo), step(photo, ±1) → photo or null, place(photo) → text, closed(photo). */
  constructor(on) {
    this.#on = on;
    this.#dialog.addEventListener("close", () => {
      const photo = this.#photo;
      this.#photo = null;
      this.#dialog.replaceChildren();
      this.#on.closed(photo);
    });
    this.#dialog.addEventListener("click", (event) => {
      if (event.target === this.#dialog) this.#dialog.close(); // beside it
    });
    this.#dialog.addEventListener("keydown", (event) => this.#key(event));
  }

  open(photo) {
    this.#show(photo);
    if (!this.#dialog.open) this.#dialog.showModal();
    this.#dialog.querySelector(".close").focus();
  }

  close() {
    if (this.#dialog.open) this.#dialog.close();
  }

  /** A new state of the photo that is open. */
  update(photo) {
    if (this.#photo?.photo_id !== photo.photo_id || JSON.stringify(this.#photo) === JSON.stringify(photo)) return;
    const top = this.#dialog.querySelector(".notes").scrollTop;
    this.#show(photo);
    this.#dialog.querySelector(".notes").scrollTop = top;
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "ArrowLeft") this.#step(-1);
    else if (event.key === "ArrowRight") this.#step(1);
    else if (event.key === "b" || event.key === "B") this.#setBoxes(!this.#boxes);
    else return;
    event.preventDefault();
  }

  #step(by) {
    const next = this.#on.step(this.#photo, by);
    if (next) this.open(next);
  }

  #setBoxes(shown) {
    this.#boxes = shown;
    localStorage.setItem("boxes", shown ? "on" : "off");
    this.#dialog.querySelector(".picture")?.classList.toggle("boxes-off", !shown);
    const box = this.#dialog.querySelector(".toggle input");
    if (box) box.checked = shown;
  }

  #show(photo) {
    this.#photo = photo;
    this.#dialog.replaceChildren(this.#easel(photo), this.#notes(photo));
    linkWords(this.#dialog);
  }

  #easel(photo) {
    const has = photo.lines.length + photo.objects.length > 0;
    return h("div", { class: "easel" },
      h("div", { class: "stage" }, photo.links.rendition ? picture(photo, this.#boxes) : h("p", { class: "muted" }, photo.status === "pending" ? "Still in the developer." : "There is no picture to show.")),
      h("div", { class: "tools" },
        h("button", { class: "button round quiet", type: "button", "aria-label": "Previous photo", onclick: () => this.#step(-1) }, icon(ICONS.left)),
        h("span", { class: "place" }, this.#on.place(photo)),
        h("button", { class: "button round quiet", type: "button", "aria-label": "Next photo", onclick: () => this.#step(1) }, icon(ICONS.right)),
        has && h("label", { class: "toggle" },
          h("input", { type: "checkbox", checked: this.#boxes, onchange: (event) => this.#setBoxes(event.target.checked) }),
          photo.lines.length ? "Text boxes" : "Boxes")));
  }

  #notes(photo) {
    return h("div", { class: "notes", tabindex: "0", "aria-label": "What was found" },
      h("header", {},
        h("h2", { id: "detail-name" }, nameOf(photo)),
        h("button", { class: "button quiet close", type: "button", "aria-label": "Close", onclick: () => this.#dialog.close() }, icon(ICONS.close))),
      verdict(photo),
      h("div", { class: "acts" },
        photo.status === "analyzed" && h("button", { class: "button", type: "button", onclick: () => { this.#dialog.close(); this.#on.like(photo); } }, icon(ICONS.like), "More like this"),
        photo.links.original && h("a", { class: "button", href: photo.links.original, target: "_blank", rel: "noopener" }, "Original"),
        h("a", { class: "button quiet", href: photo.links.self, target: "_blank", rel: "noopener" }, "JSON")),
      labels(photo), reading(photo), stages(photo), facts(photo));
  }
}

function picture(photo, boxes) {
  const element = h("figure", { class: `picture${boxes ? "" : " boxes-off"}`, "--ar": ratio(photo).toFixed(5), "--most": `${(photo.width ?? 1000) * 2.5}px` },
    h("img", { src: photo.links.rendition, alt: describe(photo) }));
  if (photo.lines.length || photo.objects.length) element.append(overlay(photo));
  return element;
}

/** Boxes in fractions of the upright photo: the drawing is 1 × 1 and stretched over the picture. */
function overlay(photo) {
  const drawing = s("svg", { viewBox: "0 0 1 1", preserveAspectRatio: "none", "aria-hidden": "true" });
  photo.lines.forEach((line, row) => {
    drawing.append(s("polygon", { class: "line", points: points(line.polygon) }));
    line.words.forEach((word, at) => {
      drawing.append(s("polygon", { class: "word", points: points(word.polygon), "data-word": `${row}.${at}` },
        s("title", {}, `${word.text} · ${percent(word.confidence, false)}`)));
    });
  });
  for (const thing of photo.objects) {
    const { x, y, width, height } = thing;
    drawing.append(s("polygon", { class: "object", points: points([x, y, x + width, y, x + width, y + height, x, y + height]) },
      s("title", {}, `${thing.name} · ${percent(thing.confidence, false)}`)));
  }
  return drawing;
}

function points(flat) {
  const pairs = [];
  for (let at = 0; at + 1 < flat.length; at += 2) pairs.push(`${flat[at]},${flat[at + 1]}`);
  return pairs.join(" ");
}

/** A word and its box light up together. */
function linkWords(root) {
  const light = (event, on) => {
    const word = event.target.closest?.("[data-word]")?.dataset.word;
    if (word) root.querySelectorAll(`[data-word="${CSS.escape(word)}"]`).forEach((each) => each.classList.toggle("on", on));
  };
  for (const part of root.querySelectorAll(".picture svg, .reading")) {
    part.addEventListener("mouseover", (event) => light(event, true));
    part.addEventListener("mouseout", (event) => light(event, false));
  }
}

function verdict(photo) {
  const tone = toneOf(photo);
  const reason = photo.error?.message ?? photo.reason ?? "It will be here in a moment.";
  return h("div", { class: "verdict", "data-tone": tone }, h("b", {}, TONES[tone]), h("p", {}, sentence(reason)),
    photo.partial && h("p", {}, `Incomplete: ${photo.failed_stages.join(" and ")} gave up on this photo.`));
}


function labels(photo) {
  if (!photo.labels.length) return null;
  const hint = photo.calibrated === false && h("span", { class: "hint" },
    h("button", { type: "button", "aria-describedby": "uncalibrated" }, "uncalibrated"),
    h("span", { role: "tooltip", id: "uncalibrated" }, UNCALIBRATED));
  const rows = photo.labels.slice(0, 8).map((label) => {
    const bar = h("i", {});
    bar.style.width = `${Math.max(0.5, label.confidence * 100)}%`;
    return h("li", {}, h("span", { class: "label" }, label.name), h("span", { class: "amount" }, percent(label.confidence, photo.calibrated)), h("span", { class: "rail", "aria-hidden": "true" }, bar));
  });
  return h("section", {}, h("h3", {}, photo.category ? `Labels · ${photo.category}` : "Labels", hint), h("ul", { class: "labels", "data-tone": toneOf(photo) }, rows));
}

function reading(photo) {
  if (photo.status !== "analyzed") return null;
  if (photo.text === null) return h("section", {}, h("h3", {}, "Text"), h("p", { class: "muted" }, "It could not be read for text."));
  if (!photo.lines.length) return h("section", {}, h("h3", {}, "Text"), h("p", { class: "muted" }, "No text on this photo."));
  const lines = photo.lines.map((line, row) => h("p", {}, line.words.length
    ? line.words.flatMap((word, at) => [at ? " " : null, h("span", { "data-word": `${row}.${at}` }, word.text)])
    : line.text));
  return h("section", {}, h("h3", {}, "Text"), h("div", { class: "reading" }, lines));
}

function stages(photo) {
  const rows = STAGES.map((name) => {
    const stage = photo.stages[name];
    if (stage) return h("tr", {}, h("th", { scope: "row" }, name), h("td", { title: stage.model_version }, stage.engine), h("td", {}, `${Math.round(stage.ms)} ms`));
    const failed = photo.failed_stages.includes(name);
    return h("tr", {}, h("th", { scope: "row" }, name), h("td", { class: failed ? "failed" : null }, failed ? "gave up" : "not yet"), h("td", {}, ""));
  });
  return photo.status === "rejected" ? null : h("section", {}, h("h3", {}, "Stages"), h("table", { class: "stages" }, h("tbody", {}, rows)));
}

function facts(photo) {
  const size = photo.width && `${photo.width} × ${photo.height} px`;
  const place = photo.latitude !== null && photo.longitude !== null && `${photo.latitude.toFixed(5)}, ${photo.longitude.toFixed(5)}`;
  const known = [
    ["Size", [size, photo.byte_size && bytes(photo.byte_size)].filter(Boolean).join(", ")],
    ["Type", photo.media_type],
    ["Taken", when(photo.taken_at)],
    ["Camera", [photo.camera_make, photo.camera_model].filter(Boolean).join(" ")],
    ["Place", place],
    ["Embedding", photo.embedding_dim && `${photo.embedding_dim} dimensions`],
    ["Submitted", when(photo.submitted_at)],
    ["Lane", photo.lane],
    ["Revision", photo.revision > 1 && String(photo.revision)],
    ["Photo", h("code", {}, photo.photo_id)],
  ].filter(([, value]) => value);
  return h("section", {}, h("h3", {}, "About"), h("dl", { class: "facts" }, known.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])));
}
