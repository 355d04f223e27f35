// What is said of an import: how far it is, how long it takes, what came of it, why files failed.

import { count, duration, sentence } from "./dom.js";

export const OVER = new Set(["completed", "completed_with_failures", "cancelled"]);

/** The tones of the bar, each with the field of its count. */
export const TONES = [
  ["auto_labeled", "auto_labeled", "auto-labelled"],
  ["suggested", "suggested", "suggested"],
  ["review", "review", "to review"],
  ["rejected", "rejected", "rejected"],
  ["duplicate", "duplicates", "duplicate"],
  ["cancelled", "cancelled", "cancelled"],
];

const STATES = {
  paused: "Paused",
  cancelling: "Cancelling",
  completed: "Done",
  completed_with_failures: "Done, with failures",
  cancelled: "Cancelled",
};

/** A word for the state, where the rest does not say it. */
export const stateOf = (batch) => STATES[batch.state] ?? "";

export const done = (batch) => batch.accepted + batch.rejected + batch.duplicates;

/** Files there are, as far as is known; 1 for nothing, so that an empty import is full at its end. */
export function whole(batch) {
  const all = OVER.has(batch.state) ? batch.found : batch.expected ?? batch.found; // nothing more comes
  return Math.max(1, all, done(batch));
}

/** How full the bar is; at the end it is. */
export const filled = (batch) => (OVER.has(batch.state) ? whole(batch) : done(batch));

/** One line: how far it is, how fast it goes, when it will end. */
export function progress(batch) {
  if (batch.state === "cancelled") return `${count(done(batch) - batch.cancelled)} of ${files(batch.expected ?? batch.found)} were done`;
  if (OVER.has(batch.state)) return `${files(batch.found)} in ${duration(batch.elapsed_s)}`;
  if (batch.expected === null) return parts(`${count(done(batch))} so far, still counting the files`, rate(batch));
  return parts(`${count(done(batch))} of ${count(batch.expected)}`, rate(batch), left(batch));
}

const parts = (...texts) => texts.filter(Boolean).join(" · ");
const files = (number) => `${count(number)} ${number === 1 ? "file" : "files"}`;

function rate(batch) {
  if (batch.rate === null) return "";
  if (batch.rate === 0) return done(batch) ? "nothing moves at the moment" : "";
  return batch.rate < 1 ? `${(batch.rate * 60).toFixed(1)} a minute` : `${batch.rate.toFixed(batch.rate < 10 ? 1 : 0)} a second`;
}

function left(batch) {
  if (batch.eta_s === null) return "";
  const spread = span(batch.eta_low_s, batch.eta_high_s);
  return `about ${duration(batch.eta_s)} left${spread ? ` (${spread})` : ""}`;
}

/** Two durations in the unit of the longer one, such as "4 to 7 min"; empty where they read alike. */
export function span(low, high) {
  const [size, unit] = high < 90 ? [1, "s"] : high < 5400 ? [60, "min"] : [3600, "h"];
  const digits = unit === "h" ? 1 : 0;
  const [from, to] = [low, high].map((each) => (each / size).toFixed(digits));
  return from === to ? "" : `${from} to ${to} ${unit}`;
}

const NOBODY = new Set([null, "page", "api"]); // no person's name

/** What it waits for; until when, or by whom, it is paused. */
export function aside(batch) {
  if (batch.state === "scanning" && batch.waits_for) return `waits: ${batch.waits_for}`;
  if (batch.state !== "paused") return "";
  if (batch.paused_until) return `until ${clock(batch.paused_until)}`;
  return NOBODY.has(batch.paused_by) ? "" : `by ${batch.paused_by}`;
}

const time = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
const clock = (iso) => time.format(new Date(iso));

/** The commonest reasons, each as {text, code}; `rest` failed files have others. */
export function reasons(batch, most) {
  const shown = batch.failures.slice(0, most).map(reason);
  const told = batch.failures.slice(0, most).reduce((sum, each) => sum + each.count, 0);
  const all = batch.failures.reduce((sum, each) => sum + each.count, 0);
  return { shown, rest: all - told };
}

export function reason(failure) {
  const what = failure.stage ? `The ${failure.stage} failed: ${failure.message}` : failure.message;
  return { count: failure.count, text: sentence(what), code: failure.code };
}
