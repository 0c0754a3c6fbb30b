const $ = (id) => document.getElementById(id);

function element(name, className, ...content) {
  const made = document.createElement(name);
  made.className = className;
  made.append(...content); // strings become text, never markup
  return made;
}

function say(id, text, isError = false) {
  $(id).textContent = text;
  $(id).classList.toggle("error", isError);
}

/* Run `work` when the button is pressed, once at a time. */
function onPress(name, work) {
  const button = $(`${name}-start`);
  button.addEventListener("click", async () => {
    // "disabled" would take the focus away.
    if (button.ariaDisabled === "true") return;
    button.ariaDisabled = "true";
    say(`${name}-result`, "Waiting…");
    try {
      await work();
    } catch (error) {
      say(`${name}-result`, `That failed: ${error.message}`, true);
    } finally {
      button.ariaDisabled = "false";
    }
  });
}

async function getJSON(path) {
  const response = await fetch(path);
  if (!response.ok) throw new Error(`the server answered ${response.status}`);
  return response.json();
}

// A sync view

onPress("sync", async () => {
  const { thread, worker } = await getJSON("sync");
  say("sync-result", `Answered by thread “${thread}” of worker ${worker}.`);
});

// An async view

onPress("async", async () => {
  $("async-calls").replaceChildren();
  const { seconds, calls } = await getJSON("parallel");
  const one = calls.reduce((sum, call) => sum + call.ended - call.began, 0);
  say(
    "async-result",
    `All ten together took ${seconds.toFixed(2)} s; one after the other: ${one.toFixed(2)} s.`,
  );
  $("async-calls").replaceChildren(
    ...calls.map(({ began, ended, worker }) => {
      const bar = element("span", "bar");
      bar.style.left = `${(100 * began) / seconds}%`;
      bar.style.right = `${100 - (100 * ended) / seconds}%`;
      const figures = `${(ended - began).toFixed(2)} s, worker ${worker}`;
      return element("li", "", bar, element("span", "figures", figures));
    }),
  );
});

// A streamed answer

onPress("stream", () => {
  $("stream-events").replaceChildren();
  const started = performance.now();
  return new Promise((resolve, reject) => {
    const source = new EventSource("events");
    source.onmessage = ({ data, lastEventId }) => {
      $("stream-events").append(element("li", "", lastEventId));
      say("stream-result", `Worker ${JSON.parse(data).worker} is counting…`);
    };
    source.addEventListener("done", () => {
      source.close(); // or the browser would connect again
      const seconds = (performance.now() - started) / 1000;
      say("stream-result", `Counted to ten in ${seconds.toFixed(1)} s, in one answer.`);
      resolve();
    });
    source.onerror = () => {
      if (source.readyState === EventSource.CLOSED) reject(new Error("no stream of events"));
      else say("stream-result", "The connection was lost. The browser connects again…", true);
    };
  });
});

// A websocket

const MOST_LINES = 200;
const POLICY_VIOLATION = 1008;
let socket = null; // null when the user is not in the chat
let failures = 0; // in a row
let servedBy = 0; // the worker of this socket
let retry = 0; // the timer of the next attempt

function connect() {
  const url = new URL(`chat?name=${encodeURIComponent($("chat-name").value)}`, location);
  url.protocol = url.protocol.replace("http", "ws");
  const mine = new WebSocket(url);
  socket = mine;
  say("chat-status", "Connecting…");

  mine.onmessage = ({ data }) => {
    const { serving, note, name, text, worker, members } = JSON.parse(data);
    failures = 0;
    if (serving) {
      servedBy = serving;
      return;
    }
    say("chat-status", `Worker ${servedBy} serves your websocket. Members in all workers: ${members}.`);
    const by = element("span", "by", ` worker ${worker}`);
    if (note) log(element("li", "note", note, by));
    // <bdi> keeps a name written from right to left from turning the line around.
    else log(element("li", "", element("bdi", "name", name), ": ", element("bdi", "", text), by));
  };

  mine.onclose = ({ code, reason }) => {
    if (socket !== mine) return; // the user has left
    if (code === POLICY_VIOLATION) {
      leave();
      say("chat-status", `The server has closed your websocket: ${reason}.`, true);
      return;
    }
    // Twice as long each time, at most half a minute, and not at the same moment as all others.
    const seconds = Math.min(30, 2 ** failures++) * (0.5 + Math.random() / 2);
    say("chat-status", `Connection lost (code ${code}). Next attempt in ${seconds.toFixed(1)} s…`, true);
    retry = setTimeout(connect, seconds * 1000);
  };
}

function log(line) {
  const list = $("chat-log");
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  list.append(line);
  while (list.childElementCount > MOST_LINES) list.firstElementChild.remove();
  if (atEnd) list.scrollTop = list.scrollHeight;
}

function show(joined) {
  $("chat-join").hidden = joined;
  $("chat-log").hidden = $("chat-send").hidden = !joined;
  $(joined ? "chat-text" : "chat-name").focus();
}

function leave() {
  clearTimeout(retry);
  const mine = socket;
  socket = null;
  mine?.close();
  show(false);
  say("chat-status", "");
}

$("chat-join").addEventListener("submit", (event) => {
  event.preventDefault();
  failures = 0;
  show(true);
  connect();
});

$("chat-send").addEventListener("submit", (event) => {
  event.preventDefault();
  if (socket?.readyState !== WebSocket.OPEN) return; // the text stays until it can be sent
  socket.send($("chat-text").value);
  $("chat-text").value = "";
});

$("chat-leave").addEventListener("click", leave);

// Some colour for the code, which came as plain text

const TOKENS = new RegExp(
  [
    /(?<comment>#.*)/,
    /(?<string>\b[bf]?"""[^]*?"""|"""[^]*?"""|\b[bf]?"(?:[^"\\\n]|\\.)*"|"(?:[^"\\\n]|\\.)*")/,
    /(?<decorator>^[ ]*@[\w.]+)/,
    /(?<keyword>\b(?:as|async|await|break|class|def|except|finally|for|if|in|is|not|or|return|try|with|yield|None)\b)/,
  ].map((token) => token.source).join("|"),
  "gm",
);

for (const code of document.querySelectorAll("pre code")) {
  const text = code.textContent;
  const pieces = [];
  let end = 0;
  for (const match of text.matchAll(TOKENS)) {
    const [[kind]] = Object.entries(match.groups).filter(([, found]) => found);
    pieces.push(text.slice(end, match.index), element("span", kind, match[0]));
    end = match.index + match[0].length;
  }
  code.replaceChildren(...pieces, text.slice(end));
}
