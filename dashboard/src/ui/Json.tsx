import { memo, useMemo } from "react";
import { bytes } from "./format";
import { cutText } from "./hostile";
import { layOut } from "./json";
import { Pieces } from "./Text";
import css from "./Json.module.css";

/** What the server sends at most. */
const LIMIT = 64 * 1024;
/** Pieces that are drawn; a document of brackets alone would be 60,000 elements. */
const TOKENS = 8_000;

/** A JSON text in lines. What is not JSON is shown too. */
export const Json = memo(function Json({ text, truncated = false }: { text: string; truncated?: boolean }) {
  const { shown, cut } = useMemo(() => cutText(text, LIMIT), [text]);
  const tokens = useMemo(() => layOut(shown), [shown]);
  return (
    <>
      {/* Scrolls, so the keyboard must reach it. */}
      <pre className={css.json} tabIndex={0} role="region" aria-label="Payload">
        {tokens.slice(0, TOKENS).map(({ kind, text: part }, at) =>
          kind === "space" || kind === "mark" ? (
            part
          ) : (
            <span key={at} className={css[kind]}>
              <Pieces text={part} />
            </span>
          ),
        )}
      </pre>
      {(cut > 0 || truncated || tokens.length > TOKENS) && (
        <p className={css.cut}>
          Only the beginning is shown: at most {bytes(LIMIT)} of a payload. The whole of it is in the store.
        </p>
      )}
    </>
  );
});
