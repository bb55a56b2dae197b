import { useSyncExternalStore } from "react";

/** The clock of the page: the server's time, and one tick a second for everything that shows a relative time. */
let skewMs = 0;
let timer: ReturnType<typeof setInterval> | undefined;
const listeners = new Set<() => void>();

/** The server's time now, in milliseconds since the epoch. */
export const now = (): number => Date.now() + skewMs;

/** Takes the server's time from what it has just sent. Below a second it is the network and not the clock. */
export function setServerTime(ms: number): void {
  const skew = ms - Date.now();
  if (Math.abs(skew - skewMs) > 1000) skewMs = skew;
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  timer ??= setInterval(() => {
    for (const each of listeners) each();
  }, 1000);
  return () => {
    listeners.delete(listener);
    if (listeners.size === 0) {
      clearInterval(timer);
      timer = undefined;
    }
  };
}

/** What `read` gives, read again each second; renders again only when it gives something else. */
export function useEachSecond<T extends string | number | boolean | null>(read: () => T): T {
  return useSyncExternalStore(subscribe, read, read);
}
