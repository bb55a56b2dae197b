import type { ReactNode } from "react";
import { useDrawn, useSnapshot, type Point } from "../../live/store";
import { behind, bytes, count, duration, plural, rate, short } from "../../ui/format";
import { Icon, type IconName } from "../../ui/Icon";
import { Sparkline } from "../../ui/Sparkline";
import { Ago } from "../../ui/Time";
import css from "./Figures.module.css";

const SLOTS = 90;

/** The figures of the process, each with what it did of late. */
export function Figures() {
  return (
    <section className={css.figures} aria-label="Figures">
      <Throughput />
      <Stored />
      <Lag />
      <Behind />
      <DeadLetters />
      <Errors />
      <Proof />
      <Herd />
    </section>
  );
}

interface FigureProps {
  name: string;
  value: ReactNode;
  unit?: string;
  exact?: string;
  below: ReactNode;
  spark?: { pick: (point: Point) => number | null; tone: 1 | 2 | 3 | 4 | 5 };
  mark?: { icon: IconName; tone: "ok" | "warn" | "bad" | "idle"; says: string };
}

function Figure({ name, value, unit, exact, below, spark, mark }: FigureProps) {
  return (
    <div className={css.figure} role="group" aria-label={name}>
      <p className={css.name}>{name}</p>
      <p className={css.value} title={exact}>
        {mark && (
          <span className={`${css.mark ?? ""} ${css[mark.tone] ?? ""}`} title={mark.says}>
            <Icon name={mark.icon} />
            <span className="sr">{mark.says}</span>
          </span>
        )}
        {value}
        {unit && <span className={css.unit}> {unit}</span>}
      </p>
      <p className={css.below}>{below}</p>
      {spark && <Recent {...spark} />}
    </div>
  );
}

function Recent({ pick, tone }: { pick: (point: Point) => number | null; tone: 1 | 2 | 3 | 4 | 5 }) {
  const points = useDrawn((state) => state.points);
  return (
    <div className={css.spark}>
      <Sparkline values={points.slice(-SLOTS).map(pick)} slots={SLOTS} tone={tone} />
    </div>
  );
}

const pickStored = ({ stored }: Point) => stored;
const pickLag = ({ lag }: Point) => lag;
const pickDead = ({ dead }: Point) => dead;
const pickErrors = ({ errors }: Point) => errors;
const pickBehind = ({ lagSeconds }: Point) => lagSeconds;

function Throughput() {
  const stored = useSnapshot(({ rates }) => rates.stored_per_s, null);
  const size = useSnapshot(({ rates }) => rates.bytes_per_s, null);
  return <Figure name="Events stored" value={rate(stored)} unit="/ s" below={size === null ? "bytes not known" : `${bytes(size)} / s`} spark={{ pick: pickStored, tone: 1 }} />;
}

function Stored() {
  const stored = useSnapshot(({ totals }) => totals.stored, null);
  const duplicates = useSnapshot(({ totals }) => totals.duplicates, null);
  return <Figure name="Stored since start" value={short(stored)} exact={count(stored)} below={`${short(duplicates)} read again and skipped`} />;
}

function Lag() {
  const lag = useSnapshot((all) => all.lag, null);
  const trend = useSnapshot(({ lag_trend_per_s }) => lag_trend_per_s, null);
  const moving = trend !== null && Math.abs(trend) >= 1;
  const icon = !moving ? "flat" : trend > 0 ? "up" : "down";
  return (
    <Figure
      name="Lag"
      value={short(lag)}
      exact={count(lag)}
      unit="records"
      below={
        trend === null ? (
          "trend not known yet"
        ) : (
          <>
            <Icon name={icon} size={12} /> {!moving ? "steady" : `${trend > 0 ? "growing" : "falling"} by ${rate(Math.abs(trend))} / s`}
          </>
        )
      }
      spark={{ pick: pickLag, tone: 4 }}
    />
  );
}

function Behind() {
  const seconds = useSnapshot(({ lag_seconds }) => lag_seconds, null);
  const zero = useSnapshot(({ time_to_zero_s }) => time_to_zero_s, null);
  const lag = useSnapshot((all) => all.lag, null);
  const below = lag === 0 ? "caught up" : zero === null ? (seconds !== null && seconds < 2 ? "keeping up" : "not catching up now") : zero < 1 ? "caught up within a second" : `caught up in ${duration(zero)}`;
  return <Figure name="Behind" value={behind(seconds)} below={seconds === null ? "time not known" : below} spark={{ pick: pickBehind, tone: 5 }} />;
}

function DeadLetters() {
  const dead = useSnapshot(({ totals }) => totals.dead_letters, null);
  const perSecond = useSnapshot(({ rates }) => rates.dead_letters_per_s, null);
  return <Figure name="Dead letters" value={short(dead)} exact={count(dead)} below={`${rate(perSecond)} / s now`} spark={{ pick: pickDead, tone: 2 }} />;
}

function Errors() {
  const errors = useSnapshot(({ totals }) => totals.errors, null);
  const restarts = useSnapshot(({ totals }) => totals.restarts, null);
  return <Figure name="Errors" value={short(errors)} exact={count(errors)} below={restarts === null ? "" : plural(restarts, "restart")} spark={{ pick: pickErrors, tone: 3 }} />;
}

/** Whether every offset is accounted for, once. */
function Proof() {
  const audit = useSnapshot((all) => all.audit, null);
  if (!audit) return <Figure name="Exactly once" value="not audited" below={<>run <code>drover audit</code></>} mark={{ icon: "help", tone: "idle", says: "not known" }} />;
  const wrong = audit.unaccounted + audit.overlapping;
  return (
    <Figure
      name="Exactly once"
      value={!audit.clean ? short(wrong) : audit.offsets > 0 ? "proved" : "nothing new"}
      {...(!audit.clean && { unit: "offsets wrong" })}
      mark={audit.clean ? { icon: "ok", tone: "ok", says: "clean" } : { icon: "bad", tone: "bad", says: "not clean" }}
      exact={`${count(audit.offsets)} offsets looked at by ${audit.by}, ${audit.full ? "all of them" : "what was new"}`}
      below={
        <>
          {short(audit.offsets)} offsets, <Ago ms={audit.finished_at_ms} />
        </>
      }
    />
  );
}

function Herd() {
  const replicas = useSnapshot((all) => all.replicas, null);
  const busy = useSnapshot(({ writers }) => writers.busy, null);
  const writers = useSnapshot(({ writers: { count: all } }) => all, null);
  const used = useSnapshot(({ memory }) => memory.used_bytes, null);
  const limit = useSnapshot(({ memory }) => memory.limit_bytes, null);
  return (
    <Figure
      name="Replicas"
      value={count(replicas)}
      below={
        <>
          {count(busy)} of {count(writers)} writers busy
          <br />
          {bytes(used)}
          {limit !== null && ` of ${bytes(limit)}`}
        </>
      }
    />
  );
}
