// JSON as text, set in lines without being read: numbers keep their digits, doubled fields stay, and what is not JSON or
// ends in the middle is still shown. Nothing recurses, so that no depth can break it.

export type TokenKind = "key" | "string" | "number" | "word" | "mark" | "space";
export interface Token {
  kind: TokenKind;
  text: string;
}

/** Past this depth lines are not moved further to the right. */
const DEEPEST_INDENT = 12;
const STEP = "  ";

// A string (closed or cut off), a number or word, a mark, or anything else.
const LEXEME = /"(?:[^"\\]|\\[\s\S]?)*(?:"|$)|[{}[\]:,]|[^\s"{}[\]:,]+|\s+/g;

/** Tokens with line breaks and indentation as they stand on the screen. */
export function layOut(source: string): Token[] {
  const out: Token[] = [];
  let depth = 0;
  let fresh = true;
  const line = () => {
    out.push({ kind: "space", text: `\n${STEP.repeat(Math.max(0, Math.min(depth, DEEPEST_INDENT)))}` });
    fresh = true;
  };
  const lexemes = (source.match(LEXEME) ?? []).filter((one) => !/^[ \t\r\n]+$/.test(one));
  for (const [at, text] of lexemes.entries()) {
    const next = lexemes[at + 1];
    if (text === "{" || text === "[") {
      out.push({ kind: "mark", text });
      const closed = next === (text === "{" ? "}" : "]");
      depth += 1;
      if (!closed && next !== undefined) line();
    } else if (text === "}" || text === "]") {
      depth -= 1;
      const before = lexemes[at - 1];
      if (before !== "{" && before !== "[") line();
      out.push({ kind: "mark", text });
      fresh = false;
    } else if (text === ",") {
      out.push({ kind: "mark", text });
      line();
    } else if (text === ":") {
      out.push({ kind: "mark", text: ": " });
    } else {
      if (!fresh && out.at(-1)?.kind !== "mark") out.push({ kind: "space", text: " " });
      out.push({ kind: kindOf(text, next), text });
      fresh = false;
    }
  }
  return out;
}

function kindOf(text: string, next: string | undefined): TokenKind {
  if (text.startsWith('"')) return next === ":" ? "key" : "string";
  if (/^-?\d/.test(text)) return "number";
  return "word";
}

/** Whether the text is one JSON object, and if not, why not. */
export function objectProblem(text: string): string | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? null : "an event is a JSON object";
  } catch (error) {
    return error instanceof Error ? error.message : "not JSON";
  }
}
