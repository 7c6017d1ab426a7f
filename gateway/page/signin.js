/** Signing in and out. */

import { ApiError, call } from "./api.js";
import { byId, setText } from "./dom.js";

/** @typedef {{id: string, email: string}} Me */

/** How long to wait for a gateway that is not there. */
const AGAIN_MS = 2000;

export class SignIn {
  /** @param {{onEnter: (me: Me) => Promise<void>, onLeave: () => void, onSignedOut: () => void,
   *   say: (text: string) => void}} owner */
  constructor(owner) {
    this.owner = owner;
    byId("dev-sign-in").addEventListener("submit", (/** @type {Event} */ event) => {
      event.preventDefault();
      this.#devSignIn();
    });
    byId("sign-out").addEventListener("click", () => this.attempt(async () => {
      await call("POST", "/auth/logout", {});
      owner.onSignedOut();
    }));
  }

  /** Who is here? Let them in, or ask. */
  async begin() {
    await this.#insist(async () => {
      try {
        await this.#enter(await call("GET", "/auth/me"));
      } catch (error) {
        if (!isSignedOut(error)) throw error;
        await this.#ask();
      }
    });
  }

  /** Nobody is signed in any more. */
  async show() {
    this.owner.onLeave();
    await this.#insist(() => this.#ask());
  }

  /** Do something that may fail, and say so where it does. @param {() => Promise<any>} work */
  async attempt(work) {
    try {
      await work();
    } catch (error) {
      if (isSignedOut(error)) await this.show();
      else this.owner.say(/** @type {Error} */ (error).message);
    }
  }

  /** Until the gateway is there. @param {() => Promise<void>} work */
  async #insist(work) {
    for (;;) {
      try {
        await work();
        return;
      } catch (error) {
        this.#only("splash");
        setText(byId("splash"), `${/** @type {Error} */ (error).message} Trying again…`);
        await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
      }
    }
  }

  async #ask() {
    const ways = await call("GET", "/auth/ways");
    this.#only("sign-in");
    byId("dev-sign-in").hidden = !ways.dev;
    byId("issuer").hidden = !ways.issuer;
    setText(byId("issuer"), `Continue with ${ways.issuerName ?? "your account"}`);
    byId("no-way").hidden = ways.dev || ways.issuer;
    (ways.dev ? byId("email") : byId("issuer")).focus();
  }

  async #devSignIn() {
    setText(byId("sign-in-error"), "");
    try {
      await this.#enter(await call("POST", "/auth/dev-login", { email: byId("email").value.trim() }));
      byId("draft").focus();
    } catch (error) {
      setText(byId("sign-in-error"), /** @type {Error} */ (error).message);
    }
  }

  /** @param {Me} me */
  async #enter(me) {
    setText(byId("who"), me.email);
    this.#only("app");
    await this.owner.onEnter(me);
  }

  /** Show one of the three. @param {string} id */
  #only(id) {
    for (const one of ["splash", "sign-in", "app"]) byId(one).hidden = one !== id;
  }
}

/** @param {any} error */
function isSignedOut(error) {
  return error instanceof ApiError && error.status === 401;
}
