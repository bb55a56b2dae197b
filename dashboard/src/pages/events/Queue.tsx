import { keepPreviousData, useQuery } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { get } from "../../api/client";
import { queueQuery } from "../../api/queries";
import type { EventPage, Queue as Counts } from "../../api/types";
import { useUrl } from "../../app/url";
import { SelectField } from "../../ui/Field";
import { count, millis, plural, short } from "../../ui/format";
import { Icon } from "../../ui/Icon";
import { Empty, Failure, Loading, NotUpdated } from "../../ui/Notice";
import { Panel } from "../../ui/Panel";
import { Ago } from "../../ui/Time";
import { LookedBack } from "./LookedBack";
import { Results } from "./Results";
import css from "./Queue.module.css";

/** What waits, what is being written and what became of the rest. */
export function Queue() {
  const { data, error, dataUpdatedAt, refetch } = useQuery(queueQuery);
  return (
    <div className={css.page}>
      {data && error && <NotUpdated error={error} atMs={dataUpdatedAt} />}
      {data ? (
        <Flow counts={data} />
      ) : error ? (
        <Panel title="Queue">
          <Failure what="The queue could not be read" error={error} onRetry={() => void refetch()} />
        </Panel>
      ) : (
        <Panel title="Queue">
          <Loading what="the queue" rows={2} />
        </Panel>
      )}
      <List />
    </div>
  );
}

function Flow({ counts: { waiting, being_written, stored, dead_letters, since_ms, processing_ms } }: { counts: Counts }) {
  return (
    <section className={css.flow} aria-label="Queue">
      <Step name="Waiting" value={waiting} what="in Kafka, not read yet" />
      <Step name="Being written" value={being_written} what="taken, not committed yet" arrow />
      <Step name="Stored" value={stored} what={<>rows, since <Ago ms={since_ms} /></>} arrow />
      <Step name="Dead letters" value={dead_letters} what={<>set aside, since <Ago ms={since_ms} /></>} />
      <div className={css.step} role="group" aria-label="Processing time">
        <p className={css.name}>Processing time</p>
        <p className={css.value}>
          {millis(processing_ms.mean)} <span className={css.unit}>mean</span>
        </p>
        <p className={css.what}>
          <b>{millis(processing_ms.p95)}</b> p95, of {plural(processing_ms.count, "transaction")}
        </p>
      </div>
    </section>
  );
}

function Step({ name, value, what, arrow = false }: { name: string; value: number | null; what: ReactNode; arrow?: boolean }) {
  return (
    <div className={css.step} role="group" aria-label={name}>
      {arrow && (
        <span className={css.arrow}>
          <Icon name="flat" />
        </span>
      )}
      <p className={css.name}>{name}</p>
      <p className={css.value} title={count(value)}>
        {short(value)}
      </p>
      <p className={css.what}>{what}</p>
    </div>
  );
}

function List() {
  const [url, setUrl] = useUrl();
  const status = url.get("status") ?? "";
  const source = url.get("source") ?? "";
  const { data, error, dataUpdatedAt, refetch } = useQuery({
    queryKey: ["queue-events", status, source],
    queryFn: ({ signal }) => get<EventPage>("events", { status, source, limit: 100 }, signal),
    // A search that looks at much leaves the server four times as long in peace.
    refetchInterval: ({ state }) => (state.data?.complete === false ? 10_000 : 2_000),
    placeholderData: keepPreviousData,
  });
  return (
    <Panel
      title="Newest events"
      flush
      tools={
        <>
          <SelectField label="Outcome" hidden value={status} onChange={({ target }) => setUrl({ status: target.value })}>
            <option value="">All outcomes</option>
            <option value="stored">Stored</option>
            <option value="dead_letter">Dead letters</option>
          </SelectField>
          <SelectField label="Source" hidden value={source} onChange={({ target }) => setUrl({ source: target.value })}>
            <option value="">All sources</option>
            <option value="api">api</option>
            <option value="producer">producer</option>
            <option value="replay">replay</option>
          </SelectField>
        </>
      }
    >
      {data && error && <NotUpdated error={error} atMs={dataUpdatedAt} />}
      {data ? (
        data.events.length > 0 ? (
          <Results events={data.events} label="Newest events" />
        ) : (
          <Empty title="No such event was found" icon="events">
            <p>
              <LookedBack page={data} />
            </p>
            <p>{status || source ? "Choose another outcome or source, or make such an event on the Send page." : "Make some events on the Send page."}</p>
          </Empty>
        )
      ) : error ? (
        <Failure what="The events could not be read" error={error} onRetry={() => void refetch()} />
      ) : (
        <Loading what="events" />
      )}
    </Panel>
  );
}
