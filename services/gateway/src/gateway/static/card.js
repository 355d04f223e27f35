// A photo on the contact sheet.

import { h, icon, ICONS, percent, ratio, toneOf, TONES, UNCALIBRATED } from "./dom.js";

const NARROWEST = 0.75; // so that a caption fits below a tower: the shape of an upright snapshot,
const WIDEST = 2.6; // and a panorama leaves room beside it

/** The card's element; `on` has open(photo) and like(photo). */
export function card(photo, on, { score = null, fresh = false } = {}) {
  const tone = toneOf(photo);
  const ar = Math.min(WIDEST, Math.max(NARROWEST, ratio(photo)));
  const element = h("li", { class: `card ${tone}`, "data-photo": photo.photo_id, "data-tone": tone, "--ar": ar.toFixed(4) });
  const picture = photo.links.thumbnail && thumbnail(photo);
  if (fresh && picture) element.classList.add("developing");
  element.append(
    h("button", { class: "open", type: "button", "aria-haspopup": "dialog", onclick: () => on.open(photo) },
      h("span", { class: "frame", "--ar": ar.toFixed(4) },
        picture,
        h("span", { class: "badge", "data-tone": tone }, TONES[tone]),
        score !== null && h("span", { class: "score", title: "How well it matches" }, percent(score))),
      caption(photo)),
  );
  if (photo.status === "analyzed") {
    element.append(
      h("button", { class: "like", type: "button", title: "More like this", "aria-label": `More like ${nameOf(photo)}`, onclick: () => on.like(photo) },
        icon(ICONS.like)));
  }
  return element;
}

function thumbnail(photo) {
  return h("img", { src: photo.links.thumbnail, alt: describe(photo), loading: "lazy", decoding: "async" });
}

export const nameOf = (photo) => photo.file_name ?? "a photo without a name";

/** What a photo shows, in words. */
export function describe(photo) {
  if (photo.caption) return photo.caption;
  return photo.label ? `${photo.label}, ${nameOf(photo)}` : nameOf(photo);
}

function caption(photo) {
  if (photo.status !== "analyzed") {
    return h("span", { class: "caption" },
      h("span", { class: "name" }, h("b", { title: nameOf(photo) }, nameOf(photo))),
      h("span", { class: "also" }, photo.error?.message ?? (photo.status === "cancelled" ? "its import was cancelled" : "being analysed")));
  }
  const unsure = photo.calibrated === false;
  const firstLine = photo.text?.split("\n").find((line) => line.trim());
  return h("span", { class: "caption" },
    h("span", { class: "name" },
      h("b", { title: `${photo.label ?? "no label"} · ${nameOf(photo)}` }, photo.label ?? "no label"),
      h("span", { title: unsure ? UNCALIBRATED : null }, percent(photo.confidence, !unsure))),
    h("span", { class: "also" },
      h("span", { class: "told" }, photo.category ?? "no category", ...(firstLine ? [" · ", h("q", {}, firstLine)] : [])),
      unsure && h("span", { class: "unsure", title: UNCALIBRATED }, "uncalibrated")));
}
