import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { get } from "../../api/client";
import { queueQuery } from "../../api/queries";
import type { EventPage, Queue as Counts } from "../../api/types";
import { useUrl } from "../../app/url";
import { SelectField } from "../../ui/Field";
import { count, millis, plural, short } from "../../ui/format";
import { Icon } from "../../ui/Icon";
import { Empty, Failure, Loading } from "../../ui/Notice";
import { Panel } from "../../ui/Panel";
import { Results } from "./Results";
import css from "./Queue.module.css";

/** What waits, what is being written and what became of the rest. */
export function Queue() {
  const { data, error, refetch } = useQuery(queueQuery);
  return (
    <div className={css.page}>
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

function Flow({ counts: { waiting, being_written, stored, dead_letters, processing_ms } }: { counts: Counts }) {
  return (
    <section className={css.flow} aria-label="Queue">
      <Step name="Waiting" value={waiting} what="in Kafka, not read yet" />
      <Step name="Being written" value={being_written} what="taken, not committed yet" arrow />
      <Step name="Stored" value={stored} what="rows, once each" arrow />
      <Step name="Dead letters" value={dead_letters} what="set aside with a reason" />
      <div className={css.step} role="group" aria-label="Processing time">
        <p className={css.name}>Processing time</p>
        <p className={css.value}>
          {millis(processing_ms.mean)} <span className={css.unit}>mean</span>
        </p>
        <p className={css.what}>
          <b>{millis(processing_ms.p95)}</b> p95, of {plural(processing_ms.count, "event")}
        </p>
      </div>
    </section>
  );
}

function Step({ name, value, what, arrow = false }: { name: string; value: number | null; what: string; arrow?: boolean }) {
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
  const { data, error, refetch } = useQuery({
    queryKey: ["queue-events", status, source],
    queryFn: ({ signal }) => get<EventPage>("events", { status, source, limit: 100 }, signal),
    refetchInterval: 2_000,
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
      {data ? (
        data.events.length > 0 ? (
          <Results events={data.events} label="Newest events" />
        ) : (
          <Empty title="No such event was found" icon="events">
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
