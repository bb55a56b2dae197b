import { useQuery } from "@tanstack/react-query";
import { statisticsQuery } from "../../api/queries";
import type { Statistics as Numbers, TopEntry } from "../../api/types";
import { useUrl } from "../../app/url";
import { Choice } from "../../ui/Button";
import { count, exact, plural, short } from "../../ui/format";
import { Empty, Failure, Loading, NotUpdated } from "../../ui/Notice";
import { Panel } from "../../ui/Panel";
import { Text } from "../../ui/Text";
import { Ago } from "../../ui/Time";
import { Minutes } from "./Minutes";
import css from "./Statistics.module.css";

const RANGES = [
  ["15", "15 min"],
  ["60", "1 h"],
  ["360", "6 h"],
] as const;
type Range = (typeof RANGES)[number][0];

/** How many events of which kind. Counted as they are stored: the table of events is never counted. */
export function Statistics() {
  const [url, setUrl] = useUrl();
  const range: Range = RANGES.find(([one]) => one === url.get("minutes"))?.[0] ?? "60";
  const { data, error, dataUpdatedAt, refetch } = useQuery(statisticsQuery(Number(range)));
  const tools = <Choice label="Time shown" value={range} options={RANGES} onChange={(minutes) => setUrl({ minutes: minutes === "60" ? null : minutes })} />;
  if (!data) {
    return (
      <Panel title="Stored per minute" tools={tools}>
        {error ? <Failure what="The statistics could not be read" error={error} onRetry={() => void refetch()} /> : <Loading what="statistics" />}
      </Panel>
    );
  }
  return (
    <>
      {error && <NotUpdated error={error} atMs={dataUpdatedAt} />}
      <Shown data={data} minutes={Number(range)} tools={tools} />
    </>
  );
}

function Shown({ data, minutes, tools }: { data: Numbers; minutes: number; tools: React.ReactNode }) {
  const { totals, by_type, per_minute, top_elements, top_users, sketch_since_ms } = data;
  const since = sketch_since_ms !== null && (
    <span className={css.since} title={`Estimated by this process from what it stored since ${exact(sketch_since_ms)}`}>
      counted here since <Ago ms={sketch_since_ms} />
    </span>
  );
  return (
    <div className={css.page}>
      <Panel title="Stored per minute" tools={tools}>
        <p className={css.totals}>
          <span>
            <b title={count(totals.stored)}>{short(totals.stored)}</b> stored in all
          </span>
          <span>
            <b title={count(totals.dead_letters)}>{short(totals.dead_letters)}</b> dead letters{totals.dead_letters_capped && " or more"}
          </span>
        </p>
        <Minutes counts={per_minute} minutes={minutes} />
      </Panel>
      <div className={css.tops}>
        <Panel title="Types">
          <Bars what="types" entries={by_type.map(({ event_type, count: many }) => ({ name: event_type, count: many, error: 0 }))} />
        </Panel>
        <Panel title="Top elements" tools={since}>
          <Bars what="elements" entries={top_elements} />
        </Panel>
        <Panel title="Top users" tools={since}>
          <Bars what="users" entries={top_users} />
        </Panel>
      </div>
    </div>
  );
}

/** Names with their counts, as bars. What is estimated says by how much it may be too high. */
function Bars({ what, entries }: { what: string; entries: readonly TopEntry[] }) {
  if (entries.length === 0) {
    return (
      <Empty title={`No ${what} yet`} icon="events">
        <p>They are counted as events are stored. Make some on the Send page.</p>
      </Empty>
    );
  }
  const most = Math.max(...entries.map((entry) => entry.count), 1);
  const all = entries.reduce((sum, entry) => sum + entry.count, 0);
  return (
    <ol className={css.bars}>
      {entries.slice(0, 12).map(({ name, count: many, error }) => (
        <li key={name}>
          <span className={css.name}>
            <Text value={name} limit={60} />
          </span>
          <span className={css.number} title={`${count(many)}${error > 0 ? `, at most ${count(error)} too high` : ""}; ${((many / all) * 100).toFixed(1)} % of those shown`}>
            {short(many)}
            {error > 0 && <span className={css.error}> −{short(error)}</span>}
          </span>
          <span className={css.track} aria-hidden="true">
            <span className={css.bar} style={{ width: `${(many / most) * 100}%` }} />
          </span>
        </li>
      ))}
      {entries.length > 12 && <li className={css.more}>and {plural(entries.length - 12, "more", "more")}</li>}
    </ol>
  );
}
