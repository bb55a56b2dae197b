import { memo, type ReactNode } from "react";
import type { ChildState, EventStatus } from "../api/types";
import { Icon, type IconName } from "./Icon";
import css from "./Pill.module.css";

export type Tone = "ok" | "warn" | "bad" | "idle" | "info";

/** A short word with a mark of its own form: never the colour alone. */
export const Pill = memo(function Pill({ tone, icon, title, children }: { tone: Tone; icon?: IconName; title?: string; children: ReactNode }) {
  return (
    <span className={`${css.pill} ${css[tone] ?? ""}`} title={title}>
      {icon && <Icon name={icon} size={12} />}
      {children}
    </span>
  );
});

const STATES: Record<ChildState, [Tone, string]> = {
  starting: ["info", "starting"],
  running: ["ok", "running"],
  paused: ["idle", "paused"],
  rebalancing: ["info", "rebalancing"],
  backing_off: ["warn", "backing off"],
  draining: ["info", "draining"],
  stopped: ["idle", "stopped"],
  failed: ["bad", "failed"],
};

/** The state of a child. */
export function StatePill({ state }: { state: ChildState | null }) {
  if (state === null) return <Pill tone="idle">unknown</Pill>;
  const [tone, name] = STATES[state];
  return (
    <Pill tone={tone} icon={state}>
      {name}
    </Pill>
  );
}

const STATUSES: Record<EventStatus, [Tone, IconName, string]> = {
  stored: ["ok", "ok", "stored"],
  dead_letter: ["bad", "bad", "dead letter"],
  being_written: ["info", "starting", "being written"],
  not_read_yet: ["info", "slow", "not read yet"],
  expired: ["warn", "warn", "expired"],
  skipped: ["warn", "drop", "skipped"],
  unknown: ["idle", "help", "unknown"],
};

/** What became of an event. */
export function StatusPill({ status }: { status: EventStatus }) {
  const [tone, icon, name] = STATUSES[status];
  return (
    <Pill tone={tone} icon={icon}>
      {name}
    </Pill>
  );
}
