// Lets a client that runs by Node.js be asked from outside: commands come as lines of JSON,
// {id, do, ...arguments}; what comes of each goes out as {id, piece}…, then {id, done} or {id, error}.
import { createInterface } from "node:readline";
import { readFileSync } from "node:fs";

export const { BATON_URL: url, BATON_KEY: key } = process.env;
export const base = `${url}/v1`;

/** Headers of a request under an Idempotency-Key, or without one. */
export const once = (idempotencyKey) =>
  idempotencyKey ? { "Idempotency-Key": idempotencyKey } : {};

/** The version of a package that is installed here. */
export const versionOf = (name) =>
  JSON.parse(readFileSync(new URL(`node_modules/${name}/package.json`, import.meta.url))).version;

const tell = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

// Standard output is for lines of ours; libraries warn in theirs.
console.log = console.error;
console.info = console.error;

/**
 * Serves `client`'s functions: each takes a command and a signal, and returns a value or yields
 * pieces. The command `leave` {which} aborts the signal of another one.
 */
export const serve = async (client, version) => {
  tell({ version });
  const leaving = new Map();
  const carryOut = async ({ id, do: name, ...given }) => {
    const controller = new AbortController();
    leaving.set(id, controller);
    try {
      const made = client[name](given, controller.signal);
      if (made[Symbol.asyncIterator]) {
        for await (const piece of made) if (piece) tell({ id, piece });
        tell({ id, done: null });
      } else {
        tell({ id, done: (await made) ?? null });
      }
    } catch (error) {
      tell({ id, error: `${error.name}: ${error.message}` });
    } finally {
      leaving.delete(id);
    }
  };
  for await (const line of createInterface({ input: process.stdin })) {
    const command = JSON.parse(line);
    if (command.do === "leave") leaving.get(command.which)?.abort();
    else carryOut(command);
  }
};
