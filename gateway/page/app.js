/** The page: wires sign-in, list, conversations and the field for writing together. */

import { call } from "./api.js";
import { ChatView } from "./chat.js";
import { Conversations } from "./conversations.js";
import { ThreadDialog } from "./dialog.js";
import { byId, el, setText } from "./dom.js";
import { Attachments, filesOf, wordsOf } from "./files.js";
import { newId } from "./ids.js";
import { SignIn } from "./signin.js";
import * as store from "./store.js";
import { ThreadList } from "./threads.js";

/** Several notices at once are one reading. */
const GATHER_MS = 150;
const SAY_MS = 6000;

/** @type {{name: string, title?: string, description?: string, starters: string[]}[]} */
let agents = [];
/** The thread on the screen; empty for a new chat. */
let current = "";
let signedIn = false;

const field = byId("draft");
const picker = byId("agent");

const signIn = new SignIn({ onEnter: enter, onLeave: leave, onSignedOut: forget, say });
const conversations = new Conversations({
  onChange: (threadId) => {
    if (threadId === current) changed();
  },
  onBusy: () => threads.draw(),
  onBegun: (threadId) => {
    if (!threads.touch(threadId)) notice(threadId);
  },
  onNotice: notice,
  onGone: (threadId) => {
    if (threadId !== current) return;
    say("This conversation does not exist any more.");
    location.hash = "#/";
  },
  onConnection: drawConnection,
  onConnected: () => reread(),
});
const chat = new ChatView({ retry, edit: takeBack, withdraw, earlier, decide });
const attachments = new Attachments({ onChange: drawHead, onFailure: say });
const dialog = new ThreadDialog({ rename, remove });
const threads = new ThreadList({
  onEdit: (thread) => dialog.show(thread),
  onChange: drawHead,
  standingOf: (threadId) => conversations.standingOf(threadId),
});

// ---------------------------------------------------------------------- coming and going

/** @param {import("./signin.js").Me} me */
async function enter(me) {
  if (store.belongTo(me.id) && conversations.any) {
    forget(); // somebody else was here before
    return;
  }
  signedIn = true;
  await readAgents();
  conversations.repeat();
  route();
  if (!narrow.matches) field.focus(); // on a phone that would call the keyboard
  conversations.realtime.start();
}

function leave() {
  signedIn = false;
  conversations.realtime.pause();
}

/** Begin anew, with nothing of whoever was here. */
function forget() {
  signedIn = false;
  conversations.realtime.stop();
  store.clear();
  location.replace("/");
}

// ---------------------------------------------------------------------- reading

/** After a connection everything is read again, for notices may have been missed. */
async function reread() {
  await signIn.attempt(async () => {
    await Promise.all([threads.refresh(), readAgents(), conversations.readRunning()]);
  });
}

async function readAgents() {
  agents = (await call("GET", "/api/agents")).data;
  const chosen = picker.value;
  picker.replaceChildren(...agents.map((agent) =>
    el("option", { value: agent.name }, agent.title || agent.name)));
  if (agents.some((agent) => agent.name === chosen)) picker.value = chosen;
  drawHead();
}

/** @type {ReturnType<typeof setTimeout> | undefined} */
let noticeTimer;
/** Threads that notices have named. @type {Set<string>} */
const noticed = new Set();

/** @param {string} [threadId] */
function notice(threadId) {
  noticed.add(threadId ?? "");
  clearTimeout(noticeTimer);
  noticeTimer = setTimeout(() => signIn.attempt(async () => {
    const ids = [...noticed];
    noticed.clear();
    await conversations.readRunning();
    for (const id of ids) await (id ? threads.reread(id) : threads.refresh());
  }), GATHER_MS);
}

document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible" && signedIn) notice();
});

async function earlier() {
  const conversation = conversations.get(current);
  if (conversation) await signIn.attempt(() => conversations.earlier(conversation));
}

// ---------------------------------------------------------------------- sending and stopping

/** @param {any} content text, or parts with files
 * @param {string} [retryOf] id of a message that is said once more */
function send(content, retryOf) {
  const isNew = !current;
  const threadId = current || newId("thr");
  const agent = isNew ? picker.value : undefined;
  const message = { id: newId("msg"), role: "user", content,
    ...(retryOf ? { metadata: { retryOf } } : {}) };
  if (isNew) threads.begin(threadId, picker.value, wordsOf(content) || filesOf(content)[0]?.name);
  else threads.touch(threadId);
  conversations.post({ threadId, runId: newId("run"), agent, message });
  if (isNew) {
    history.replaceState(null, "", `#/${threadId}`);
    route();
  }
  chat.toEnd();
}

/** Turns that are tried again: a second click is one too many.
 * @type {WeakSet<import("./conversation.js").Turn>} */
const retried = new WeakSet();

/** @param {import("./conversation.js").Turn} turn */
function retry(turn) {
  const [message] = turn.said;
  if (turn.state === "failed" && !retried.has(turn)) {
    retried.add(turn);
    send(message.content, turn.retryOf ?? message.id);
  } else if (turn.state === "unsent" && turn.runId) {
    // Nothing was stored, so the same message goes out again.
    const { runId, asksFor: agent } = turn;
    conversations.post({ threadId: current, runId, agent, message });
  }
}

/** Put a message that was not sent back into the field.
 * @param {import("./conversation.js").Turn} turn */
function takeBack(turn) {
  conversations.get(current)?.forget(turn);
  field.value = wordsOf(turn.said[0]?.content);
  attachments.restore(turn.said[0]?.content);
  typed();
  field.focus();
  changed();
}

/** @param {import("./conversation.js").Turn} turn */
async function withdraw(turn) {
  const conversation = conversations.get(current);
  if (!conversation || !turn.runId) return;
  await stopRun(turn.runId);
  await conversations.readWaiting(conversation);
}

/** @param {import("./conversation.js").Turn} turn
 * @param {{id: string, approved: boolean, message?: string}} decision */
async function decide(turn, decision) {
  try {
    await conversations.decide(current, turn, decision);
    return true;
  } catch (error) {
    say(/** @type {Error} */ (error).message);
    const conversation = conversations.get(current);
    if (conversation) await conversations.readDecided(conversation);
    return false;
  }
}

/** Ask for the end of the run that goes on. */
function stop() {
  const runId = conversations.get(current)?.active?.runId;
  if (runId) stopRun(runId);
}

/** @param {string} runId */
async function stopRun(runId) {
  await conversations.stop(current, runId).catch((error) => say(error.message));
}

/** @param {import("./threads.js").Thread} thread @param {string | null} title */
function rename(thread, title) {
  signIn.attempt(() => threads.rename(thread.id, title));
}

/** @param {import("./threads.js").Thread} thread */
function remove({ id }) {
  signIn.attempt(async () => {
    await threads.remove(id);
    conversations.leave(id);
    if (id === current) location.hash = "#/";
  });
}

// ---------------------------------------------------------------------- the screen

let scheduled = false;

/** Draw in the next frame, however many events come until then. */
function changed() {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(() => {
    scheduled = false;
    chat.draw();
    drawHead();
  });
}

/** What surrounds the conversation. */
function drawHead() {
  const title = threads.titleOf(current);
  setText(byId("title"), title);
  document.title = current ? `${title} · Baton` : "Baton";
  byId("edit").hidden = !threads.threads.has(current);
  byId("picker").hidden = Boolean(current);
  setText(byId("agent-name"), threads.threads.get(current)?.agent ?? "");
  drawStart();
  const active = conversations.get(current)?.active;
  const stopping = conversations.isStopping(active?.runId ?? null);
  byId("stop").hidden = !active;
  byId("stop").disabled = stopping;
  setText(byId("stop-text"), stopping ? "Stopping…" : "Stop");
  byId("send").disabled = (!field.value.trim() && !attachments.any) || attachments.busy
    || (!current && agents.length === 0);
}

/** The empty page of a new chat. */
function drawStart() {
  byId("start").hidden = Boolean(current);
  const agent = agents.find((one) => one.name === picker.value);
  setText(byId("start-text"), agent?.description ||
    (agent ? `You are talking to ${agent.title || agent.name}.` : "No agent is there yet."));
  const starters = agent?.starters ?? [];
  const shown = JSON.stringify(starters);
  if (byId("starters").dataset.shown === shown) return;
  byId("starters").dataset.shown = shown;
  byId("starters").replaceChildren(...starters.map((text) =>
    el("li", {}, el("button", { type: "button", click: () => send(text) }, text))));
}

/** @type {Record<import("./realtime.js").Connection, string>} */
const CONNECTION = {
  "connecting": "Connecting…",
  "connected": "Connected",
  "reconnecting": "Reconnecting…",
  "offline": "Offline",
  "signed-out": "Signed out",
  "refused": "This address may not be used",
};

/** @param {import("./realtime.js").Connection} state */
function drawConnection(state) {
  byId("connection").dataset.state = state;
  setText(byId("connection-text"), CONNECTION[state]);
  if (state === "signed-out" && signedIn) signIn.show();
}

/** @type {ReturnType<typeof setTimeout> | undefined} */
let sayTimer;

/** A short word to the person. @param {string} text */
function say(text) {
  setText(byId("toast"), text);
  clearTimeout(sayTimer);
  sayTimer = setTimeout(() => setText(byId("toast"), ""), SAY_MS);
}

/** Show what the address names: `#/` is a new chat, `#/<id>` a thread. */
function route() {
  current = /^#\/([A-Za-z0-9_-]{1,64})$/.exec(location.hash)?.[1] ?? "";
  threads.current = current;
  conversations.shown = current;
  if (current) conversations.listen(current);
  if (current && !threads.threads.has(current)) notice(current);
  chat.show(conversations.get(current));
  attachments.clear();
  field.value = store.draft(current);
  grow();
  threads.draw();
  drawHead();
  setDrawer(false);
}

addEventListener("hashchange", () => {
  if (!signedIn) return;
  route();
  field.focus();
});

// ---------------------------------------------------------------------- the field

function typed() {
  store.setDraft(current, field.value);
  grow();
  drawHead();
}

function grow() {
  field.style.height = "auto";
  field.style.height = `${field.scrollHeight}px`;
}

field.addEventListener("input", typed);
field.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
  // While an input method composes, Enter chooses a word; Safari says so by the code alone.
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
  event.preventDefault();
  byId("composer").requestSubmit();
});
byId("composer").addEventListener("submit", (/** @type {Event} */ event) => {
  event.preventDefault();
  const text = field.value.trim();
  if (byId("send").disabled) return;
  const files = attachments.take();
  field.value = "";
  typed();
  send(files.length ? [...(text ? [{ type: "text", text }] : []), ...files] : text);
  field.focus();
});
picker.addEventListener("change", drawHead);
byId("stop").addEventListener("click", () => {
  stop();
  field.focus();
});

// ---------------------------------------------------------------------- drawer and keys

const narrow = matchMedia("(max-width: 759px)");

/** On phones the list is a drawer; whatever is behind the other cannot be reached.
 * @param {boolean} open */
function setDrawer(open) {
  byId("app").classList.toggle("drawer-open", open);
  byId("threads").inert = narrow.matches && !open;
  byId("chat").inert = narrow.matches && open;
  byId("menu").setAttribute("aria-expanded", String(open));
}

byId("menu").addEventListener("click", () => {
  setDrawer(true);
  byId("new").focus();
});
byId("shade").addEventListener("click", () => setDrawer(false));
narrow.addEventListener("change", () => setDrawer(false));
byId("new").addEventListener("click", () => {
  location.hash = "#/";
  setDrawer(false);
  field.focus();
});
byId("skip").addEventListener("click", (/** @type {Event} */ event) => {
  event.preventDefault(); // the address names the thread
  field.focus();
});
byId("edit").addEventListener("click", () => {
  const thread = threads.threads.get(current);
  if (thread) dialog.show(thread);
});
addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || event.defaultPrevented || event.isComposing || dialog.open) return;
  if (byId("app").classList.contains("drawer-open")) {
    setDrawer(false);
    byId("menu").focus();
  } else {
    stop();
  }
});

signIn.begin();
