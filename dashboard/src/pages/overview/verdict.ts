import type { Snapshot } from "../../api/types";
import { behind, count, duration, plural, rate } from "../../ui/format";

export interface Reason {
  text: string;
  /** What to do about it, where there is something to do. */
  todo?: string;
  /** The page that shows more. */
  link?: string;
}

export interface Verdict {
  level: "ok" | "warn" | "bad";
  line: string;
  reasons: Reason[];
}

/** Behind by more than this, and growing, is worth a word. */
const BEHIND_S = 30;

/** Is everything well? One line, and every reason why not. Pure. */
export function verdict(snapshot: Snapshot): Verdict {
  const bad: Reason[] = [];
  const warn: Reason[] = [];
  const { consumers, breaker, audit, readiness } = snapshot;

  if (breaker.open) {
    bad.push({
      text: `The store is away: ${breaker.cause ?? "no reason was given"}. Nothing is written and nothing is lost; consumers wait.`,
      todo: "Bring the database back. Writing goes on by itself.",
    });
  }
  if (audit && !audit.clean) {
    bad.push({
      text: `The last audit found ${plural(audit.unaccounted, "offset")} that nothing accounts for and ${count(audit.overlapping)} that are there twice.`,
      todo: "Run drover audit to see which.",
    });
  }
  for (const { id, last_exit } of snapshot.children.filter(({ state }) => state === "failed")) {
    bad.push({
      text: `${id} failed and is not started again${last_exit ? `: ${last_exit.message}` : ""}.`,
      todo: "Look at its last ends, mend the cause, then restart it.",
      link: "/consumers",
    });
  }
  const partitions = consumers.flatMap(({ partitions }) => partitions);
  for (const { topic, partition, stopped } of partitions) {
    if (stopped) bad.push({ text: `${topic}/${partition} is not read on: ${stopped.message}`, link: "/consumers" });
  }
  const quarantined = partitions.filter(({ held }) => held?.kind === "quarantined");
  if (quarantined.length > 0) {
    bad.push({
      text: `${plural(quarantined.length, "partition")} quarantined: too many of their records cannot be stored.`,
      todo: "Look at the dead letters, then release them.",
      link: "/consumers",
    });
  }
  const known = bad.length > 0;
  if (!readiness.ready && !known) for (const text of readiness.reasons) bad.push({ text });

  const backing = snapshot.children.filter(({ state }) => state === "backing_off");
  if (backing.length > 0) {
    warn.push({ text: `${names(backing)} ended and will be started again.`, link: "/consumers" });
  }
  const paused = consumers.filter(({ held }) => held?.kind === "paused");
  if (paused.length > 0) {
    warn.push({ text: `${names(paused)} paused by order; what they own is not read.`, todo: "Resume when you are done.", link: "/consumers" });
  }
  if (snapshot.draining) warn.push({ text: "This process is stopping: it finishes what is in flight." });
  const idle = consumers.filter(({ partitions: owned, state }) => owned.length === 0 && state === "running");
  if (idle.length > 0 && idle.length === consumers.length) {
    warn.push({ text: "No consumer of this process owns a partition.", todo: "Other members of the group may own them all; add partitions to use more consumers." });
  }
  const held = partitions.filter(({ held }) => held?.kind === "paused");
  if (held.length > 0) {
    warn.push({ text: `${plural(held.length, "partition")} paused by order; nothing of them is read.`, todo: "Resume when you are done.", link: "/consumers" });
  }
  const late = snapshot.lag_seconds !== null && snapshot.lag_seconds > BEHIND_S;
  if (late && (snapshot.lag_trend_per_s ?? 0) > 0 && !breaker.open && paused.length === 0 && held.length === 0) {
    warn.push({
      text: `Behind by ${behind(snapshot.lag_seconds)} and falling back by ${rate(snapshot.lag_trend_per_s)} records a second.`,
      todo: "Events come faster than they are stored: see the limiting stage below.",
    });
  }

  if (bad.length > 0) return { level: "bad", line: bad.length === 1 ? "One thing needs you" : `${bad.length} things need you`, reasons: [...bad, ...warn] };
  if (warn.length > 0) return { level: "warn", line: "Working, with something to know", reasons: warn };
  return { level: "ok", line: wellLine(snapshot), reasons: [] };
}

function wellLine({ consumers, lag, lag_seconds, time_to_zero_s }: Snapshot): string {
  const running = plural(consumers.length, "consumer");
  if (consumers.length === 0) return "Everything is well. This process has no consumers.";
  if (lag === null) return `Everything is well: ${running} at work.`;
  if (lag === 0 || (lag_seconds !== null && lag_seconds < 2)) return `Everything is well: ${running} at work, nothing waits.`;
  if (lag_seconds === null) return `Everything is well: ${running} at work on ${plural(lag, "record")} that waited for them.`;
  const end = time_to_zero_s !== null && time_to_zero_s > 2 ? `, caught up in ${duration(time_to_zero_s)}` : "";
  return `Everything is well: ${running} at work, ${behind(lag_seconds)} behind${end}.`;
}

function names(all: readonly { id: string }[]): string {
  const first = all.slice(0, 3).map(({ id }) => id);
  const more = all.length - first.length;
  return more > 0 ? `${first.join(", ")} and ${more} more` : first.join(", ");
}
