// Making elements, and saying numbers and times the way people do. Text is only ever set as text.

const SVG = "http://www.w3.org/2000/svg";

/** An element: attributes (null and false leave one out, `on…` adds a listener), then children. */
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
export function s(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name.startsWith("--")) element.style.setProperty(name, value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** A line drawing from path data. */
export function icon(path) {
  return s("svg", { viewBox: "0 0 20 20", "aria-hidden": "true" }, s("path", { d: path }));
}

export const ICONS = {
  like: "M3 6.5h9v9H3zM8 6.5v-3h9v9h-5",
  close: "m5 5 10 10M15 5 5 15",
  left: "m12.5 4-6 6 6 6",
  right: "m7.5 4 6 6-6 6",
};

export const TONES = {
  auto_labeled: "Auto-labelled",
  suggested: "Suggested",
  review: "To review",
  rejected: "Rejected",
  pending: "Developing",
  cancelled: "Called off",
};

/** What a photo has come to, as one word of TONES. */
export function toneOf(photo) {
  return photo.status === "analyzed" ? photo.outcome : photo.status;
}

const number = new Intl.NumberFormat("en");
export const count = (value) => number.format(value ?? 0);

/** A confidence; "≈" where it is uncalibrated. */
export function percent(value, calibrated = true) {
  if (value === null || value === undefined) return "";
  const text = value > 0 && value < 0.01 ? "< 1 %" : `${Math.round(value * 100)} %`;
  return calibrated ? text : `≈ ${text}`;
}

export const UNCALIBRATED =
  "The model’s own estimate: it was not fitted on 200 labelled photos or more, so 90 % need not mean right nine times out of ten. To calibrate it, sort photos into folders by what they show and run: python -m detector.calibrate FOLDER";

export function duration(seconds) {
  if (seconds < 1) return "under 1 s";
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

export function bytes(size) {
  if (size < 1000) return `${size} bytes`;
  if (size < 1e6) return `${Math.round(size / 1e3)} kB`;
  if (size < 1e9) return `${(size / 1e6).toFixed(1)} MB`;
  return `${(size / 1e9).toFixed(2)} GB`;
}

/** A reason as a sentence. */
export const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1).replace(/\.?$/, ".");

const moment = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
export const when = (iso) => (iso ? moment.format(new Date(iso)) : "");

/** Width by height of the upright photo, 1.5 while it is not known. */
export const ratio = (photo) => (photo.width && photo.height ? photo.width / photo.height : 1.5);

/** Say something to people who do not see the page. */
export function say(text) {
  document.getElementById("spoken").textContent = text;
}

/** Run `work` at most once per `wait` milliseconds; the last call always counts. */
export function throttled(work, wait) {
  let timer = null;
  let again = false;
  return function run() {
    if (timer !== null) {
      again = true;
      return;
    }
    work();
    timer = setTimeout(() => {
      timer = null;
      if (again) {
        again = false;
        run();
      }
    }, wait);
  };
}
