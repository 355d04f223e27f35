// The WebSocket that tells what is recorded, kept alive with back-off.

const FIRST_S = 0.5;
const LONGEST_S = 20;
const NOT_ALLOWED = 1008;

/**
 * Stay connected. `on` has: message(told), state("connecting" | "live" | "lost", secondsToNextTry).
 * Returns a function that tries at once.
 */
export function connect(on) {
  let wait = FIRST_S;
  let timer = null;
  let socket = null;

  function open() {
    clearTimeout(timer);
    socket?.close();
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const opened = new WebSocket(`${scheme}://${location.host}/v1/events`);
    socket = opened;
    opened.onopen = () => {
      wait = FIRST_S;
      on.state("live");
    };
    opened.onmessage = (event) => on.message(JSON.parse(event.data));
    opened.onclose = ({ code }) => {
      if (socket !== opened) return;
      if (code === NOT_ALLOWED) location.reload(); // the session is over: there is the page to sign in
      const seconds = wait * (0.75 + Math.random() / 2); // not all pages at the same moment
      wait = Math.min(wait * 2, LONGEST_S);
      timer = setTimeout(open, seconds * 1000);
      on.state("lost", seconds);
    };
  }

  on.state("connecting");
  open();
  addEventListener("online", open);
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && socket.readyState === WebSocket.CLOSED) open();
  });
  return open;
}
