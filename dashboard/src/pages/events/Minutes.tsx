import type { Statistics } from "../../api/types";
import { now, useEachSecond } from "../../live/clock";
import { clockTime, count, short } from "../../ui/format";
import css from "./Minutes.module.css";

const HEIGHT = 100;

/** A bar a minute; the newest minute is not over. */
export function Minutes({ counts, minutes }: { counts: Statistics["per_minute"]; minutes: number }) {
  const newest = useEachSecond(() => Math.floor(now() / 60_000));
  const by = new Map(counts.map(({ minute_ms, count: many }) => [Math.floor(minute_ms / 60_000), many]));
  const bars = Array.from({ length: minutes }, (_, at) => {
    const minute = newest - minutes + 1 + at;
    return { minute, many: by.get(minute) ?? 0 };
  });
  const most = Math.max(1, ...bars.map(({ many }) => many));
  const total = bars.reduce((sum, { many }) => sum + many, 0);
  const time = (minute: number) => clockTime(minute * 60_000).slice(0, 5);
  const first = bars[0]?.minute ?? newest;
  return (
    <figure className={css.figure}>
      <figcaption className="sr">
        {count(total)} events in {minutes} minutes; the busiest minute has {count(most)}.
      </figcaption>
      <p className={css.top} aria-hidden="true">
        {short(most)}
      </p>
      <svg className={css.bars} viewBox={`0 0 ${minutes} ${HEIGHT}`} preserveAspectRatio="none" aria-hidden="true">
        {bars.map(({ minute, many }, at) => {
          const height = many === 0 ? 0 : Math.max(1, (many / most) * HEIGHT);
          return (
            <rect key={minute} x={at + 0.1} y={HEIGHT - height} width={0.8} height={height} data-open={minute === newest}>
              <title>{`${time(minute)}: ${count(many)}`}</title>
            </rect>
          );
        })}
      </svg>
      <p className={css.axis} aria-hidden="true">
        <span>{time(first)}</span>
        <span>{time(first + Math.floor(minutes / 2))}</span>
        <span>{time(newest)}</span>
      </p>
    </figure>
  );
}
