import { memo, useCallback, useEffect, useMemo, useRef, useState } from "react";
import { feed, useFeed } from "../../app/live";
import { useFrameBefore } from "../../app/frame";
import { useShortcuts } from "../../app/shortcuts";
import { useUrl } from "../../app/url";
import { NO_FILTER, PLACES, type FeedFilter, type NumberedRow } from "../../live/feed";
import { useLive, useSnapshot } from "../../live/store";
import { Button } from "../../ui/Button";
import { SelectField, TextField } from "../../ui/Field";
import { count } from "../../ui/format";
import { Icon } from "../../ui/Icon";
import { Empty } from "../../ui/Notice";
import { Panel } from "../../ui/Panel";
import { EventRows } from "./EventRows";
import css from "./Live.module.css";

const NAMES = Object.keys(NO_FILTER) as (keyof FeedFilter)[];
const NO_IDS: { id: string }[] = [];
const NO_TOPICS: string[] = [];

/** The feed: what has just been stored, newest on top. */
export function Live() {
  const { rows, fresh, dropped, received, frozen } = useFeed();
  const [url, setUrl] = useUrl();
  const [paused, setPaused] = useState(false);
  const scroller = useRef<HTMLDivElement>(null);
  const filters = useRef<HTMLFormElement>(null);
  // Only what the filter is made of: an event that is opened is in the address too, and changes nothing here.
  const text = JSON.stringify(filterOf(url));
  const filter = useMemo(() => JSON.parse(text) as FeedFilter, [text]);
  const filtered = NAMES.some((name) => filter[name] !== "");

  useEffect(() => feed.setFilter(filter), [filter]);
  useEffect(() => () => feed.release(), []);

  const toTop = useCallback(() => {
    scroller.current?.scrollTo({ top: 0 });
    if (!paused) feed.release();
    else {
      feed.release();
      feed.freeze();
    }
  }, [paused]);

  const toggle = useCallback(() => {
    if (paused) {
      scroller.current?.scrollTo({ top: 0 });
      feed.release();
    } else feed.freeze();
    setPaused(!paused);
  }, [paused]);

  // Who scrolls down reads: the rows stay where they are until the top is reached again.
  const onScroll = useCallback(() => {
    const top = scroller.current?.scrollTop ?? 0;
    if (top > 4) feed.freeze();
    else if (!paused) feed.release();
  }, [paused]);

  useShortcuts(
    useMemo(
      () => [
        { keys: "space", what: "Pause or go on", run: toggle },
        { keys: "/", what: "Filter the feed", run: () => filters.current?.querySelector("input")?.focus() },
      ],
      [toggle],
    ),
  );

  const before = useFrameBefore(rows);
  const at = useCallback(
    (index: number) => {
      // Where all that is in sight is new, the upper half changes in this frame and the lower in the next.
      const from = index >= HALF && isFlood(rows, before) ? before : rows;
      return from[from.length - 1 - index];
    },
    [rows, before],
  );
  const row = useCallback((index: number) => at(index)?.row, [at]);
  const rowKey = useCallback((index: number) => (at(index)?.n ?? index) % PLACES, [at]);

  return (
    <Panel
      title="Live feed"
      flush
      className={css.panel}
      tools={
        <>
          <p className={css.counts}>
            <span title="Rows since this page was opened">
              {count(received)} <span className={css.unit}>received</span>
            </span>
            <span data-loud={dropped > 0 || undefined} title="Rows that were stored and not sent to this page: there were too many, or this browser was too slow. The store has them all.">
              {count(dropped)} <span className={css.unit}>not shown</span>
            </span>
          </p>
          <Button icon={paused ? "play" : "pause"} aria-pressed={paused} onClick={toggle} className={css.pause}>
            {paused ? "Go on" : "Pause"}
          </Button>
        </>
      }
    >
      <div className={css.body}>
        <Filters form={filters} filter={filter} onChange={setUrl} filtered={filtered} />
        <div className={css.list}>
          {rows.length > 0 && <EventRows label="Live feed" count={rows.length} row={row} rowKey={rowKey} scroller={scroller} onScroll={onScroll} />}
          {rows.length === 0 && <Nothing filtered={filtered} received={received} />}
          {frozen && fresh > 0 && (
            <button type="button" className={css.pill} onClick={toTop}>
              <Icon name="up" size={13} /> {count(fresh)} new
            </button>
          )}
        </div>
      </div>
    </Panel>
  );
}

/** Half of the rows of a usual screen. */
const HALF = 16;

/** Whether everything moved on by whole rounds of places: each row stands where another stood before. */
function isFlood(rows: readonly NumberedRow[], before: readonly NumberedRow[]): boolean {
  const [newest, old] = [rows.at(-1), before.at(-1)];
  return newest !== undefined && old !== undefined && newest.n > old.n && (newest.n - old.n) % PLACES === 0;
}

function Nothing({ filtered, received }: { filtered: boolean; received: number }) {
  const phase = useLive((state) => state.phase);
  if (filtered && received > 0) {
    return (
      <Empty title="Nothing that came matches the filter" icon="search">
        <p>Rows are looked at as they come. For what was stored before, use Find.</p>
      </Empty>
    );
  }
  if (phase !== "live") {
    return (
      <Empty title="The feed stands still" icon="slow">
        <p>{phase === "polling" ? "The stream cannot be had now: too many look at it, or a proxy holds it back. The page tries again every 15 seconds; Find and Queue work." : "There is no connection to drover. The page tries again by itself."}</p>
      </Empty>
    );
  }
  return (
    <Empty title="No event has come yet" icon="events">
      <p>
        Events appear here as soon as they are stored. Make some on the Send page, or with <code>drover produce --rate 100</code>.
      </p>
    </Empty>
  );
}

function filterOf(url: URLSearchParams): FeedFilter {
  const filter = { ...NO_FILTER };
  for (const name of NAMES) filter[name] = url.get(name) ?? "";
  return filter;
}

interface FiltersProps {
  form: React.RefObject<HTMLFormElement | null>;
  filter: FeedFilter;
  filtered: boolean;
  onChange: (changes: Record<string, string | null>) => void;
}

const Filters = memo(function Filters({ form, filter, filtered, onChange }: FiltersProps) {
  const consumers = useSnapshot((all) => all.consumers as { id: string }[], NO_IDS);
  const topics = useSnapshot((all) => all.topics, NO_TOPICS);
  const on = (name: keyof FeedFilter) => ({
    value: filter[name],
    onChange: ({ target }: { target: { value: string } }) => onChange({ [name]: target.value }),
  });
  return (
    <form ref={form} className={css.filters} role="search" aria-label="Filter the feed" onSubmit={(event) => event.preventDefault()}>
      <TextField label="Type" hidden type="search" placeholder="Type" {...on("type")} />
      <TextField label="User" hidden type="search" placeholder="User" {...on("user")} />
      <TextField label="Element" hidden type="search" placeholder="Element" {...on("element")} />
      <SelectField label="Consumer" hidden {...on("consumer")}>
        <option value="">All consumers</option>
        {consumers.map(({ id }) => (
          <option key={id}>{id}</option>
        ))}
      </SelectField>
      {topics.length > 1 && (
        <SelectField label="Topic" hidden {...on("topic")}>
          <option value="">All topics</option>
          {topics.map((topic) => (
            <option key={topic}>{topic}</option>
          ))}
        </SelectField>
      )}
      <SelectField label="Outcome" hidden {...on("status")}>
        <option value="">All outcomes</option>
        <option value="stored">Stored</option>
        <option value="dead_letter">Dead letters</option>
      </SelectField>
      <Button look="quiet" disabled={!filtered} onClick={() => onChange(Object.fromEntries(NAMES.map((name) => [name, null])))}>
        Clear
      </Button>
    </form>
  );
});
