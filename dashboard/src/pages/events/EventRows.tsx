import { useVirtualizer } from "@tanstack/react-virtual";
import { memo, useCallback, useState, type RefObject, type UIEventHandler } from "react";
import { useMedia } from "../../app/media";
import { useUrl } from "../../app/url";
import type { FeedRow, EventRow as Row } from "../../api/types";
import { clockTimeMs, exact, millis } from "../../ui/format";
import { plain } from "../../ui/hostile";
import { StatusPill } from "../../ui/Pill";
import { Text } from "../../ui/Text";
import { placeText } from "./place";
import css from "./EventRows.module.css";

interface Props {
  label: string;
  count: number;
  /** The row at a place of the list, from the top. */
  row: (at: number) => Row | FeedRow | undefined;
  /** What a row is known by when the list moves. */
  rowKey: (at: number) => string | number;
  scroller: RefObject<HTMLDivElement | null>;
  onScroll?: UIEventHandler<HTMLDivElement>;
}

/** Events, one a row; only those in sight are drawn. Enter or a click opens one. */
export function EventRows({ label, count, row, rowKey, scroller, onScroll }: Props) {
  const [url, setUrl] = useUrl();
  const opened = url.get("event");
  const wide = useMedia("(min-width: 62rem)");
  const height = useRowHeight(wide);
  const virtual = useVirtualizer({
    count,
    getScrollElement: () => scroller.current,
    estimateSize: () => height,
    overscan: 2,
    useFlushSync: false,
  });
  const open = useCallback((event: string) => setUrl({ event }), [setUrl]);
  return (
    <div role="table" aria-label={label} aria-rowcount={count + 1} className={css.table}>
      <div role="rowgroup" className={css.head}>
        <div role="row" className={css.row}>
          <span role="columnheader">Stored at</span>
          <span role="columnheader">Type</span>
          <span role="columnheader">User</span>
          <span role="columnheader">Element</span>
          <span role="columnheader">Consumer</span>
          <span role="columnheader">Place</span>
          <span role="columnheader" className={css.latency}>
            Latency
          </span>
          <span role="columnheader">Outcome</span>
        </div>
      </div>
      {/* Scrolls, so the keyboard must reach it. */}
      <div ref={scroller} className={css.scroller} onScroll={onScroll} role="presentation">
        <div role="rowgroup" className={css.all} style={{ height: virtual.getTotalSize() }}>
          {virtual.getVirtualItems().map(({ index, start }) => {
            const one = row(index);
            return one && <EventLine key={rowKey(index)} row={one} start={start} height={height} opened={opened !== null && opened === placeText(one)} onOpen={open} />;
          })}
        </div>
      </div>
    </div>
  );
}

interface LineProps {
  row: Row | FeedRow;
  start: number;
  height: number;
  opened: boolean;
  onOpen: (event: string) => void;
}

const EventLine = memo(function EventLine({ row, start, height, opened, onOpen }: LineProps) {
  const { topic, partition, offset, event_type, user_id, element_id, consumer_id, stored_at_ms, status, code } = row;
  const place = placeText(row);
  const latency = "latency_ms" in row ? row.latency_ms : row.occurred_at_ms === null ? null : row.stored_at_ms - row.occurred_at_ms;
  return (
    <div role="row" className={`${css.row ?? ""} ${css.line ?? ""}`} data-opened={opened} data-status={status} style={{ top: start, height }}>
      <span role="cell" className={css.time}>
        <time title={exact(stored_at_ms)}>{clockTimeMs(stored_at_ms)}</time>
      </span>
      <span role="cell" className={css.type}>
        <Text value={event_type} limit={80} />
      </span>
      <span role="cell" className={css.user}>
        <Text value={user_id} limit={80} />
      </span>
      <span role="cell" className={css.element}>
        <Text value={element_id} limit={80} />
      </span>
      <span role="cell" className={css.consumer}>
        <Text value={consumer_id} limit={60} />
      </span>
      <span role="cell" className={css.place}>
        <button type="button" className={css.open} aria-label={`Open ${plain(place, 100)}`} aria-pressed={opened} onClick={() => onOpen(place)}>
          {topic}/{partition}/{offset}
        </button>
      </span>
      <span role="cell" className={css.latency}>
        {millis(latency)}
      </span>
      <span role="cell" className={css.outcome}>
        {status === "stored" ? <span className={css.stored}>stored</span> : <StatusPill status={status} />}
        {code !== null && (
          <span className={css.code}>
            <Text value={code} limit={40} />
          </span>
        )}
      </span>
    </div>
  );
});

/** Rows have the height of their text, which follows the size of the screen. */
function useRowHeight(wide: boolean): number {
  const [rem] = useState(() => parseFloat(getComputedStyle(document.documentElement).fontSize) || 14);
  return Math.round(rem * (wide ? 2.3 : 3.9));
}
