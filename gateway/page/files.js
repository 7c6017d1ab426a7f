/** Files: those that a message shows, those that tools made, and those about to be sent. */

import { byId, el } from "./dom.js";

/**
 * @typedef {{type: string, text?: string, source?: {type: string, value: string},
 *   metadata?: {name?: string, mediaType?: string, size?: number}}} Part
 * @typedef {{id: string, name: string, image: boolean}} Shown
 */

const PICTURE = /\.(?:png|jpe?g|gif|webp)$/i;
/** A file that a tool has made, as its result shows it. */
const MADE = /\[([^[\]\n]{1,400})\]\(\/api\/files\/(file_[0-9a-f]{32})\)/g;
const ID = /^file_[0-9a-f]{32}$/;
const MOST_MADE = 20;

/** The files that a message's content shows. @param {any} content @returns {Shown[]} */
export function filesOf(content) {
  if (!Array.isArray(content)) return [];
  return content
    .filter((/** @type {Part} */ part) => ID.test(part.source?.value ?? ""))
    .map((part) => ({
      id: part.source.value,
      name: part.metadata?.name ?? (part.type === "image" ? "Picture" : "File"),
      image: part.type === "image",
    }));
}

/** The files that a tool's result speaks of. @param {string} text @returns {Shown[]} */
export function filesIn(text) {
  /** @type {Map<string, Shown>} */
  const found = new Map();
  for (const [, name, id] of text.matchAll(MADE)) {
    if (found.size < MOST_MADE) found.set(id, { id, name, image: PICTURE.test(name) });
  }
  return [...found.values()];
}

/** What a message says besides its files. @param {any} content @returns {string} */
export function wordsOf(content) {
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) return "";
  return content.map((part) => (part.type === "text" ? part.text : "")).join("");
}

/** A list of files to be downloaded, pictures shown. @param {Shown[]} files */
export function fileList(files) {
  return el("ul", { class: "files", "aria-label": "Files" }, ...files.map((file) => {
    const href = `/api/files/${file.id}`;
    const named = el("span", {}, file.name);
    const link = el("a", { class: "file", href, download: file.name }, named);
    if (file.image) {
      const picture = el("img", { src: href, alt: "", loading: "lazy" });
      picture.addEventListener("error", () => picture.remove());
      link.prepend(picture);
    }
    return el("li", {}, link);
  }));
}

/** The files beside the field: chosen, pasted or dropped, and brought at once. */
export class Attachments {
  /** @type {Map<Element, {part: Part | null, request: XMLHttpRequest | null}>} */
  #items = new Map();

  /** @param {{onChange: () => void, onFailure: (text: string) => void}} watcher */
  constructor(watcher) {
    this.watcher = watcher;
    this.list = byId("attachments");
    const chooser = byId("file");
    byId("attach").addEventListener("click", () => chooser.click());
    chooser.addEventListener("change", () => {
      this.#addAll(chooser.files);
      chooser.value = "";
    });
    byId("draft").addEventListener("paste", (/** @type {ClipboardEvent} */ event) => {
      const files = event.clipboardData?.files ?? [];
      if (files.length === 0) return;
      event.preventDefault();
      this.#addAll(files);
    });
    const chat = byId("chat");
    chat.addEventListener("dragover", (/** @type {DragEvent} */ event) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      chat.classList.add("dropping");
    });
    chat.addEventListener("dragleave", () => chat.classList.remove("dropping"));
    chat.addEventListener("drop", (/** @type {DragEvent} */ event) => {
      chat.classList.remove("dropping");
      if (!event.dataTransfer?.files.length) return;
      event.preventDefault();
      this.#addAll(event.dataTransfer.files);
    });
  }

  /** Whether there are any. */
  get any() {
    return this.#items.size > 0;
  }

  /** Whether some are still on their way. */
  get busy() {
    return [...this.#items.values()].some(({ part }) => part === null);
  }

  /** The parts of a message that show them; none is left. @returns {Part[]} */
  take() {
    const parts = [...this.#items.values()].flatMap(({ part }) => (part ? [part] : []));
    this.clear();
    return parts;
  }

  /** Put files back that a message was to show. @param {any} content */
  restore(content) {
    for (const file of filesOf(content)) {
      const item = this.#item(file.name);
      const part = content.find((/** @type {Part} */ one) => one.source?.value === file.id);
      this.#items.set(item, { part, request: null });
      this.#arrived(item, part);
    }
  }

  /** Let go of all. */
  clear() {
    for (const { request } of this.#items.values()) request?.abort();
    this.#items.clear();
    this.list.replaceChildren();
    this.#changed();
  }

  /** @param {FileList | File[]} files */
  #addAll(files) {
    for (const file of files) this.#add(file);
  }

  /** @param {File} file */
  #add(file) {
    const item = this.#item(file.name);
    const progress = el("progress", { max: "1", value: "0", "aria-label": `Bringing ${file.name}` });
    item.querySelector(".name").after(progress);
    const request = new XMLHttpRequest(); // fetch tells nothing of what has gone up
    this.#items.set(item, { part: null, request });
    request.upload.addEventListener("progress", ({ loaded, total }) => {
      progress.value = total ? loaded / total : 0;
    });
    request.addEventListener("loadend", () => {
      if (!this.#items.has(item)) return; // taken away meanwhile
      progress.remove();
      const answer = /** @type {any} */ (request.response);
      if (request.status === 201) {
        const { id, name, mediaType, size } = answer;
        const type = mediaType.startsWith("image/") ? "image" : "document";
        const part = { type, source: { type: "file", value: id, provider: "baton" },
          metadata: { name, mediaType, size } };
        this.#items.set(item, { part, request: null });
        this.#arrived(item, part);
      } else {
        this.#drop(item);
        const why = answer?.error?.message ?? "Baton cannot be reached.";
        this.watcher.onFailure(`${file.name}: ${why}`);
      }
    });
    request.open("POST", `/api/files?name=${encodeURIComponent(file.name.slice(-200))}`);
    request.setRequestHeader("content-type", file.type || "application/octet-stream");
    request.responseType = "json";
    request.send(file);
    this.#changed();
  }

  /** @param {string} name @returns {any} */
  #item(name) {
    const item = el("li", { class: "attachment" }, el("span", { class: "name" }, name),
      el("button", { type: "button", class: "quiet small", "aria-label": `Remove ${name}`,
        click: () => this.#drop(item) }, "×"));
    this.list.append(item);
    return item;
  }

  /** @param {any} item @param {Part} part */
  #arrived(item, part) {
    item.dataset.state = "ready";
    if (part.type === "image") {
      item.prepend(el("img", { src: `/api/files/${part.source?.value}`, alt: "" }));
    }
    this.#changed();
  }

  /** @param {Element} item */
  #drop(item) {
    this.#items.get(item)?.request?.abort();
    this.#items.delete(item);
    item.remove();
    this.#changed();
  }

  #changed() {
    this.list.hidden = this.#items.size === 0;
    this.watcher.onChange();
  }
}
