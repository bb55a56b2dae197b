import { useCallback } from "react";
import { useSearchParams } from "wouter";

/**
 * What the address keeps: filters, sorting, what is open. An empty value is left out. Typing replaces the entry in the
 * history, so that "back" leaves the page and does not undo letters.
 */
export function useUrl(): [URLSearchParams, (changes: Record<string, string | null>) => void] {
  const [params, setParams] = useSearchParams();
  const change = useCallback(
    (changes: Record<string, string | null>) =>
      setParams(
        (old) => {
          const next = new URLSearchParams(old);
          for (const [name, value] of Object.entries(changes)) {
            if (value === null || value === "") next.delete(name);
            else next.set(name, value);
          }
          return next;
        },
        { replace: true },
      ),
    [setParams],
  );
  return [params, change];
}
