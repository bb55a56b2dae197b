import { memo } from "react";
import { cutText, pieces, plain } from "./hostile";
import { count } from "./format";
import css from "./Text.module.css";

interface Props {
  /** What others wrote. */
  value: string | null | undefined;
  /** Characters that are shown. */
  limit?: number;
  /** What stands there when there is nothing. */
  none?: string;
}

/** Letters that have one direction, and nothing odd. */
const PLAIN = /^[\x20-\x7e]+$/;

/** Text that others wrote: as text, in its own direction, with what cannot be seen shown, and cut to a length. */
export const Text = memo(function Text({ value, limit = 200, none = "–" }: Props) {
  if (value == null) return <span className={css.none}>{none}</span>;
  if (value === "") return <span className={css.none}>empty</span>;
  // What most texts are needs no element of its own: a screen of the feed holds hundreds.
  if (value.length <= limit && PLAIN.test(value)) return value;
  const { shown, cut } = cutText(value, limit);
  return (
    <bdi className={css.text}>
      <Pieces text={shown} />
      {cut > 0 && (
        <span className={css.cut} title={plain(value, 500)}>
          … <span className={css.note}>{count(cut)} more</span>
        </span>
      )}
    </bdi>
  );
});

/** The pieces of a text, each odd character as its number. */
export function Pieces({ text }: { text: string }) {
  const all = pieces(text);
  const only = all[0];
  if (all.length === 1 && only && "text" in only) return only.text;
  return all.map((piece, at) =>
    "text" in piece ? (
      piece.text
    ) : (
      <span key={at} className={css.odd} title={piece.name}>
        {piece.code}
      </span>
    ),
  );
}
