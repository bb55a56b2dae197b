import { useSyncExternalStore } from "react";
import { post } from "../../api/client";
import type { Sent } from "../../api/types";
import { toastError } from "../../app/toasts";

/** An event on its way: first to Kafka, then to the store. */
export interface SentEvent {
  n: number;
  what: string;
  atMs: number;
  /** Where Kafka put it; null while it has not said so. */
  place: Sent | null;
  failed: string | null;
}

export interface SentBurst {
  id: string;
  what: string;
  atMs: number;
}

/** More push the oldest out. */
const MOST = 30;

let events: readonly SentEvent[] = [];
let bursts: readonly SentBurst[] = [];
let next = 1;
const listeners = new Set<() => void>();

function publish(): void {
  for (const listener of listeners) listener();
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** What this tab has sent, newest first; it lasts as long as the tab. */
export const useSent = (): readonly SentEvent[] => useSyncExternalStore(subscribe, () => events);
export const useBursts = (): readonly SentBurst[] => useSyncExternalStore(subscribe, () => bursts);

export interface Message {
  topic?: string;
  key?: string;
  event?: Record<string, unknown>;
  value?: string;
}

/** Sends one event and follows it. */
export async function sendEvent(what: string, message: Message): Promise<void> {
  const n = next++;
  events = [{ n, what, atMs: Date.now(), place: null, failed: null }, ...events].slice(0, MOST);
  publish();
  const change = (part: Partial<SentEvent>) => {
    events = events.map((one) => (one.n === n ? { ...one, ...part } : one));
    publish();
  };
  try {
    change({ place: await post<Sent>("events", message) });
  } catch (error) {
    change({ failed: error instanceof Error ? error.message : String(error) });
    toastError(`${what} was not sent`, error);
  }
}

/** Starts a burst and follows it. */
export async function sendBurst(what: string, burst: { count: number; rate_per_s: number; poison_ratio: number; topic?: string }): Promise<boolean> {
  try {
    const { burst_id } = await post<{ burst_id: string | number }>("events/burst", burst);
    bursts = [{ id: String(burst_id), what, atMs: Date.now() }, ...bursts].slice(0, 5);
    publish();
    return true;
  } catch (error) {
    toastError("The burst was not started", error);
    return false;
  }
}

/** Forgets what was sent. */
export function clearSent(): void {
  events = [];
  bursts = [];
  publish();
}
