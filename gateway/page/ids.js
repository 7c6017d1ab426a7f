/** Ids that this page chooses: letters, digits, `_` and `-`, at most 64. */

/** @param {string} prefix */
export function newId(prefix) {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  const text = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  // Sortable by time, as the gateway's own ids are.
  return `${prefix}_${Date.now().toString(16).padStart(12, "0")}${text}`;
}
