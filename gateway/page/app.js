/** The page: wires sign-in, list, conversation and socket together. */

import { ApiError, call, path } from "./api.js";
import { ChatView } from "./chat.js";
import { Conversation, isAfter, textOf } from "./conversation.js";
import { byId, el, setText } from "./dom.js";
import { newId } from "./ids.js";
import { Realtime, Refused } from "./realtime.js";
import * as store from "./store.js";
import { ThreadList } from "./threads.js";

/** Conversations kept, and listened to, besides those in which something goes on. */
const MOST_IDLE = 8;
/** So many claims back the page reads events, to show runs in full; further back, messages do. */
const CLAIMS_BACK = 30;
const EVENTS_PAGE = 1000;
const MOST_PAGES = 5;
/** Several notices at once are one reading. */
const GATHER_MS = 150;

/** @type {Map<string, Conversation>} the last one used stands last */
const conversations = new Map();
/** Runs whose end was asked for. @type {Set<string>} */
const stopping = new Set();
/** @type {{name: string, title?: string, description?: string, starters: string[]}[]} */
let agents = [];
/** The thread that is shown; empty for a new chat. */
let current = "";
/** @type {{id: string, email: string} | null} */
let me = null;

const field = byId("draft");
const picker = byId("agent");

const chat = new ChatView({ retry, edit: takeBack, withdraw, earlier });
const threads = new ThreadList({
  onEdit: openDialog,
  onChange: drawHead,
  isBusy: (id) => conversations.get(id)?.busy ?? false,
});
const realtime = new Realtime({
  onState: drawConnection,
  onFrame: received,
  onWelcome: () => reread(),
  cursorOf: (threadId) => conversations.get(threadId)?.cursor ?? null,
});

// ---------------------------------------------------------------------- signing in and out

async function begin() {
  try {
    await enter(await call("GET", "/auth/me"));
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) await showSignIn();
    else await again(error);
  }
}

/** The gateway is not there yet, or not any more: ask until it is. @param {any} error */
async function again(error) {
  byId("splash").hidden = false;
  setText(byId("splash"), `${error.message} Trying again…`);
  await new Promise((resolve) => setTimeout(resolve, 2000));
  await begin();
}

/** @param {{id: string, email: string}} who */
async function enter(who) {
  const somebodyElse = store.belongTo(who.id);
  if (somebodyElse && conversations.size) {
    location.hash = "";
    location.reload();
    return;
  }
  me = who;
  setText(byId("who"), who.email);
  byId("splash").hidden = true;
  byId("sign-in").hidden = true;
  byId("app").hidden = false;
  await readAgents();
  for (const letter of store.outbox()) post(letter);
  route();
  realtime.start();
}

async function showSignIn() {
  me = null;
  realtime.pause();
  const ways = await call("GET", "/auth/ways");
  byId("splash").hidden = true;
  byId("app").hidden = true;
  byId("sign-in").hidden = false;
  byId("dev-sign-in").hidden = !ways.dev;
  byId("issuer").hidden = !ways.issuer;
  setText(byId("issuer"), `Continue with ${ways.issuerName ?? "your account"}`);
  byId("no-way").hidden = ways.dev || ways.issuer;
  (ways.dev ? byId("email") : byId("issuer")).focus();
}

byId("dev-sign-in").addEventListener("submit", async (/** @type {Event} */ event) => {
  event.preventDefault();
  setText(byId("sign-in-error"), "");
  try {
    await enter(await call("POST", "/auth/dev-login", { email: byId("email").value.trim() }));
    field.focus();
  } catch (error) {
    setText(byId("sign-in-error"), /** @type {Error} */ (error).message);
  }
});

byId("sign-out").addEventListener("click", async () => {
  await attempt(async () => {
    await call("POST", "/auth/logout", {});
    realtime.stop();
    store.clear();
    location.hash = "";
    location.reload();
  });
});

/** Do something that may fail, and say so where it does. @param {() => Promise<any>} work */
async function attempt(work) {
  try {
    await work();
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) await showSignIn();
    else say(/** @type {Error} */ (error).message);
  }
}

/** @type {ReturnType<typeof setTimeout> | undefined} */
let sayTimer;

/** A short word to the person. @param {string} text */
function say(text) {
  setText(byId("toast"), text);
  clearTimeout(sayTimer);
  sayTimer = setTimeout(() => setText(byId("toast"), ""), 6000);
}

// ---------------------------------------------------------------------- reading

async function readAgents() {
  agents = (await call("GET", "/api/agents").catch(() => ({ data: agents }))).data;
  const chosen = picker.value;
  picker.replaceChildren(...agents.map((agent) =>
    el("option", { value: agent.name }, agent.title || agent.name)));
  if (agents.some((agent) => agent.name === chosen)) picker.value = chosen;
  drawHead();
}

/** @type {ReturnType<typeof setTimeout> | undefined} */
let rereadTimer;
/** Threads that notices have named. @type {Set<string>} */
const noticed = new Set();

/** After a connection everything is read again, for notices may have been missed. */
async function reread() {
  await attempt(async () => {
    await Promise.all([threads.refresh(), readAgents(), readRunning()]);
  });
}

/** Listen to threads in which something goes on, also those that are not on the screen. */
async function readRunning() {
  const page = await call("GET", "/api/runs?status=live&limit=20");
  for (const { threadId } of page.data) listen(threadId);
}

/** @param {string} [threadId] */
function notice(threadId) {
  noticed.add(threadId ?? "");
  clearTimeout(rereadTimer);
  rereadTimer = setTimeout(() => attempt(async () => {
    const ids = [...noticed];
    noticed.clear();
    await readRunning();
    for (const id of ids) {
      if (!id) await threads.refresh();
      else await threads.reread(id);
      const conversation = conversations.get(id);
      if (conversation) await readWaiting(conversation);
    }
  }), GATHER_MS);
}

/** @param {string} threadId @returns {Conversation} */
function listen(threadId) {
  const conversation = conversations.get(threadId) ?? new Conversation(threadId);
  conversations.delete(threadId);
  conversations.set(threadId, conversation);
  realtime.subscribe(threadId);
  const idle = [...conversations.values()].filter((one) => !one.busy && one.threadId !== current);
  for (const one of idle.slice(0, -MOST_IDLE)) leave(one.threadId);
  return conversation;
}

/** @param {string} threadId */
function leave(threadId) {
  conversations.delete(threadId);
  realtime.unsubscribe(threadId);
}

/** @param {import("./realtime.js").Frame} frame */
function received(frame) {
  if (frame.op === "changed") {
    notice(frame.threadId);
    return;
  }
  const conversation = conversations.get(frame.threadId);
  if (!conversation) return;
  switch (frame.op) {
    case "event":
      if (conversation.add(/** @type {any} */ (frame))) followed(conversation, frame.event);
      break;
    case "reset":
      conversation.reset(/** @type {any} */ (frame));
      remember(conversation);
      readWaiting(conversation);
      break;
    case "live":
      conversation.live = true;
      break;
    case "refused":
      refused(conversation, frame.code);
      break;
  }
  if (frame.threadId === current) changed();
}

/** @param {Conversation} conversation @param {import("./conversation.js").AgUiEvent} event */
function followed(conversation, event) {
  if (event.type === "RUN_STARTED") {
    if (threads.threads.has(conversation.threadId)) threads.touch(conversation.threadId, "");
    else notice(conversation.threadId);
  } else if (event.type === "RUN_FINISHED" || event.type === "RUN_ERROR") {
    threads.draw();
    readWaiting(conversation);
  }
}

/** The gateway does not know the thread, or not the cursor.
 * @param {Conversation} conversation @param {string} code */
function refused(conversation, code) {
  if (code === "bad_cursor") {
    conversation.cursor = null;
    realtime.subscribe(conversation.threadId);
  } else if (!conversation.turns.length) {
    leave(conversation.threadId);
    if (conversation.threadId !== current) return;
    say("This conversation does not exist any more.");
    location.hash = "#/";
  }
}

/** Show runs that are over as they were seen: with errors, stops, and agents inside agents.
 * @param {Conversation} conversation */
async function remember(conversation) {
  const { cursor } = conversation;
  if (!cursor) return;
  const newest = Number(cursor.split("-")[0]);
  conversation.rememberedFrom = newest + 1;
  await rememberBefore(conversation, cursor);
}

/** Read the events of some claims before those that are remembered.
 * @param {Conversation} conversation @param {string} [upTo] a cursor */
async function rememberBefore(conversation, upTo) {
  const { rememberedFrom, past, resets } = conversation;
  const first = Math.max(1, rememberedFrom - CLAIMS_BACK);
  if (rememberedFrom <= 1 || !past.length) return;
  conversation.rememberedFrom = first;
  /** @type {import("./conversation.js").PlacedEvent[]} */
  const placed = [];
  // Every claim has a first event, so that its position can serve as a cursor.
  let after = first > 1 ? `${first - 1}-1` : "0-0";
  try {
    for (let page = 0; page < MOST_PAGES && after; page += 1) {
      const query = new URLSearchParams({ after, limit: String(EVENTS_PAGE) });
      const events = await call("GET",
        `${path`/api/threads/${conversation.threadId}/events`}?${query}`);
      placed.push(...events.data);
      after = upTo && events.next && isAfter(events.next, upTo) ? null : events.next;
    }
  } catch {
    return; // messages alone tell enough
  }
  if (conversation.resets !== resets) return;
  conversation.remember(upTo ? placed.filter(({ id }) => !isAfter(id, upTo)) : placed);
  if (conversation.threadId === current) changed();
}

/** @param {Conversation} conversation */
async function readWaiting(conversation) {
  const query = new URLSearchParams({ threadId: conversation.threadId, status: "live" });
  const page = await call("GET", `/api/runs?${query}`).catch(() => null);
  if (!page) return;
  conversation.waiting(page.data);
  threads.draw();
  if (conversation.threadId === current) changed();
}

async function earlier() {
  const conversation = conversations.get(current);
  const oldest = conversation?.past[0]?.id;
  if (!conversation || !oldest) return;
  await attempt(async () => {
    const query = new URLSearchParams({ before: oldest });
    const page = await call("GET", `${path`/api/threads/${current}/messages`}?${query}`);
    conversation.earlier(page.data, page.next !== null);
    await rememberBefore(conversation);
  });
}

// ---------------------------------------------------------------------- sending and stopping

/** @param {string} text @param {string} [retryOf] id of a message that is said once more */
function send(text, retryOf) {
  const isNew = !current;
  const threadId = current || newId("thr");
  const agent = isNew ? picker.value : undefined;
  const message = { id: newId("msg"), role: "user", content: text,
    ...(retryOf ? { metadata: { retryOf } } : {}) };
  if (isNew) {
    conversations.set(threadId, new Conversation(threadId));
    threads.begins(threadId, text);
    store.setDraft("", "");
  }
  threads.touch(threadId, agent ?? "");
  post({ threadId, runId: newId("run"), agent, message });
  if (isNew) history.replaceState(null, "", `#/${threadId}`);
  if (isNew) route();
  chat.toEnd();
}

/** Hand a message to the gateway; the socket repeats it until there is an answer.
 * @param {import("./store.js").Letter} letter */
async function post(letter) {
  const { threadId, runId, agent, message } = letter;
  const conversation = conversations.get(threadId) ?? new Conversation(threadId);
  conversations.set(threadId, conversation);
  store.keep(letter);
  conversation.say(runId, message);
  changed();
  try {
    const input = { threadId, runId, messages: [message], tools: [], context: [] };
    const ack = await realtime.run({ agent, input });
    conversation.accepted(runId, ack.queued);
    if (ack.queued) readWaiting(conversation);
  } catch (error) {
    if (!(error instanceof Refused)) return; // signed out: the letter stays
    conversation.refused(runId, { code: error.code, message: error.message });
  }
  store.delivered(runId);
  threads.draw();
  changed();
}

/** @param {import("./conversation.js").Turn} turn */
function retry(turn) {
  const conversation = conversations.get(current);
  const [message] = turn.said;
  if (!conversation || !message) return;
  if (turn.state !== "unsent") {
    send(textOf(message.content), turn.retryOf ?? message.id);
    return;
  }
  // Nothing was stored, so the same message goes out again.
  conversation.forget(turn);
  const agent = threads.threads.get(current)?.agent || picker.value;
  post({ threadId: current, runId: turn.runId ?? newId("run"), agent, message });
}

/** Put a message that was not sent back into the field.
 * @param {import("./conversation.js").Turn} turn */
function takeBack(turn) {
  conversations.get(current)?.forget(turn);
  field.value = textOf(turn.said[0]?.content);
  typed();
  field.focus();
  changed();
}

/** @param {import("./conversation.js").Turn} turn */
async function withdraw(turn) {
  const conversation = conversations.get(current);
  if (!conversation || !turn.runId) return;
  await ask(turn.runId);
  await readWaiting(conversation);
}

/** Ask for the end of the run that goes on. */
function stop() {
  const runId = conversations.get(current)?.active?.runId;
  if (runId && !stopping.has(runId)) ask(runId);
}

/** @param {string} runId */
async function ask(runId) {
  stopping.add(runId);
  changed();
  try {
    await realtime.cancel(current, runId);
  } catch (error) {
    stopping.delete(runId);
    if (error instanceof Refused && error.code !== "not_running") say(error.message);
    changed();
  }
}

// ---------------------------------------------------------------------- the screen

function changed() {
  chat.changed();
  drawHead();
}

/** What surrounds the conversation. */
function drawHead() {
  const conversation = conversations.get(current);
  const title = current ? threads.titleOf(current) : "New chat";
  setText(byId("title"), title);
  document.title = current ? `${title} · Baton` : "Baton";
  byId("edit").hidden = !current;
  byId("picker").hidden = Boolean(current);
  setText(byId("agent-name"), current ? threads.threads.get(current)?.agent ?? "" : "");
  drawStart(Boolean(current));
  const active = conversation?.active;
  byId("stop").hidden = !active;
  byId("stop").disabled = Boolean(active?.runId && stopping.has(active.runId));
  setText(byId("stop-text"), byId("stop").disabled ? "Stopping…" : "Stop");
  byId("send").disabled = !field.value.trim() || (!current && agents.length === 0);
}

/** The empty page of a new chat. @param {boolean} hidden */
function drawStart(hidden) {
  byId("start").hidden = hidden;
  if (hidden) return;
  const agent = agents.find((one) => one.name === picker.value);
  setText(byId("start-text"), agent?.description ||
    (agent ? `You are talking to ${agent.title || agent.name}.` : "No agent is there yet."));
  const starters = agent?.starters ?? [];
  if (byId("starters").dataset.of === JSON.stringify(starters)) return;
  byId("starters").dataset.of = JSON.stringify(starters);
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
  if (state === "signed-out" && me) showSignIn().catch(again);
}

/** Show what the address names. */
function route() {
  const named = /^#\/([A-Za-z0-9_-]{1,64})$/.exec(location.hash)?.[1] ?? "";
  current = named;
  threads.current = named;
  if (named) listen(named);
  chat.show(conversations.get(named) ?? null);
  field.value = store.draft(named);
  grow();
  threads.draw();
  drawHead();
  closeDrawer();
}

addEventListener("hashchange", () => {
  if (!me) return;
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
  if (!text || byId("send").disabled) return;
  field.value = "";
  typed();
  send(text);
  field.focus();
});
picker.addEventListener("change", drawHead);
byId("stop").addEventListener("click", () => {
  stop();
  field.focus();
});

// ---------------------------------------------------------------------- drawer, dialog, keys

const narrow = matchMedia("(max-width: 759px)");

/** @param {boolean} open */
function setDrawer(open) {
  byId("app").classList.toggle("drawer-open", open);
  byId("threads").inert = narrow.matches && !open;
  byId("chat").inert = narrow.matches && open;
  byId("menu").setAttribute("aria-expanded", String(open));
}

function closeDrawer() {
  setDrawer(false);
}

byId("menu").addEventListener("click", () => {
  setDrawer(true);
  byId("new").focus();
});
byId("shade").addEventListener("click", closeDrawer);
narrow.addEventListener("change", closeDrawer);
byId("new").addEventListener("click", () => {
  if (location.hash !== "#/") location.hash = "#/";
  closeDrawer();
  field.focus();
});
byId("skip").addEventListener("click", (/** @type {Event} */ event) => {
  event.preventDefault();
  field.focus();
});
byId("edit").addEventListener("click", () => {
  const thread = threads.threads.get(current);
  if (thread) openDialog(thread);
});

const dialog = byId("dialog");
/** @type {import("./threads.js").Thread | null} */
let edited = null;

/** @param {import("./threads.js").Thread} thread */
function openDialog(thread) {
  edited = thread;
  byId("name").value = thread.title ?? "";
  byId("name").placeholder = threads.titleOf(thread.id);
  setText(byId("delete"), "Delete");
  dialog.showModal();
}

byId("dialog-form").addEventListener("submit", (/** @type {SubmitEvent} */ event) => {
  if (!edited || /** @type {any} */ (event.submitter)?.value !== "save") return;
  const { id } = edited;
  attempt(() => threads.rename(id, byId("name").value.trim() || null));
});
byId("delete").addEventListener("click", () => {
  if (byId("delete").textContent === "Delete") {
    setText(byId("delete"), "Really delete?");
    return;
  }
  const id = edited?.id ?? "";
  dialog.close();
  attempt(async () => {
    await threads.remove(id);
    leave(id);
    if (id === current) location.hash = "#/";
  });
});

addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || event.defaultPrevented || event.isComposing || dialog.open) return;
  if (byId("app").classList.contains("drawer-open")) {
    closeDrawer();
    byId("menu").focus();
  } else {
    stop();
  }
});

begin();
