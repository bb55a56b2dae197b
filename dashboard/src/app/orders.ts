import { useSyncExternalStore } from "react";
import { post } from "../api/client";
import type { Snapshot } from "../api/types";
import { live } from "../live/store";
import { toast, toastError } from "./toasts";

export interface Order {
  /** What it concerns: a consumer's id, `scale`. One order at a time for each. */
  target: string;
  /** What is shown while it is carried out: `pausing`. */
  doing: string;
  /** What is said when it cannot be: `consumer-1 was not paused`. */
  failed: string;
  path: string;
  body?: unknown;
  /** Whether the state shows that it is done. */
  isDone: (snapshot: Snapshot) => boolean;
}

/** How long an order that was accepted may take to show. */
const PATIENCE_MS = 20_000;

let pending: Readonly<Record<string, string>> = {};
const listeners = new Set<() => void>();

function set(next: Readonly<Record<string, string>>): void {
  pending = next;
  for (const listener of listeners) listener();
}

function end(target: string): void {
  set(Object.fromEntries(Object.entries(pending).filter(([name]) => name !== target)));
}

/** Sends an order. It shows as pending at once, until the state shows that it is done or the server says no. */
export async function send({ target, doing, failed, path, body, isDone }: Order): Promise<void> {
  if (pending[target]) return;
  set({ ...pending, [target]: doing });
  try {
    const done = await post<{ message?: string } | undefined>(path, body);
    toast("ok", done?.message ?? `${target}: done`);
  } catch (error) {
    end(target);
    toastError(failed, error);
    return;
  }
  const until = performance.now() + PATIENCE_MS;
  const look = () => {
    const { snapshot } = live.state();
    const done = snapshot !== null && isDone(snapshot);
    if (done || performance.now() > until) {
      unsubscribe();
      end(target);
      if (!done) toast("info", `${target}: the order was accepted, and after ${PATIENCE_MS / 1000} seconds the state does not show it yet`);
    }
  };
  const unsubscribe = live.subscribe(look);
  look();
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** What is being done to a target now, or undefined. */
export const usePending = (target: string): string | undefined => useSyncExternalStore(subscribe, () => pending[target]);
