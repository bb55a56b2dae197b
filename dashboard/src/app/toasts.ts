import { useSyncExternalStore } from "react";
import { explain } from "../api/client";

export interface Toast {
  n: number;
  tone: "ok" | "bad" | "info";
  text: string;
}

/** More push the oldest out. */
const MOST = 4;
const LASTS_MS = 6_000;

let toasts: readonly Toast[] = [];
let next = 0;
const listeners = new Set<() => void>();

function set(all: readonly Toast[]): void {
  toasts = all;
  for (const listener of listeners) listener();
}

/** Says what came of something. What went wrong stays until it is dismissed. */
export function toast(tone: Toast["tone"], text: string): void {
  const n = next++;
  set([...toasts.slice(-(MOST - 1)), { n, tone, text }]);
  if (tone !== "bad") setTimeout(() => dismiss(n), LASTS_MS);
}

/** Says what went wrong. */
export const toastError = (what: string, error: unknown): void => toast("bad", `${what}: ${explain(error)}`);

export function dismiss(n: number): void {
  if (toasts.some((one) => one.n === n)) set(toasts.filter((one) => one.n !== n));
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export const useToasts = (): readonly Toast[] => useSyncExternalStore(subscribe, () => toasts);
