import { useQuery } from "@tanstack/react-query";
import { useEffect, useMemo, useRef, type ReactNode } from "react";
import { eventQuery } from "../../api/queries";
import type { DeadLetterDetail, EventAnswer } from "../../api/types";
import { useShortcuts } from "../../app/shortcuts";
import { Button } from "../../ui/Button";
import { Copy } from "../../ui/Copy";
import { count, exact, millis } from "../../ui/format";
import { Json } from "../../ui/Json";
import { Failure, Loading } from "../../ui/Notice";
import { StatusPill } from "../../ui/Pill";
import { Text } from "../../ui/Text";
import { Ago } from "../../ui/Time";
import { placeText, type Place } from "./place";
import css from "./EventPanel.module.css";

/** One event: what it says, and the way it went. Asks again until its place in the log will not change any more. */
export function EventPanel({ place, onClose }: { place: Place; onClose: () => void }) {
  const { data, error, refetch } = useQuery(eventQuery(place.topic, place.partition, place.offset));
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => heading.current?.focus({ preventScroll: true }), []);
  useShortcuts(useMemo(() => [{ keys: "esc", what: "Close the event", run: onClose }], [onClose]));
  return (
    <aside className={css.panel} aria-label="Event">
      <header className={css.head}>
        <h2 ref={heading} tabIndex={-1} className={css.place}>
          {placeText(place)}
        </h2>
        <Copy text={placeText(place)} what="place" />
        <Button look="quiet" icon="close" aria-label="Close" onClick={onClose} />
      </header>
      <div className={css.body}>
        {data ? (
          <Answer place={place} answer={data} />
        ) : error ? (
          <Failure what="The event could not be read" error={error} onRetry={() => void refetch()} />
        ) : (
          <Loading what="the event" rows={6} />
        )}
      </div>
    </aside>
  );
}

function Answer({ place, answer }: { place: Place; answer: EventAnswer }) {
  const { status, event, dead_letter, position, detail } = answer;
  return (
    <>
      <p className={css.status} role="status">
        <StatusPill status={status} /> <Text value={detail} limit={500} />
      </p>
      {position && !event && !dead_letter && (
        <dl className={css.facts}>
          <Fact name="Stored up to">{count(position.next_offset)}</Fact>
          <Fact name="Log begins at">{count(position.low_offset)}</Fact>
          <Fact name="Log ends at">{count(position.end_offset)}</Fact>
        </dl>
      )}
      {event && (
        <>
          <Way
            place={place}
            happenedMs={event.occurred_at_ms}
            incarnation={event.incarnation}
            consumer={event.consumer_id}
            end="Stored"
            endMs={event.stored_at_ms}
            afterMs={event.latency_ms}
          />
          <dl className={css.facts}>
            <Fact name="Type">
              <Text value={event.event_type} limit={500} />
            </Fact>
            <Fact name="User">
              <Text value={event.user_id} limit={500} />
            </Fact>
            <Fact name="Element">
              <Text value={event.element_id} limit={500} />
            </Fact>
            <Fact name="Key">
              <Text value={event.key} limit={500} none="none" />
            </Fact>
            <Fact name="Source">
              <Text value={event.source} limit={100} none="not said" />
            </Fact>
          </dl>
        </>
      )}
      {dead_letter && <DeadLetter place={place} letter={dead_letter} />}
      {event && event.payload !== null && (
        <section>
          <header className={css.sub}>
            <h3>Payload</h3>
            <Copy text={event.payload} what="payload" />
          </header>
          <Json text={event.payload} truncated={event.payload_truncated} />
        </section>
      )}
    </>
  );
}

function Fact({ name, children }: { name: ReactNode; children: ReactNode }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

interface WayProps {
  place: Place;
  happenedMs: number | null;
  incarnation: number | null;
  consumer: string | null;
  end: string;
  endMs: number;
  afterMs: number | null;
}

/** The way of an event from its making to the store. */
function Way({ place, happenedMs, incarnation, consumer, end, endMs, afterMs }: WayProps) {
  return (
    <ol className={css.way} aria-label="The way of the event">
      <li>
        <b>Happened</b>
        <span>{happenedMs === null ? "not said" : exact(happenedMs)}</span>
      </li>
      <li>
        <b>In Kafka</b>
        <span>
          partition {place.partition}, offset {count(place.offset)}
          {incarnation !== null && incarnation > 1 && `, incarnation ${incarnation} of the topic`}
        </span>
      </li>
      <li>
        <b>Read by</b>
        <span>
          <Text value={consumer} limit={100} />
        </span>
      </li>
      <li>
        <b>{end}</b>
        <span>
          {exact(endMs)}, <Ago ms={endMs} />
          {afterMs !== null && <span className={css.after}> {millis(afterMs)} after it happened</span>}
        </span>
      </li>
    </ol>
  );
}

/** The way of a dead letter, why it could not be stored, and what came, as it came. */
function DeadLetter({ place, letter }: { place: Place; letter: DeadLetterDetail }) {
  const { code, message, stage, attempts, consumer_id, incarnation, failed_at_ms, published_at_ms, publish_outcome, publish_error, key, value, value_truncated, value_bytes, timestamp_ms, headers } = letter;
  return (
    <>
      <Way
        place={place}
        happenedMs={timestamp_ms}
        incarnation={incarnation}
        consumer={consumer_id}
        end="Set aside"
        endMs={failed_at_ms}
        afterMs={null}
      />
      <section>
        <header className={css.sub}>
          <h3>Why it is a dead letter</h3>
        </header>
        <dl className={css.facts}>
          <Fact name="Code">
            <Text value={code} limit={100} />
          </Fact>
          <Fact name="Message">
            <Text value={message} limit={600} />
          </Fact>
          <Fact name="Stage">
            <Text value={stage} limit={100} />
          </Fact>
          <Fact name="Attempts">{count(attempts)}</Fact>
          <Fact name="Published">
            {published_at_ms === null ? "not yet" : exact(published_at_ms)}
            {publish_outcome !== null && publish_outcome !== "published" && (
              <>
                , <Text value={publish_outcome} limit={100} />
              </>
            )}
            {publish_error !== null && (
              <>
                : <Text value={publish_error} limit={600} />
              </>
            )}
          </Fact>
          <Fact name="Key">
            <Text value={key} limit={500} none="none" />
          </Fact>
          {headers.map(({ name, value: text }, at) => (
            // A name may be there twice.
            <Fact key={`${at} ${name}`} name={<Text value={name} limit={100} />}>
              <Text value={text} limit={500} none="none" />
            </Fact>
          ))}
        </dl>
      </section>
      {value !== null && (
        <section>
          <header className={css.sub}>
            <h3>Value{value_bytes !== null && <span className={css.after}> {count(value_bytes)} bytes</span>}</h3>
            <Copy text={value} what="value" />
          </header>
          <Json text={value} truncated={value_truncated} />
        </section>
      )}
    </>
  );
}
