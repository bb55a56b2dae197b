import { describe, expect, it } from "vitest";
import { layOut, objectProblem } from "./json";

const text = (source: string) => layOut(source).map((token) => token.text).join("");

describe("JSON as text", () => {
  it("is set in lines", () => {
    expect(text('{"a":1,"b":[true,null],"c":{},"d":[]}')).toBe('{\n  "a": 1,\n  "b": [\n    true,\n    null\n  ],\n  "c": {},\n  "d": []\n}');
  });

  it("keeps every digit and every doubled field", () => {
    expect(text('{"n":12345678901234567890.10,"n":1e400}')).toContain("12345678901234567890.10");
    expect(text('{"n":1,"n":2}').match(/"n"/g)).toHaveLength(2);
  });

  it("knows keys from strings, also with escapes", () => {
    const tokens = layOut('{"a\\"b":"c\\\\"}').filter(({ kind }) => kind === "key" || kind === "string");
    expect(tokens).toEqual([
      { kind: "key", text: '"a\\"b"' },
      { kind: "string", text: '"c\\\\"' },
    ]);
  });

  it("shows what is cut off, or none at all", () => {
    expect(text('{"a":"unfinis')).toBe('{\n  "a": "unfinis');
    expect(text("not json at all")).toBe("not json at all");
    expect(text("]]]}")).toContain("]");
    expect(text("")).toBe("");
  });

  it("stands any depth", () => {
    const deep = "[".repeat(100_000) + "]".repeat(100_000);
    expect(layOut(deep).filter(({ kind }) => kind === "mark")).toHaveLength(200_000);
  });

  it("says what is wrong with a message", () => {
    expect(objectProblem('{"a":1}')).toBeNull();
    expect(objectProblem("[1]")).toMatch(/object/);
    expect(objectProblem("{")).not.toBeNull();
  });
});
