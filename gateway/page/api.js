/** The gateway's REST. */

/** What the gateway answered with a status of 400 or more; 0 where no answer came. */
export class ApiError extends Error {
  /** @param {number} status @param {string} code @param {string} message */
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/**
 * @param {string} method @param {string} path @param {object} [body]
 * @returns {Promise<any>} the JSON of the answer, or null
 */
export async function call(method, path, body) {
  const options = body === undefined ? {} : {
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  };
  let answer;
  try {
    answer = await fetch(path, { method, ...options });
  } catch {
    throw new ApiError(0, "unreachable", "Baton cannot be reached.");
  }
  if (answer.status === 204) return null;
  const json = await answer.json().catch(() => null);
  if (answer.ok) return json;
  const { code = "internal", message = `HTTP ${answer.status}` } = json?.error ?? {};
  throw new ApiError(answer.status, code, message);
}

/** A path with its ids escaped. @param {TemplateStringsArray} texts @param {...string} values */
export function path(texts, ...values) {
  return String.raw({ raw: texts }, ...values.map(encodeURIComponent));
}
