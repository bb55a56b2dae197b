import { useEffect, useLayoutEffect, useMemo, useRef } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { useResolvedTheme } from "../app/theme";
import { clockTime, UNKNOWN } from "./format";
import css from "./Chart.module.css";

// uPlot counts sides clockwise from the top. Its names for them are of a const enum, which a single module cannot import.
/* eslint-disable @typescript-eslint/no-unsafe-enum-assignment -- see above */
const RIGHT: uPlot.Axis.Side.Right = 1;
const LEFT: uPlot.Axis.Side.Left = 3;
/* eslint-enable @typescript-eslint/no-unsafe-enum-assignment */

export interface Series {
  name: string;
  /** A custom property that holds its colour. */
  color: `--series-${1 | 2 | 3 | 4 | 5}`;
  values: readonly (number | null)[];
  format: (value: number | null) => string;
  fill?: boolean;
  dash?: readonly number[];
  /** Drawn against the axis on the right. */
  right?: boolean;
}

interface Props {
  /** What the chart shows, for those who cannot see it. */
  label: string;
  /** Seconds since the epoch. */
  times: readonly number[];
  series: readonly Series[];
  /** The part of time that is shown, in seconds since the epoch. */
  range: readonly [number, number];
  height?: number;
}

/** Lines over time. The legend holds the newest values, or those below the pointer. */
export function Chart({ label, times, series, range, height = 190 }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const legend = useRef<HTMLUListElement>(null);
  const theme = useResolvedTheme();
  const shape = series.map(({ name, color, right, dash, fill }) => [name, color, right, dash, fill].join()).join(";");
  const latest = useRef({ times, series, range });
  // Before the effects below, which read it.
  useLayoutEffect(() => {
    latest.current = { times, series, range };
  });

  const data = useMemo(() => [times, ...series.map(({ values }) => values)] as unknown as uPlot.AlignedData, [times, series]);

  useEffect(() => {
    const parent = box.current;
    if (!parent) return;
    const color = (name: string) => resolve(parent, name);
    const axis = (side: typeof LEFT | typeof RIGHT, scale: string, one: Series): uPlot.Axis => ({
      side,
      scale,
      stroke: color("--text-3"),
      font: `11px ${getComputedStyle(parent).fontFamily}`,
      size: 52,
      gap: 4,
      ticks: { show: false },
      grid: { show: side === LEFT, stroke: color("--grid"), width: 1 },
      values: (_, splits) => splits.map((split) => one.format(split)),
      space: 34,
    });
    const shown = latest.current.series;
    const left = shown.find(({ right }) => !right);
    const right = shown.find((one) => one.right);
    const scale = { range: (_: uPlot, __: number, max: number): uPlot.Range.MinMax => [0, Math.max(max * 1.08, 1)] };
    const options: uPlot.Options = {
      width: parent.clientWidth,
      height,
      padding: [8, right ? 0 : 8, 0, 0],
      legend: { show: false },
      cursor: { y: false, points: { size: 6 }, drag: { x: false, y: false } },
      scales: { x: { time: true, range: () => [...latest.current.range] }, y: scale, r: scale },
      axes: [
        {
          stroke: color("--text-3"),
          font: `11px ${getComputedStyle(parent).fontFamily}`,
          grid: { show: false },
          ticks: { show: false },
          size: 26,
          space: 70,
          values: (_, splits, __, ___, step) =>
            splits.map((split) => (step < 60 ? clockTime(split * 1000) : clockTime(split * 1000).slice(0, 5))),
        },
        ...(left ? [axis(LEFT, "y", left)] : []),
        ...(right ? [axis(RIGHT, "r", right)] : []),
      ],
      series: [
        {},
        ...shown.map((one): uPlot.Series => {
          const stroke = color(one.color);
          return {
            scale: one.right ? "r" : "y",
            stroke,
            width: 1.6,
            points: { show: false },
            ...(one.dash && { dash: [...one.dash] }),
            ...(one.fill && { fill: fade(stroke) }),
          };
        }),
      ],
      hooks: { setCursor: [({ cursor }) => write(legend.current, latest.current, cursor.idx ?? null)] },
    };
    const made = new uPlot(options, [[]], parent);
    plot.current = made;
    made.root.setAttribute("aria-hidden", "true");
    const observer = new ResizeObserver(() => {
      if (parent.clientWidth > 0 && parent.clientWidth !== made.width) made.setSize({ width: parent.clientWidth, height });
    });
    observer.observe(parent);
    return () => {
      observer.disconnect();
      made.destroy();
      plot.current = null;
    };
    // The colours are read once, so another theme is another chart.
  }, [shape, theme, height]);

  useEffect(() => {
    const made = plot.current;
    if (!made) return;
    made.setData(data);
    write(legend.current, latest.current, made.cursor.idx ?? null);
  }, [data, shape, theme, height, range]);

  return (
    <figure className={css.chart}>
      <figcaption className="sr">{label}</figcaption>
      <ul ref={legend} className={css.legend}>
        {series.map(({ name, color, dash }) => (
          <li key={name}>
            <span className={`${css.key ?? ""} ${dash ? (css.dashed ?? "") : ""}`} style={{ color: `var(${color})` }} aria-hidden="true" />
            {name} <b className={css.value} />
          </li>
        ))}
        <li className={css.at} />
      </ul>
      <div ref={box} className={css.plot} style={{ height }} />
    </figure>
  );
}

/** Writes values into the legend, without React: the pointer moves often. */
function write(list: HTMLUListElement | null, { times, series }: { times: readonly number[]; series: readonly Series[] }, at: number | null): void {
  if (!list) return;
  const index = at ?? times.length - 1;
  const values = list.querySelectorAll("b");
  series.forEach((one, number) => {
    const text = one.format(one.values[index] ?? null);
    const place = values[number];
    if (place && place.textContent !== text) place.textContent = text;
  });
  const place = list.lastElementChild;
  const time = times[index];
  const text = at === null || time === undefined ? "" : clockTime(time * 1000);
  if (place && place.textContent !== text) place.textContent = text || UNKNOWN.slice(1);
}

/** What a custom property comes to here, as a colour that a canvas understands. */
function resolve(parent: HTMLElement, name: string): string {
  const probe = document.createElement("span");
  probe.style.color = `var(${name})`;
  parent.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

const fade = (color: string) => color.replace(/^rgb\((.*)\)$/, "rgba($1, 0.1)");
