import { memo } from "react";
import css from "./Sparkline.module.css";

const WIDTH = 100;
const HEIGHT = 24;

/** The line of the last values; it ends at the right edge. The number beside it says what it shows. */
export const Sparkline = memo(function Sparkline({ values, slots, tone = 1 }: { values: readonly (number | null)[]; slots: number; tone?: 1 | 2 | 3 | 4 | 5 }) {
  const [line, area] = sparkPaths(values, slots);
  return (
    <svg className={`${css.spark} ${css[`tone${tone}`] ?? ""}`} viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" aria-hidden="true">
      <path className={css.area} d={area} />
      <path className={css.line} d={line} />
    </svg>
  );
});

/** The path of the line and of the area below it. A value that is not known breaks the line. */
export function sparkPaths(values: readonly (number | null)[], slots: number): [string, string] {
  const shown = values.slice(-slots);
  const top = Math.max(1, ...shown.map((value) => value ?? 0));
  const step = WIDTH / Math.max(1, slots - 1);
  const first = slots - shown.length;
  let line = "";
  let area = "";
  let from: number | null = null;
  let x = 0;
  const close = () => {
    if (from !== null) area += `L${x.toFixed(1)} ${HEIGHT}L${from.toFixed(1)} ${HEIGHT}Z`;
    from = null;
  };
  shown.forEach((value, at) => {
    if (value === null) {
      close();
      return;
    }
    x = (first + at) * step;
    const y = HEIGHT - 1.5 - (value / top) * (HEIGHT - 3);
    const to = `${x.toFixed(1)} ${y.toFixed(1)}`;
    line += from === null ? `M${to}` : `L${to}`;
    area += from === null ? `M${to}` : `L${to}`;
    from ??= x;
  });
  close();
  return [line, area];
}
