// What to show where there are no photos: what to do about it.

import { h, s } from "./dom.js";

/** An empty catalog. */
export function noPhotos() {
  const command = "./darkroom import FOLDER";
  const copy = h("button", { type: "button" }, "Copy");
  copy.addEventListener("click", async () => {
    await navigator.clipboard?.writeText(command);
    copy.textContent = "Copied";
    setTimeout(() => { copy.textContent = "Copy"; }, 1500);
  });
  return h("div", { class: "nothing" }, drawing(),
    h("h2", {}, "The tray is empty"),
    h("p", {}, "Bring in a folder; photos appear here as they develop."),
    h("div", { class: "command" }, h("code", {}, command), copy),
    h("p", {}, "Or drop photos anywhere on this page."));
}

/** A filter or a search without results. */
export function noneHere(title, text) {
  return h("div", { class: "nothing" }, h("h2", {}, title), h("p", {}, text));
}

/** Prints on a line under the safelight. */
function drawing() {
  return s("svg", { viewBox: "0 0 132 96", "aria-hidden": "true" },
    s("circle", { class: "light", cx: "66", cy: "8", r: "5" }),
    s("path", { d: "M4 22c40 14 84 14 124 0" }),
    s("path", { d: "M22 32v-7M40 36v-7M58 38v-7M76 38v-7M92 36v-7M112 31v-7" }),
    s("path", { d: "m18 31 26 5-6 40-26-5zM54 37h26v42H54zM89 35l26-5 6 40-26 5z" }),
    s("path", { d: "m19 60 8-9 6 7 4-3M56 68l8-10 6 7 4-4 6 7M98 62l6-9 7 6 6-5" }));
}
