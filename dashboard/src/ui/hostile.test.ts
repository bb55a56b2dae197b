import { describe, expect, it } from "vitest";
import { cutText, pieces, plain } from "./hostile";

const shown = (text: string) => pieces(text).map((piece) => ("text" in piece ? piece.text : `<${piece.code}>`)).join("");

describe("text that others wrote", () => {
  it("is left as it is when it is plain", () => {
    for (const text of ["user_0042", "naïve café", "日本語", "<script>alert(1)</script>", "👩‍👩‍👧 family"]) {
      expect(pieces(text)).toEqual([{ text }]);
    }
    expect(pieces("")).toEqual([]);
  });

  it("shows what turns the order of characters", () => {
    expect(shown("\u202Eexe.gnp")).toBe("<U+202E>exe.gnp");
    for (const odd of "\u061C\u200E\u200F\u202A\u202B\u202C\u202D\u2066\u2067\u2068\u2069") expect(shown(`a${odd}b`)).toMatch(/^a<U\+[0-9A-F]{4}>b$/);
  });

  it("shows controls, zero widths, tags, broken characters and lone surrogates", () => {
    expect(shown("\u0000\u001B[31m")).toBe("<U+0000><U+001B>[31m");
    expect(shown("a\u200Bb\uFEFF")).toBe("a<U+200B>b<U+FEFF>");
    expect(shown("\u{E0041}x")).toBe("<U+E0041>x");
    expect(shown("\uFFFD")).toBe("<U+FFFD>");
    expect(shown("\uD800x\uDC00")).toBe("<U+D800>x<U+DC00>");
  });

  it("shows line feeds", () => {
    expect(shown("a\nb")).toBe("a<U+000A>b");
  });

  it("is cut, and never within a character", () => {
    expect(cutText("abcdef", 3)).toEqual({ shown: "abc", cut: 3 });
    expect(cutText("ab😀", 3)).toEqual({ shown: "ab", cut: 2 });
    expect(plain("M".repeat(1 << 20), 10)).toBe("MMMMMMMMMM…");
  });
});
