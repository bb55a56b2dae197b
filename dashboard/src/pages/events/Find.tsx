import { useInfiniteQuery } from "@tanstack/react-query";
import { useMemo, useRef, useState } from "react";
import { get } from "../../api/client";
import type { EventPage } from "../../api/types";
import { useShortcuts } from "../../app/shortcuts";
import { useUrl } from "../../app/url";
import { useSnapshot } from "../../live/store";
import { Button, Choice } from "../../ui/Button";
import { SelectField, TextField } from "../../ui/Field";
import { plural } from "../../ui/format";
import { Empty, Failure, Loading } from "../../ui/Notice";
import { Panel } from "../../ui/Panel";
import { LookedBack } from "./LookedBack";
import { Results } from "./Results";
import { placeOf, placeText } from "./place";
import css from "./Find.module.css";

const WAYS = [
  ["place", "Place"],
  ["key", "Key"],
  ["user", "User"],
  ["more", "Filters"],
] as const;
type Way = (typeof WAYS)[number][0];

/** Names as the API has them; the address holds the same. */
const FIELDS = ["key", "user_id", "event_type", "element_id", "source", "status", "topic", "partition", "since", "until"] as const;
type Field = (typeof FIELDS)[number];
type Fields = Partial<Record<Field, string>>;

const USED: Record<Way, readonly Field[]> = {
  place: [],
  key: ["key", "topic"],
  user: ["user_id", "event_type"],
  more: ["event_type", "element_id", "source", "status", "topic", "partition", "since", "until"],
};
const NO_TOPICS: string[] = [];

/** Where is my event? By its place, its key, its user, or what else is known of it. */
export function Find() {
  const [url, setUrl] = useUrl();
  const way: Way = WAYS.find(([one]) => one === url.get("by"))?.[0] ?? "place";
  const asked = useMemo(() => fieldsOf(url), [url]);
  const form = useRef<HTMLFormElement>(null);
  useShortcuts(useMemo(() => [{ keys: "/", what: "Look for an event", run: () => form.current?.querySelector("input")?.focus() }], []));
  const search = Object.keys(asked).length > 0 && way !== "place";
  return (
    <div className={css.page}>
      <Panel title="Where is my event?" tools={<Choice label="Look by" value={way} options={WAYS} onChange={(by) => setUrl({ by: by === "place" ? null : by, ...nothing() })} />}>
        {way === "place" ? <PlaceForm form={form} /> : <SearchForm key={way} form={form} way={way} asked={asked} onAsk={(fields) => setUrl({ ...nothing(), ...fields })} />}
      </Panel>
      {search && <Found key={JSON.stringify(asked)} asked={asked} />}
      {!search && way === "place" && (
        <Panel title="How to read the answer">
          <dl className={css.legend}>
            <dt>not read yet</dt>
            <dd>It is in Kafka, and the consumers have not reached it.</dd>
            <dt>being written</dt>
            <dd>A consumer has it; its transaction is on the way.</dd>
            <dt>stored</dt>
            <dd>Its row is in the store, once.</dd>
            <dt>dead letter</dt>
            <dd>It could not be stored; it is kept byte for byte with the reason.</dd>
            <dt>expired</dt>
            <dd>Kafka&rsquo;s retention removed it before it was read.</dd>
            <dt>skipped</dt>
            <dd>An operator gave it up, or it is a mark of Kafka&rsquo;s own.</dd>
          </dl>
        </Panel>
      )}
    </div>
  );
}

const nothing = (): Record<string, null> => Object.fromEntries([...FIELDS, "event"].map((name) => [name, null]));

function fieldsOf(url: URLSearchParams): Fields {
  const fields: Fields = {};
  for (const name of FIELDS) {
    const value = url.get(name);
    if (value) fields[name] = value;
  }
  return fields;
}

function PlaceForm({ form }: { form: React.RefObject<HTMLFormElement | null> }) {
  const topics = useSnapshot((all) => all.topics, NO_TOPICS);
  const [url, setUrl] = useUrl();
  const opened = placeOf(url.get("event"));
  const [topic, setTopic] = useState(opened?.topic ?? "");
  const [partition, setPartition] = useState(opened ? String(opened.partition) : "");
  const [offset, setOffset] = useState(opened ? String(opened.offset) : "");
  const chosen = topic || topics[0] || "";
  return (
    <form
      ref={form}
      className={css.form}
      onSubmit={(event) => {
        event.preventDefault();
        const place = placeOf(`${chosen}/${partition}/${offset}`);
        if (place) setUrl({ event: placeText(place) });
      }}
    >
      <TextField label="Topic" list="topics" required value={chosen} pattern="[A-Za-z0-9._\-]+" onChange={({ target }) => setTopic(target.value)} />
      <datalist id="topics">
        {topics.map((one) => (
          <option key={one} value={one} />
        ))}
      </datalist>
      <TextField label="Partition" type="number" min={0} required placeholder="0" value={partition} onChange={({ target }) => setPartition(target.value)} />
      <TextField label="Offset" type="number" min={0} required placeholder="1042" value={offset} onChange={({ target }) => setOffset(target.value)} />
      <Button type="submit" look="main" icon="search">
        Find
      </Button>
    </form>
  );
}

const LABELS: Record<Field, string> = {
  key: "Key",
  user_id: "User",
  event_type: "Type",
  element_id: "Element",
  source: "Source",
  status: "Outcome",
  topic: "Topic",
  partition: "Partition",
  since: "Stored since",
  until: "Stored until",
};

function SearchForm({ form, way, asked, onAsk }: { form: React.RefObject<HTMLFormElement | null>; way: Way; asked: Fields; onAsk: (fields: Fields) => void }) {
  const [fields, setFields] = useState<Fields>(asked);
  const on = (name: Field) => ({
    label: LABELS[name],
    value: fields[name] ?? "",
    onChange: ({ target }: { target: { value: string } }) => setFields({ ...fields, [name]: target.value }),
  });
  return (
    <form
      ref={form}
      className={css.form}
      onSubmit={(event) => {
        event.preventDefault();
        onAsk(fields);
      }}
    >
      {USED[way].map((name) =>
        name === "source" ? (
          <SelectField key={name} {...on(name)}>
            <option value="">any</option>
            <option value="api">api: this page or the API</option>
            <option value="producer">producer: drover produce</option>
            <option value="replay">replay: a dead letter again</option>
          </SelectField>
        ) : name === "status" ? (
          <SelectField key={name} {...on(name)}>
            <option value="">any</option>
            <option value="stored">stored</option>
            <option value="dead_letter">dead letter</option>
          </SelectField>
        ) : (
          <TextField
            key={name}
            {...on(name)}
            type={name === "since" || name === "until" ? "datetime-local" : name === "partition" ? "number" : "search"}
            required={name === USED[way][0] && way !== "more"}
            {...(name === "partition" && { min: 0 })}
          />
        ),
      )}
      <Button type="submit" look="main" icon="search">
        Find
      </Button>
    </form>
  );
}

const msOf = (text: string | undefined) => {
  const ms = text ? new Date(text).getTime() : NaN;
  return Number.isNaN(ms) ? undefined : ms;
};

function Found({ asked }: { asked: Fields }) {
  const { since, until, ...rest } = asked;
  const { data, error, isFetching, hasNextPage, fetchNextPage, refetch } = useInfiniteQuery({
    queryKey: ["events", asked],
    queryFn: ({ pageParam, signal }) =>
      get<EventPage>("events", { ...rest, since_ms: msOf(since), until_ms: msOf(until), limit: 100, before: pageParam }, signal),
    initialPageParam: null as string | null,
    getNextPageParam: ({ next }) => next,
    staleTime: Infinity,
  });
  const events = useMemo(() => data?.pages.flatMap((page) => page.events) ?? [], [data]);
  const last = data?.pages.at(-1);
  if (error && !data) {
    return (
      <Panel title="Found">
        <Failure what="The search could not be made" error={error} onRetry={() => void refetch()} />
      </Panel>
    );
  }
  return (
    <Panel title={data ? `${plural(events.length, "event")}${hasNextPage ? " so far" : ""}` : "Looking…"} flush tools={<Button look="quiet" icon="restart" busy={isFetching} onClick={() => void refetch()}>Again</Button>}>
      {!data ? (
        <Loading what="events" />
      ) : events.length === 0 ? (
        <Empty title="Nothing found" icon="search">
          <p>{last && !last.complete ? "The search stopped before the beginning: it looks at a bounded number of rows each time." : "No stored event and no dead letter is like that. If it was sent just now, it may not be stored yet."}</p>
        </Empty>
      ) : (
        <Results events={events} label="Found events" />
      )}
      {last && <Further page={last} busy={isFetching} more={hasNextPage} onMore={() => void fetchNextPage()} />}
    </Panel>
  );
}

function Further({ page, busy, more, onMore }: { page: EventPage; busy: boolean; more: boolean; onMore: () => void }) {
  return (
    <footer className={css.further}>
      <p>
        <LookedBack page={page} />
      </p>
      {more && (
        <Button busy={busy} onClick={onMore}>
          Look further back
        </Button>
      )}
    </footer>
  );
}
