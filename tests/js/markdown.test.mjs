// Markdown without a browser: text in, plain objects out.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { blocksOf, inlineOf, safeHref } from "../../gateway/page/markdown.js";

const kinds = (text) => blocksOf(text).map((block) => block.kind);
/** Inline nodes in short: `**a**` → ["strong", "a"]. */
const short = (nodes) => nodes.map((one) => typeof one === "string" ? one
  : [one.kind, ...(one.href ? [one.href] : []), ...(one.children ? short(one.children)
    : one.text === undefined ? [] : [one.text])]);
const inline = (text) => short(inlineOf(text));

describe("blocks", () => {
  test("of every kind", () => {
    assert.deepEqual(
      kinds("# Head\ntext\n\n- a\n- b\n\n> quote\n\n---\n\n```js\ncode\n```\n\n| a | b |\n|--|--|\n| 1 | 2 |"),
      ["heading", "paragraph", "list", "quote", "rule", "code", "table"],
    );
  });

  test("code keeps its lines, and may not be closed yet", () => {
    const [code] = blocksOf("```py x\n  a\n\n# b");
    assert.deepEqual([code.language, code.text], ["py", "  a\n\n# b"]);
  });

  test("lists nest, and keep the number they begin with", () => {
    const [list] = blocksOf("3. a\n   - x\n   - y\n4. b\n\nafter");
    assert.equal(list.start, 3);
    assert.equal(list.items.length, 2);
    assert.deepEqual(list.items[0].map((block) => block.kind), ["paragraph", "list"]);
    assert.equal(list.items[0][1].items.length, 2);
  });

  test("a list with blank lines between is one list", () => {
    assert.deepEqual(kinds("1. a\n\n2. b\n\n3. c"), ["list"]);
  });

  test("headings lose what closes them", () => {
    assert.equal(blocksOf("## a # b ##")[0].text, "a # b");
  });

  test("table cells may hold an escaped bar, and rows may be short", () => {
    const [table] = blocksOf("a | b\n--|--\nx \\| y");
    assert.deepEqual(table.rows, [["a", "b"], ["x | y"]]);
  });

  test("the same lines have the same source, so that a growing text is drawn once", () => {
    const [first] = blocksOf("one\n\ntwo");
    const [again] = blocksOf("one\n\ntwo and more");
    assert.equal(first.source, again.source);
  });
});

describe("text", () => {
  test("is emphasised", () => {
    assert.deepEqual(inline("a **b *c*** ~~d~~ _e_"),
      ["a ", ["strong", "b ", ["em", "c"]], " ", ["del", "d"], " ", ["em", "e"]]);
  });

  test("is left alone where nothing is meant", () => {
    for (const text of ["2 * 3 * 4", "snake_case_name", "**open", "`open", "[a](b", "a\\b"]) {
      assert.deepEqual(inline(text), [text]);
    }
  });

  test("code has no markup inside", () => {
    assert.deepEqual(inline("`**a**` ``b`c``"), [["code", "**a**"], " ", ["code", "b`c"]]);
  });

  test("links lead to the web and to mail, and to nothing else", () => {
    assert.deepEqual(inline("[a](https://x.y/?q=1)"), [["link", "https://x.y/?q=1", "a"]]);
    assert.deepEqual(inline("see https://x.y/z."), ["see ", ["link", "https://x.y/z", "https://x.y/z"], "."]);
    for (const href of ["javascript:alert(1)", "JaVaScRiPt:alert(1)", "data:text/html,x", "//x.y",
      "java\tscript:alert(1)", "vbscript:x", "/local", "file:///etc/passwd", "blob:x"]) {
      assert.equal(safeHref(href), null);
      assert.ok(!JSON.stringify(inline(`[a](${href})`)).includes("link"), href);
    }
  });

  test("images are links, never loaded", () => {
    assert.deepEqual(inline("![cat](https://x.y/c.png)"), [["link", "https://x.y/c.png", "Image: cat"]]);
  });

  test("links hold no links", () => {
    assert.deepEqual(inline("[https://a.b](https://c.d)"), [["link", "https://c.d/", "https://a.b"]]);
  });

  test("HTML is text", () => {
    const html = '<img src=x onerror="alert(1)"><script>alert(1)</script>';
    assert.deepEqual(inline(html), [html]);
  });
});

describe("hostile text of 200,000 characters", () => {
  const long = 200_000;
  for (const piece of ["[", "![", "*a ", "**a ", "_a ", "`", "``a", "> ", "- ", "  - a\n", "```\n",
    "# ", "#", " ", "|", "|-", "-|-\n", "a|b\n", "https://a ", "https://", "<https://a", "[a](", "\\",
    "1. ", "~~", "*a**b", "[](", "](", "\n", " \n", "((", "[a](https://x", "***a"]) {
    test(JSON.stringify(piece), { timeout: 60_000 }, () => {
      const text = piece.repeat(Math.ceil(long / piece.length));
      const begun = process.cpuUsage();  // this machine may be busy with something else
      for (const block of blocksOf(text)) inlineOf(block.text ?? "");
      for (const line of [text, `#${" ".repeat(long)}x`, `\`\`\`${text}\``]) {
        blocksOf(line);
        inlineOf(line);
      }
      assert.ok(process.cpuUsage(begun).user < 4_000_000);
    });
  }
});

test("files of ours may be followed, and nothing else of this site", () => {
  const file = `/api/files/file_${"0".repeat(32)}`;
  assert.deepEqual(inline(`[a.csv](${file})`), [["link", file, "a.csv"]]);
  for (const other of ["/api/files/x", "/auth/logout", `//evil${file}`, `${file}/../../x`]) {
    assert.equal(safeHref(other), null);
  }
});
