/** The dialog in which a thread is renamed or deleted. */

import { byId, setText } from "./dom.js";

/** @typedef {import("./threads.js").Thread} Thread */

export class ThreadDialog {
  /** @type {Thread | null} */
  #thread = null;
  #sure = false;

  /** @param {{rename: (thread: Thread, title: string | null) => void,
   *   remove: (thread: Thread) => void}} owner */
  constructor(owner) {
    this.dialog = byId("dialog");
    this.name = byId("name");
    byId("cancel").addEventListener("click", () => this.dialog.close());
    byId("dialog-form").addEventListener("submit", () => {
      if (this.#thread) owner.rename(this.#thread, this.name.value.trim() || null);
    });
    byId("delete").addEventListener("click", () => {
      if (!this.#sure) {
        this.#ask(true);
        return;
      }
      this.dialog.close();
      if (this.#thread) owner.remove(this.#thread);
    });
  }

  get open() {
    return this.dialog.open;
  }

  /** @param {Thread} thread */
  show(thread) {
    this.#thread = thread;
    this.#ask(false);
    this.name.value = thread.title ?? "";
    this.dialog.showModal();
    this.name.select();
  }

  /** Deleting takes two clicks. @param {boolean} sure */
  #ask(sure) {
    this.#sure = sure;
    setText(byId("delete"), sure ? "Really delete?" : "Delete");
  }
}
