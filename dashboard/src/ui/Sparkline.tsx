import { memo } from "react";
import css from "./Sparkline.module.css";

/** The height of the drawing, whose width is the number of steps: whole numbers are enough, and cheap for hundreds of lines a second. */
const HEIGHT = 100;
const MARGIN = 5;

/** The line of the last values; it ends at the right edge. The number beside it says what it shows. */
export const Sparkline = memo(function Sparkline({ values, slots, tone = 1 }: { values: readonly (number | null)[]; slots: number; tone?: 1 | 2 | 3 | 4 | 5 }) {
  const [line, area] = sparkPaths(values, slots);
  return (
    <svg className={`${css.spark} ${css[`tone${tone}`] ?? ""}`} viewBox={`0 0 ${slots - 1} ${HEIGHT}`} preserveAspectRatio="none" aria-hidden="true">
      <path className={css.area} d={area} />
      <path className={css.line} d={line} />
    </svg>
  );
});

/** The path of the line and of the area below it. A value that is not known breaks the line. */
export function sparkPaths(values: readonly (number | null)[], slots: number): [string, string] {
  const from = Math.max(0, values.length - slots);
  const shift = slots - values.length;
  let top = 1;
  for (let at = from; at < values.length; at += 1) top = Math.max(top, values[at] ?? 0);
  const scale = (HEIGHT - 2 * MARGIN) / top;
  let line = "";
  let area = "";
  let piece = "";
  let start = 0;
  for (let at = from; at <= values.length; at += 1) {
    const value = values[at] ?? null;
    if (value !== null) {
      if (piece === "") start = at + shift;
      piece += `${piece === "" ? "M" : "L"}${at + shift} ${Math.round(HEIGHT - MARGIN - value * scale)}`;
    } else if (piece !== "") {
      line += piece;
      area += `${piece}V${HEIGHT}H${start}Z`;
      piece = "";
    }
  }
  return [line, area];
}
