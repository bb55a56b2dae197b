import { useQuery } from "@tanstack/react-query";
import { useMemo } from "react";
import { historyQuery } from "../../api/queries";
import { useFrameBefore } from "../../app/frame";
import { useUrl } from "../../app/url";
import { now } from "../../live/clock";
import { useDrawn } from "../../live/store";
import { Choice } from "../../ui/Button";
import { Chart, type Series } from "../../ui/Chart";
import { behind, rate, short } from "../../ui/format";
import { Failure } from "../../ui/Notice";
import { Panel } from "../../ui/Panel";
import { lines } from "./series";
import css from "./Charts.module.css";

const RANGES = [
  ["5", "5 min"],
  ["15", "15 min"],
  ["30", "30 min"],
  ["60", "60 min"],
] as const;
type Range = (typeof RANGES)[number][0];

const behindOf = (seconds: number | null) => (seconds === 0 ? "0 s" : behind(seconds));

/** What happened in the last minutes. */
export function Charts() {
  const [url, setUrl] = useUrl();
  const range: Range = RANGES.find(([one]) => one === url.get("minutes"))?.[0] ?? "5";
  const history = useQuery(historyQuery(Number(range)));
  // Two charts are a frame of their own.
  const points = useFrameBefore(useDrawn((state) => state.points));
  const to = points.at(-1)?.ms ?? now();
  const from = to - Number(range) * 60_000;
  const all = useMemo(() => lines(history.data, points, from), [history.data, points, from]);
  const span = useMemo(() => [from / 1000, to / 1000] as const, [from, to]);
  const flow = useMemo(
    (): Series[] => [
      { name: "stored / s", color: "--series-1", values: all.stored, format: rate, fill: true },
      { name: "dead letters / s", color: "--series-2", values: all.dead, format: rate, dash: [6, 3] },
      { name: "errors / s", color: "--series-3", values: all.errors, format: rate, dash: [2, 3] },
    ],
    [all],
  );
  const lag = useMemo(
    (): Series[] => [
      { name: "records", color: "--series-4", values: all.lag, format: short, fill: true },
      { name: "seconds behind", color: "--series-5", values: all.lagSeconds, format: behindOf, dash: [6, 3], right: true },
    ],
    [all],
  );
  const tools = <Choice label="Time shown" value={range} options={RANGES} onChange={(minutes) => setUrl({ minutes: minutes === "5" ? null : minutes })} />;
  if (history.error && points.length === 0) {
    return (
      <Panel title="History" tools={tools}>
        <Failure what="The history could not be read" error={history.error} onRetry={() => void history.refetch()} />
      </Panel>
    );
  }
  return (
    <div className={css.charts}>
      <Panel title="Throughput" tools={tools}>
        <Chart label={`Events stored, dead letters and errors a second over ${range} minutes`} times={all.times} series={flow} range={span} />
      </Panel>
      <Panel title="Lag">
        <Chart label={`Records not stored yet, and seconds behind, over ${range} minutes`} times={all.times} series={lag} range={span} />
      </Panel>
    </div>
  );
}
