import type { History } from "../../api/types";
import { pointsOf, type Point } from "../../live/store";

type Values = readonly (number | null)[];

export interface Lines {
  /** Seconds since the epoch. */
  times: readonly number[];
  stored: Values;
  dead: Values;
  errors: Values;
  lag: Values;
  lagSeconds: Values;
}

/**
 * What the server remembers, followed by what the stream brought since. Where both know a time, the stream is newer. A hole
 * of more than three steps is a break in the lines, and not a slope over it. Pure.
 */
export function lines(history: History | undefined, points: readonly Point[], fromMs: number): Lines {
  const step = history?.step_ms ?? 1000;
  // Coarse steps hold means: seconds are not set among them.
  const fine = step <= 1000 ? points : [];
  const joint = fine[0]?.ms ?? Infinity;
  const rows: Point[] = [];
  const push = (point: Point) => {
    if (point.ms < fromMs - step) return;
    const last = rows.at(-1);
    if (last && point.ms - last.ms > 3 * step) {
      rows.push({ ms: last.ms + step, stored: null, dead: null, errors: null, lag: null, lagSeconds: null });
    }
    rows.push(point);
  };
  for (const point of history ? pointsOf(history) : []) {
    // A step that is almost the first of the stream would stand on top of it.
    if (point.ms > joint - step / 2) break;
    push(point);
  }
  for (const point of fine) push(point);
  return {
    times: rows.map(({ ms }) => ms / 1000),
    stored: rows.map(({ stored }) => stored),
    dead: rows.map(({ dead }) => dead),
    errors: rows.map(({ errors }) => errors),
    lag: rows.map(({ lag }) => lag),
    lagSeconds: rows.map(({ lagSeconds }) => lagSeconds),
  };
}
