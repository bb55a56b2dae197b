import { replaceEqualDeep } from "@tanstack/react-query";
import { useSyncExternalStore } from "react";
import type { ChildStatus, History, Snapshot } from "../api/types";
import { now, setServerTime } from "./clock";

export type Phase = "connecting" | "live" | "reconnecting" | "polling" | "hidden";

/** One second of the whole process, for the charts. */
export interface Point {
  ms: number;
  stored: number | null;
  dead: number | null;
  errors: number | null;
  lag: number | null;
  lagSeconds: number | null;
}

/** What a consumer did in the last seconds, oldest first, for its sparkline. */
export interface Trend {
  rate: readonly (number | null)[];
}

export interface LiveState {
  phase: Phase;
  /** When the last snapshot came, by {@link now}; null before the first. */
  arrivedMs: number | null;
  snapshot: Snapshot | null;
  points: readonly Point[];
  trends: Readonly<Record<string, Trend>>;
}

/** Five minutes and a little, one point a second. */
export const POINTS = 320;
/** Seconds of a sparkline. */
export const TREND = 60;

const EMPTY: LiveState = { phase: "connecting", arrivedMs: null, snapshot: null, points: [], trends: {} };

/**
 * The newest state of the process. Parts that did not change keep their identity from one snapshot to the next, so that
 * what shows them is not drawn again.
 */
export class LiveStore {
  #state: LiveState = EMPTY;
  #drawn: LiveState = EMPTY;
  readonly #listeners = new Set<() => void>();
  readonly #drawers = new Set<() => void>();
  readonly #schedule: (task: () => void) => void;
  #told = true;

  /** `schedule` says when listeners are told: in the browser with the next frame, so that reading a snapshot is no part of it. */
  constructor(schedule: (task: () => void) => void = (task) => task()) {
    this.#schedule = schedule;
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  readonly state = (): LiveState => this.#state;

  /** For lines and charts, which follow the numbers by one frame: both in one would be too much for it. */
  readonly subscribeDrawn = (listener: () => void): (() => void) => {
    this.#drawers.add(listener);
    return () => this.#drawers.delete(listener);
  };

  readonly drawn = (): LiveState => this.#drawn;

  setPhase(phase: Phase): void {
    if (phase !== this.#state.phase) this.#set({ ...this.#state, phase });
  }

  /** Takes a whole snapshot. */
  snapshot(incoming: Snapshot, phase: Phase): void {
    setServerTime(incoming.now_ms);
    const old = this.#state;
    const snapshot = old.snapshot ? replaceEqualDeep(old.snapshot, incoming) : incoming;
    this.#set({
      phase,
      arrivedMs: now(),
      snapshot,
      points: withPoint(old.points, incoming),
      trends: withTrends(old.trends, incoming),
    });
  }

  /** Takes the new state of one child, before the next snapshot brings the rest. */
  child(status: ChildStatus): void {
    const { snapshot } = this.#state;
    if (!snapshot) return;
    const children = snapshot.children.map((child) => (child.id === status.id ? replaceEqualDeep(child, status) : child));
    if (!snapshot.children.some((child) => child.id === status.id)) children.push(status);
    const { state, since_ms, restarts, budget_left, next_start_ms, generation, last_exit } = status;
    const consumers = snapshot.consumers.map((consumer) =>
      consumer.id === status.id
        ? { ...consumer, state, since_ms, restarts, budget_left, next_start_ms, generation, last_exit }
        : consumer,
    );
    this.#set({ ...this.#state, snapshot: { ...snapshot, children, consumers } });
  }

  /** Puts what the server remembers to what the page has seen: what was before it, and what it missed between. */
  seed(history: History): void {
    if (history.step_ms > 1000) return;
    const { points, trends } = this.#state;
    const remembered = pointsOf(history);
    // A step that is almost a second of the stream would stand on top of it.
    const missed = remembered.filter(({ ms }) => !points.some((point) => Math.abs(point.ms - ms) <= history.step_ms / 2));
    const all = [...missed, ...points].sort((one, other) => one.ms - other.ms);
    const last = remembered.at(-1)?.ms ?? -Infinity;
    const newer = points.filter(({ ms }) => ms > last + history.step_ms / 2).length;
    const merged: Record<string, Trend> = { ...trends };
    for (const [id, { stored_per_s }] of Object.entries(history.consumers)) {
      const own = trends[id]?.rate ?? [];
      merged[id] = { rate: [...stored_per_s, ...own.slice(own.length - Math.min(newer, own.length))].slice(-TREND) };
    }
    this.#set({ ...this.#state, points: all.slice(-POINTS), trends: merged });
  }

  /** Forgets everything, for the next person who logs in. */
  clear(): void {
    this.#set(EMPTY);
  }

  #set(state: LiveState): void {
    this.#state = state;
    if (!this.#told) return;
    this.#told = false;
    this.#schedule(() => {
      this.#told = true;
      for (const listener of this.#listeners) listener();
      this.#schedule(() => {
        this.#drawn = this.#state;
        for (const listener of this.#drawers) listener();
      });
    });
  }
}

/** The steps of a history as points. */
export function pointsOf({ from_ms, step_ms, points, series }: History): Point[] {
  return Array.from({ length: points }, (_, at) => ({
    ms: from_ms + at * step_ms,
    stored: series.stored_per_s[at] ?? null,
    dead: series.dead_letters_per_s[at] ?? null,
    errors: series.errors_per_s[at] ?? null,
    lag: series.lag[at] ?? null,
    lagSeconds: series.lag_seconds[at] ?? null,
  }));
}

function withPoint(points: readonly Point[], { now_ms, rates, lag, lag_seconds }: Snapshot): readonly Point[] {
  const last = points.at(-1);
  // A stream that was taken up again may send a snapshot that is here already.
  if (last && now_ms <= last.ms) return points;
  const point: Point = {
    ms: now_ms,
    stored: rates.stored_per_s,
    dead: rates.dead_letters_per_s,
    errors: rates.errors_per_s,
    lag,
    lagSeconds: lag_seconds,
  };
  return [...points.slice(-(POINTS - 1)), point];
}

function withTrends(trends: LiveState["trends"], { consumers }: Snapshot): LiveState["trends"] {
  const next: Record<string, Trend> = {};
  for (const { id, stored_per_s } of consumers) {
    const old = trends[id];
    const idle = old?.rate.length === TREND && stored_per_s === 0 && old.rate.every((one) => one === 0);
    next[id] = idle ? old : { rate: [...(old?.rate.slice(-(TREND - 1)) ?? []), stored_per_s] };
  }
  return next;
}

export const live = new LiveStore(nextFrame);

/** With the next frame; soon where there are none, because nobody looks. */
export function nextFrame(task: () => void): void {
  if (document.visibilityState === "visible") requestAnimationFrame(task);
  else setTimeout(task, 0);
}

/**
 * What `select` picks from the live state. It must pick, not make: a selector that gives a new object each time would
 * render for ever.
 */
export function useLive<T>(select: (state: LiveState) => T): T {
  return useSyncExternalStore(live.subscribe, () => select(live.state()));
}

/** The same for lines and charts: one frame later. */
export function useDrawn<T>(select: (state: LiveState) => T): T {
  return useSyncExternalStore(live.subscribeDrawn, () => select(live.drawn()));
}

/** A part of the snapshot; `fallback` before the first. */
export function useSnapshot<T>(select: (snapshot: Snapshot) => T, fallback: T): T {
  return useLive(({ snapshot }) => (snapshot ? select(snapshot) : fallback));
}
