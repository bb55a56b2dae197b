import { useEffect, useState } from "react";

/** What a value was one frame ago: for what need not be drawn in the same frame as the rest. */
export function useFrameBefore<T>(value: T): T {
  const [late, setLate] = useState(value);
  useEffect(() => {
    const frame = requestAnimationFrame(() => setLate(value));
    return () => cancelAnimationFrame(frame);
  }, [value]);
  return late;
}
