// Signing in. This page stands in for the one that was asked for, which a reload then shows.

import { Problem, signIn } from "./client.js";

const form = document.getElementById("sign-in");
const key = document.getElementById("key");
const wrong = document.getElementById("wrong");
const go = document.getElementById("go");

function tell(words) {
  wrong.textContent = words;
  wrong.hidden = !words;
  if (words) key.setAttribute("aria-invalid", "true");
  else key.removeAttribute("aria-invalid");
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  go.disabled = true;
  tell("");
  try {
    await signIn(key.value.trim());
    location.reload();
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    go.disabled = false;
    tell(problem.message);
    key.select();
    key.focus();
  }
});

key.addEventListener("input", () => tell(""));
