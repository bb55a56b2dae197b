import { useQuery } from "@tanstack/react-query";
import { useEffect, useMemo, useRef, type ReactNode } from "react";
import { eventQuery } from "../../api/queries";
import type { EventAnswer, EventDetail } from "../../api/types";
import { useShortcuts } from "../../app/shortcuts";
import { Button } from "../../ui/Button";
import { Copy } from "../../ui/Copy";
import { count, exact, millis } from "../../ui/format";
import { Json } from "../../ui/Json";
import { Failure, Loading } from "../../ui/Notice";
import { StatusPill } from "../../ui/Pill";
import { Text } from "../../ui/Text";
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
      {position && !event && (
        <dl className={css.facts}>
          <Fact name="Stored up to">{count(position.next_offset)}</Fact>
          <Fact name="Log begins at">{count(position.low_offset)}</Fact>
          <Fact name="Log ends at">{count(position.end_offset)}</Fact>
        </dl>
      )}
      {event && (
        <>
          <Way place={place} event={event} status={status} />
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
            {event.code !== null && (
              <Fact name="Code">
                <Text value={event.code} limit={100} />
              </Fact>
            )}
          </dl>
        </>
      )}
      {dead_letter && <DeadLetter letter={dead_letter} hasPayload={event !== null && event.payload !== null} />}
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

function Fact({ name, children }: { name: string; children: ReactNode }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

/** The way of an event from its making to the store. */
function Way({ place, event, status }: { place: Place; event: EventDetail; status: EventAnswer["status"] }) {
  const { occurred_at_ms, stored_at_ms, consumer_id, incarnation, latency_ms } = event;
  return (
    <ol className={css.way} aria-label="The way of the event">
      <li>
        <b>Happened</b>
        <span>{occurred_at_ms === null ? "not said" : exact(occurred_at_ms)}</span>
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
          <Text value={consumer_id} limit={100} />
        </span>
      </li>
      <li>
        <b>{status === "dead_letter" ? "Set aside" : "Stored"}</b>
        <span>
          {exact(stored_at_ms)}
          {latency_ms !== null && <span className={css.after}> {millis(latency_ms)} after it happened</span>}
        </span>
      </li>
    </ol>
  );
}

/** Why it could not be stored. Fields are shown as they come: other versions may say more. */
function DeadLetter({ letter, hasPayload }: { letter: Record<string, unknown>; hasPayload: boolean }) {
  // Key and place stand above already.
  const hidden = ["value", "payload", "key", "value_truncated", "consumer_id", "incarnation"];
  const shown = Object.entries(letter).filter(([name, value]) => value !== null && typeof value !== "object" && !hidden.includes(name));
  const value = letter["value"] ?? letter["payload"];
  return (
    <section>
      <header className={css.sub}>
        <h3>Why it is a dead letter</h3>
      </header>
      <dl className={css.facts}>
        {shown.map(([name, one]) => (
          <Fact key={name} name={words(name)}>
            {typeof one === "number" ? name.endsWith("_ms") ? exact(one) : count(one) : <Text value={String(one)} limit={600} />}
          </Fact>
        ))}
      </dl>
      {typeof value === "string" && !hasPayload && <Json text={value} truncated={letter["value_truncated"] === true} />}
    </section>
  );
}

function words(name: string): string {
  const text = name.replace(/_ms$/, "").replaceAll("_", " ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}
