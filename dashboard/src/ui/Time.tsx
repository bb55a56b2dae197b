import { memo } from "react";
import { now, useEachSecond } from "../live/clock";
import { duration, exact, relative, UNKNOWN } from "./format";

/** `4 s ago`; the exact time on hover. */
export const Ago = memo(function Ago({ ms }: { ms: number | null | undefined }) {
  const text = useEachSecond(() => (ms == null ? UNKNOWN : relative(ms, now())));
  if (ms == null) return <span>{text}</span>;
  return (
    <time dateTime={isoOf(ms)} title={exact(ms)}>
      {text}
    </time>
  );
});

/** How long since: `3 h 12 min`; the exact start on hover. */
export const Since = memo(function Since({ ms }: { ms: number | null | undefined }) {
  const text = useEachSecond(() => (ms == null ? UNKNOWN : duration((now() - ms) / 1000)));
  if (ms == null) return <span>{text}</span>;
  return (
    <time dateTime={isoOf(ms)} title={`since ${exact(ms)}`}>
      {text}
    </time>
  );
});

/** How long until: `3 s`; `now` when it is over. */
export const Until = memo(function Until({ ms }: { ms: number }) {
  const text = useEachSecond(() => {
    const left = Math.ceil((ms - now()) / 1000);
    return left > 0 ? duration(left) : "now";
  });
  return (
    <time dateTime={isoOf(ms)} title={exact(ms)}>
      {text}
    </time>
  );
});

function isoOf(ms: number): string {
  const at = new Date(ms);
  return Number.isNaN(at.getTime()) ? "" : at.toISOString();
}
