import { useCallback, useRef } from "react";
import type { EventRow } from "../../api/types";
import { EventRows } from "./EventRows";
import { placeText } from "./place";
import css from "./Results.module.css";

/** Events that were asked for, in a box that is as high as they need, up to most of the screen. */
export function Results({ events, label }: { events: readonly EventRow[]; label: string }) {
  const scroller = useRef<HTMLDivElement>(null);
  const row = useCallback((at: number) => events[at], [events]);
  const rowKey = useCallback((at: number) => (events[at] ? placeText(events[at]) : at), [events]);
  return (
    <div className={css.box} style={{ "--rows": events.length } as React.CSSProperties}>
      <EventRows label={label} count={events.length} row={row} rowKey={rowKey} scroller={scroller} />
    </div>
  );
}
