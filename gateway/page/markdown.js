/**
 * A small Markdown: text → blocks → DOM nodes. What a model writes never becomes HTML; links lead
 * to http, https, mailto and our own files only, and images are shown as links, since loading one would tell its
 * server what was said.
 *
 * Every search is bounded or remembers that it failed, so that hostile text takes no longer.
 *
 * @typedef {string | {kind: "code", text: string} | {kind: "break"}
 *   | {kind: "strong" | "em" | "del", children: Inline[]}
 *   | {kind: "link", href: string, children: Inline[]}} Inline
 * @typedef {object} Block
 * @property {string} kind paragraph, heading, code, rule, quote, list, or table
 * @property {string} source the lines it was made of: the same source gives the same block
 * @property {string} [text]
 * @property {number} [level]
 * @property {string} [language]
 * @property {number | null} [start] of an ordered list
 * @property {Block[]} [blocks]
 * @property {Block[][]} [items]
 * @property {string[][]} [rows] the first one is the head
 */

import { copy, el } from "./dom.js";

const MOST_NESTED = 6;
const FENCE = /^ {0,3}(`{3,}(?=[^`]*$)|~{3,})(.*)$/;
const HEADING = /^ {0,3}(#{1,6})(?: +(.*))?$/;
const RULE = /^ {0,3}(?:(?:-\s*){3,}|(?:\*\s*){3,}|(?:_\s*){3,})$/;
const QUOTE = /^ {0,3}> ?(.*)$/;
const ITEM = /^( {0,3})([-*+]|\d{1,9}[.)])(?:( +)(.*))?$/;
const DELIMITERS = /^(?=.{1,500}$) {0,3}\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*$/;

// ---------------------------------------------------------------------- blocks

/** @param {string} text @returns {Block[]} */
export function blocksOf(text) {
  return readBlocks(text.replace(/\r\n?/g, "\n").replace(/\t/g, "    ").split("\n"), 0);
}

/** @param {string[]} lines @param {number} depth @returns {Block[]} */
function readBlocks(lines, depth) {
  const blocks = [];
  let at = 0;
  while (at < lines.length) {
    if (!lines[at].trim()) {
      at += 1;
      continue;
    }
    const [block, next] = readBlock(lines, at, depth);
    blocks.push({ ...block, source: lines.slice(at, next).join("\n") });
    at = next;
  }
  return blocks;
}

/** The block that begins at a line, and the line after it.
 * @param {string[]} lines @param {number} at @param {number} depth @returns {[any, number]} */
function readBlock(lines, at, depth) {
  const line = lines[at];
  const fence = FENCE.exec(line);
  if (fence) return readCode(lines, at, fence);
  const heading = HEADING.exec(line);
  if (heading) {
    const text = without((heading[2] ?? "").trim(), "#").trim();
    return [{ kind: "heading", level: heading[1].length, text }, at + 1];
  }
  if (RULE.test(line)) return [{ kind: "rule" }, at + 1];
  if (depth < MOST_NESTED && QUOTE.test(line)) return readQuote(lines, at, depth);
  if (depth < MOST_NESTED && ITEM.test(line)) return readList(lines, at, depth);
  if (line.includes("|") && DELIMITERS.test(lines[at + 1] ?? "")) return readTable(lines, at);
  let next = at + 1;
  while (next < lines.length && lines[next].trim() && !interrupts(lines[next])) next += 1;
  const text = lines.slice(at, next).map((one) => one.trim()).join("\n");
  return [{ kind: "paragraph", text }, next];
}

/** Whether a line ends the paragraph before it. @param {string} line */
function interrupts(line) {
  return FENCE.test(line) || HEADING.test(line) || RULE.test(line) || QUOTE.test(line) ||
    ITEM.test(line);
}

/** A fence that is not closed yet runs to the end: half an answer looks right, too.
 * @param {string[]} lines @param {number} at @param {RegExpExecArray} fence
 * @returns {[any, number]} */
function readCode(lines, at, fence) {
  const mark = fence[1];
  let end = at + 1;
  while (end < lines.length) {
    const line = lines[end].trim();
    if (line.length >= mark.length && line === mark[0].repeat(line.length)) break;
    end += 1;
  }
  const text = lines.slice(at + 1, end).join("\n");
  const language = fence[2].trim().split(" ", 1)[0];
  return [{ kind: "code", language, text }, Math.min(end + 1, lines.length)];
}

/** @param {string[]} lines @param {number} at @param {number} depth @returns {[any, number]} */
function readQuote(lines, at, depth) {
  const inner = [];
  let next = at;
  for (; next < lines.length && QUOTE.test(lines[next]); next += 1) {
    inner.push(QUOTE.exec(lines[next])?.[1] ?? "");
  }
  return [{ kind: "quote", blocks: readBlocks(inner, depth + 1) }, next];
}

/** @param {string[]} lines @param {number} at @param {number} depth @returns {[any, number]} */
function readList(lines, at, depth) {
  const first = /** @type {RegExpExecArray} */ (ITEM.exec(lines[at]));
  const ordered = /\d/.test(first[2]);
  const items = [];
  let next = at;
  while (next < lines.length) {
    const item = ITEM.exec(lines[next]);
    if (!item || /\d/.test(item[2]) !== ordered || RULE.test(lines[next])) break;
    const indent = item[1].length + item[2].length + Math.min(item[3]?.length ?? 1, 4);
    const inner = [item[4] ?? ""];
    for (next += 1; next < lines.length; next += 1) {
      const line = lines[next];
      const inside = line.startsWith(" ".repeat(Math.min(indent, 2)));
      if (line.trim() ? !inside && (interrupts(line) || !lines[next - 1].trim())
        : !/^ {2}|^ {0,3}(?:[-*+]|\d{1,9}[.)]) /.test(lines[next + 1] ?? "")) break;
      inner.push(line.replace(new RegExp(`^ {0,${indent}}`), ""));
    }
    items.push(readBlocks(inner, depth + 1));
    while (next < lines.length && !lines[next].trim() && ITEM.test(lines[next + 1] ?? "")) next += 1;
  }
  return [{ kind: "list", start: ordered ? Number.parseInt(first[2], 10) : null, items }, next];
}

/** @param {string[]} lines @param {number} at @returns {[any, number]} */
function readTable(lines, at) {
  const rows = [cells(lines[at])];
  let next = at + 2;
  for (; next < lines.length && lines[next].includes("|"); next += 1) rows.push(cells(lines[next]));
  return [{ kind: "table", rows }, next];
}

/** A text without such characters at its end. @param {string} text @param {string} unwanted */
function without(text, unwanted) {
  let end = text.length;
  while (end > 0 && unwanted.includes(text[end - 1])) end -= 1;
  return text.slice(0, end);
}

/** @param {string} line */
function cells(line) {
  const bare = line.trim().replace(/^\|/, "").replace(/(?<!\\)\|$/, "");
  return bare.split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
}

// ---------------------------------------------------------------------- text inside a block

const ESCAPABLE = /[!-/:-@[-`{-~]/;
const MARKS = ["**", "__", "~~", "*", "_"];
/** @type {Record<string, "strong" | "em" | "del">} */
const KINDS = { "**": "strong", "__": "strong", "~~": "del", "*": "em", "_": "em" };
const BARE_URL = /https?:\/\/[^\s<>"'`|\\^{}]{1,2000}/iy;
const ANGLE_URL = /<((?:https?:\/\/|mailto:)[^\s<>]{1,2000})>/iy;
const TARGET = /\(\s*<?([^\s<>()]{0,2000}(?:\([^\s<>()]{0,500}\)[^\s<>()]{0,500})?)>?(?:\s+"[^"\n]{0,500}")?\s*\)/y;
const MOST_LABEL = 1000;

/** @param {string} text @returns {Inline[]} */
export function inlineOf(text) {
  return new Scanner(text, 0, false).read();
}

class Scanner {
  /** @param {string} text @param {number} depth @param {boolean} inLink */
  constructor(text, depth, inLink) {
    this.text = text;
    this.depth = depth;
    this.inLink = inLink;
    this.at = 0;
    /** @type {Inline[]} */
    this.found = [];
    this.plain = "";
    /** Up to where a mark is known to have no end. @type {Map<string, number>} */
    this.endless = new Map();
  }

  read() {
    while (this.at < this.text.length) {
      if (!this.#special()) {
        this.plain += this.text[this.at];
        this.at += 1;
      }
    }
    this.#flush();
    return this.found;
  }

  #flush() {
    if (this.plain) this.found.push(this.plain);
    this.plain = "";
  }

  /** @param {Inline} node @param {number} next */
  #take(node, next) {
    this.#flush();
    this.found.push(node);
    this.at = next;
    return true;
  }

  /** Read what begins here, if it is more than a character. @returns {boolean} */
  #special() {
    const { text, at } = this;
    switch (text[at]) {
      case "\\":
        if (!ESCAPABLE.test(text[at + 1] ?? "")) return false;
        this.plain += text[at + 1];
        this.at += 2;
        return true;
      case "\n":
        return this.#take({ kind: "break" }, at + 1);
      case "`":
        return this.#code();
      case "!":
        return text[at + 1] === "[" && this.#link(at + 1, true);
      case "[":
        return this.#link(at, false);
      case "<":
        return this.#url(ANGLE_URL);
      case "h":
      case "H":
        return !/\w/.test(text[at - 1] ?? "") && this.#url(BARE_URL);
      case "*":
      case "_":
      case "~":
        return this.#emphasis();
      default:
        return false;
    }
  }

  #code() {
    const { text, at } = this;
    let start = at;
    while (text[start] === "`") start += 1;
    const mark = text.slice(at, start);
    const end = this.#end(mark, start, (found) =>
      text[found - 1] !== "`" && text[found + mark.length] !== "`");
    if (end < 0) {
      this.plain += mark;
      this.at = start;
      return true;
    }
    const inner = text.slice(start, end).replace(/\n/g, " ");
    const padded = inner.startsWith(" ") && inner.endsWith(" ") && inner.trim();
    return this.#take({ kind: "code", text: padded ? inner.slice(1, -1) : inner },
      end + mark.length);
  }

  #emphasis() {
    const { text, at } = this;
    const mark = MARKS.find((one) => text.startsWith(one, at));
    if (!mark || this.depth >= MOST_NESTED) return false;
    const start = at + mark.length;
    if (/^\s|^$/.test(text.slice(start, start + 1))) return false;
    if (mark[0] === "_" && /\w/.test(text[at - 1] ?? "")) return false;
    const end = this.#end(mark, start + 1, (found) =>
      !/\s/.test(text[found - 1]) &&
      text[found + mark.length] !== mark[0] &&
      (mark.length > 1 || text[found - 1] !== mark) &&
      (mark[0] !== "_" || !/\w/.test(text[found + mark.length] ?? "")));
    if (end < 0) return false;
    const inner = new Scanner(text.slice(start, end), this.depth + 1, this.inLink);
    const children = inner.read();
    return this.#take({ kind: KINDS[mark], children }, end + mark.length);
  }

  /** Where a mark ends, or -1; a failed search is not repeated.
   * @param {string} mark @param {number} from @param {(found: number) => boolean} fits */
  #end(mark, from, fits) {
    let found = this.text.indexOf(mark, Math.max(from, this.endless.get(mark) ?? 0));
    while (found >= 0 && !fits(found)) found = this.text.indexOf(mark, found + 1);
    if (found < 0) this.endless.set(mark, this.text.length);
    return found;
  }

  /** @param {number} open where the bracket is @param {boolean} image */
  #link(open, image) {
    const { text } = this;
    if (this.inLink) return false;
    const close = this.#bracket(open);
    if (close < 0 || text[close + 1] !== "(") return false;
    TARGET.lastIndex = close + 1;
    const target = TARGET.exec(text);
    const href = target && safeHref(target[1]);
    if (!target || !href) return false;
    const label = text.slice(open + 1, close);
    /** @type {Inline[]} */
    const children = image ? [`Image: ${label || href}`]
      : new Scanner(label, this.depth, true).read();
    return this.#take({ kind: "link", href, children }, TARGET.lastIndex);
  }

  /** The bracket that closes the one at `open`, or -1. @param {number} open */
  #bracket(open) {
    let depth = 0;
    const most = Math.min(this.text.length, open + MOST_LABEL);
    if (!this.text.slice(open, most).includes("](")) return -1;
    for (let at = open; at < most; at += 1) {
      if (this.text[at] === "\\") at += 1;
      else if (this.text[at] === "[") depth += 1;
      else if (this.text[at] === "]" && (depth -= 1) === 0) return at;
    }
    return -1;
  }

  /** @param {RegExp} pattern */
  #url(pattern) {
    pattern.lastIndex = this.at;
    const found = this.inLink ? null : pattern.exec(this.text);
    if (!found) return false;
    const shown = found[1] ?? without(found[0], ".,;:!?)]*_~");
    const href = safeHref(shown);
    if (!href) return false;
    const length = found[1] ? found[0].length : shown.length;
    return this.#take({ kind: "link", href, children: [shown] }, this.at + length);
  }
}

/** An address that may be followed, or null. @param {string} text */
export function safeHref(text) {
  if (/^\/api\/files\/file_[0-9a-f]{32}$/.test(text)) return text;
  if (!/^(?:https?:\/\/|mailto:)/i.test(text)) return null;
  try {
    const url = new URL(text);
    return ["http:", "https:", "mailto:"].includes(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

// ---------------------------------------------------------------------- nodes

/** A view of a growing text: only blocks that have changed are made anew. */
export class MarkdownView {
  constructor() {
    this.element = el("div", { class: "prose" });
    this.text = "";
    /** @type {string[]} */
    this.sources = [];
  }

  /** @param {string} text */
  update(text) {
    if (text === this.text) return;
    this.text = text;
    const blocks = blocksOf(text);
    let same = 0;
    while (same < blocks.length && this.sources[same] === blocks[same].source) same += 1;
    while (this.element.children.length > same) this.element.lastElementChild?.remove();
    this.element.append(...blocks.slice(same).map(blockNode));
    this.sources = blocks.map((block) => block.source);
  }
}

/** @param {any} block @returns {Node} */
function blockNode(block) {
  switch (block.kind) {
    case "heading": // h1 is the page's, h2 says who speaks
      return el(`h${Math.min(6, block.level + 2)}`, {}, ...nodes(inlineOf(block.text)));
    case "code":
      return codeNode(block);
    case "rule":
      return el("hr");
    case "quote":
      return el("blockquote", {}, ...block.blocks.map(blockNode));
    case "list":
      return listNode(block);
    case "table":
      return tableNode(block.rows);
    default:
      return el("p", {}, ...nodes(inlineOf(block.text)));
  }
}

/** @param {{language: string, text: string}} block */
function codeNode({ language, text }) {
  const button = el("button", { type: "button", class: "quiet small", click: async () => {
    await copy(text);
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), 1500);
  } }, "Copy");
  const label = language ? `Code, ${language}` : "Code";
  return el("figure", { class: "code" },
    el("figcaption", {}, el("span", {}, language || "code"), button),
    el("pre", { tabindex: "0", role: "group", "aria-label": label }, el("code", {}, text)));
}

/** @param {{start: number | null, items: Block[][]}} block */
function listNode({ start, items }) {
  const made = items.map((blocks) => {
    const [first, ...rest] = blocks;
    const tight = first?.kind === "paragraph" ? nodes(inlineOf(first.text ?? "")) : [];
    return el("li", {}, ...tight, ...(tight.length ? rest : blocks).map(blockNode));
  });
  if (start === null) return el("ul", {}, ...made);
  return el("ol", start === 1 ? {} : { start: String(start) }, ...made);
}

/** @param {string[][]} rows */
function tableNode([head, ...rows]) {
  const row = (/** @type {string[]} */ one, /** @type {string} */ tag) =>
    el("tr", {}, ...head.map((_, index) => el(tag, tag === "th" ? { scope: "col" } : {},
      ...nodes(inlineOf(one[index] ?? "")))));
  return el("div", { class: "table", tabindex: "0", role: "group", "aria-label": "Table" },
    el("table", {}, el("thead", {}, row(head, "th")),
      el("tbody", {}, ...rows.map((one) => row(one, "td")))));
}

/** @param {Inline[]} inlines @returns {(Node | string)[]} */
function nodes(inlines) {
  return inlines.map((one) => {
    if (typeof one === "string") return one;
    switch (one.kind) {
      case "break":
        return el("br");
      case "code":
        return el("code", {}, one.text);
      case "link":
        return el("a", { href: one.href, target: "_blank", rel: "noopener noreferrer nofollow" },
          ...nodes(one.children));
      default:
        return el(one.kind, {}, ...nodes(one.children));
    }
  });
}
