import { useSyncExternalStore } from "react";

export type Theme = "system" | "light" | "dark";
const THEMES: readonly Theme[] = ["system", "light", "dark"];
const KEY = "drover.theme";

let theme: Theme = read();
const listeners = new Set<() => void>();
const system = matchMedia("(prefers-color-scheme: dark)");

function read(): Theme {
  try {
    const kept = localStorage.getItem(KEY);
    return THEMES.find((one) => one === kept) ?? "system";
  } catch {
    // A browser that keeps nothing: the choice lasts as long as the page.
    return "system";
  }
}

function apply(): void {
  const root = document.documentElement;
  if (theme === "system") delete root.dataset["theme"];
  else root.dataset["theme"] = theme;
}

/** Puts the kept choice on the page and follows other tabs. To be called once, before anything is drawn. */
export function startTheme(): void {
  apply();
  window.addEventListener("storage", ({ key }) => {
    if (key === KEY) change(read(), false);
  });
}

function change(next: Theme, keep: boolean): void {
  theme = next;
  apply();
  if (keep) {
    try {
      localStorage.setItem(KEY, next);
    } catch {
      // See `read`.
    }
  }
  for (const listener of listeners) listener();
}

/** The next of system, light and dark. */
export const nextTheme = (): void => change(THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length] ?? "system", true);

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  system.addEventListener("change", listener);
  return () => {
    listeners.delete(listener);
    system.removeEventListener("change", listener);
  };
}

/** What was chosen. */
export const useTheme = (): Theme => useSyncExternalStore(subscribe, () => theme);

/** What that comes to. */
export const useResolvedTheme = (): "light" | "dark" =>
  useSyncExternalStore(subscribe, () => (theme === "system" ? (system.matches ? "dark" : "light") : theme));
