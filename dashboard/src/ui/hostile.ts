// Text that others wrote. It is shown as what it is: characters that cannot be seen or that turn the order of what stands
// around them are shown by their number, and what is too long for a screen is cut and says so.

/** A run of plain text, or one character that is shown by its number. */
export type Piece = { text: string } | { code: string; name: string };

const NAMES: Readonly<Record<number, string>> = {
  0x00: "null",
  0x07: "bell",
  0x08: "backspace",
  0x09: "tab",
  0x0a: "line feed",
  0x0d: "carriage return",
  0x1b: "escape",
  0x7f: "delete",
  0xad: "soft hyphen",
  0x61c: "Arabic letter mark",
  0x200b: "zero width space",
  0x200e: "left-to-right mark",
  0x200f: "right-to-left mark",
  0x2028: "line separator",
  0x2029: "paragraph separator",
  0x202a: "left-to-right embedding",
  0x202b: "right-to-left embedding",
  0x202c: "pop directional formatting",
  0x202d: "left-to-right override",
  0x202e: "right-to-left override",
  0x2060: "word joiner",
  0x2066: "left-to-right isolate",
  0x2067: "right-to-left isolate",
  0x2068: "first strong isolate",
  0x2069: "pop directional isolate",
  0xfeff: "byte order mark",
  0xfffd: "broken text: these bytes were no character",
};

// Controls, soft hyphen, direction controls, zero width, separators, variation and tag characters, lone surrogates, U+FFFD.
// Zero width joiners (200C, 200D) stay: scripts and emoji are written with them.
const ODD =
  // eslint-disable-next-line no-control-regex -- they are what is looked for
  /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u115f\u1160\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffd]|\u034f|\u17b4|\u17b5|[\u{e0000}-\u{e0fff}]|[\ud800-\udfff]/gu;

/** The text in pieces. */
export function pieces(text: string): Piece[] {
  const all: Piece[] = [];
  let from = 0;
  for (const found of text.matchAll(ODD)) {
    const code = found[0].codePointAt(0) ?? 0;
    if (found.index > from) all.push({ text: text.slice(from, found.index) });
    const hex = code.toString(16).toUpperCase().padStart(4, "0");
    all.push({ code: `U+${hex}`, name: NAMES[code] ?? "control character" });
    from = found.index + found[0].length;
  }
  if (from < text.length) all.push({ text: text.slice(from) });
  return all;
}

/** The text as plain characters, for titles and labels, which cannot hold elements. */
export function plain(text: string, limit = 200): string {
  const { shown, cut } = cutText(text, limit);
  const parts = pieces(shown).map((piece) => ("text" in piece ? piece.text : `<${piece.code}>`));
  return parts.join("") + (cut > 0 ? "…" : "");
}

/** The first `limit` characters, and how many are left out. Never cuts a character in two. */
export function cutText(text: string, limit: number): { shown: string; cut: number } {
  if (text.length <= limit) return { shown: text, cut: 0 };
  const code = text.charCodeAt(limit - 1);
  const end = code >= 0xd800 && code <= 0xdbff ? limit - 1 : limit;
  return { shown: text.slice(0, end), cut: text.length - end };
}
