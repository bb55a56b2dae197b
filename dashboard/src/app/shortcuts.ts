import { useEffect, useSyncExternalStore } from "react";

/** A key, or `g` and a key after it. */
export interface Shortcut {
  keys: string;
  what: string;
  run: () => void;
}

/** How long `g` waits for its letter. */
const CHORD_MS = 1_200;

const active = new Map<string, Shortcut>();
let listed: readonly Shortcut[] = [];
const listeners = new Set<() => void>();
let chordUntil = 0;

function changed(): void {
  listed = [...active.values()];
  for (const listener of listeners) listener();
}

const NAMES: Readonly<Record<string, string>> = { " ": "space", Escape: "esc" };

/** Where a person types, keys are text. A button and a link take the space bar for themselves. */
function isTaken(event: KeyboardEvent, key: string): boolean {
  const { target } = event;
  if (!(target instanceof HTMLElement)) return false;
  if (target.isContentEditable || target.matches("input, textarea, select")) return key !== "esc";
  return key === "space" && target.matches("button, a, summary, [role=button]");
}

function onKey(event: KeyboardEvent): void {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  const key = NAMES[event.key] ?? event.key;
  if (isTaken(event, key) || (document.querySelector("dialog:modal") && key !== "?")) return;
  const chord = event.timeStamp < chordUntil ? `g ${key}` : key;
  chordUntil = 0;
  if (key === "g") {
    chordUntil = event.timeStamp + CHORD_MS;
    return;
  }
  const found = active.get(chord);
  if (found) {
    event.preventDefault();
    found.run();
  }
}

/** Listens to the keyboard as long as the page is there. */
export function startShortcuts(): () => void {
  window.addEventListener("keydown", onKey);
  return () => window.removeEventListener("keydown", onKey);
}

/** Offers shortcuts as long as the component is there. */
export function useShortcuts(shortcuts: readonly Shortcut[]): void {
  useEffect(() => {
    for (const shortcut of shortcuts) active.set(shortcut.keys, shortcut);
    changed();
    return () => {
      for (const shortcut of shortcuts) if (active.get(shortcut.keys) === shortcut) active.delete(shortcut.keys);
      changed();
    };
  }, [shortcuts]);
}

/** All that are offered now. */
export const useShortcutList = (): readonly Shortcut[] =>
  useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => listed,
  );
