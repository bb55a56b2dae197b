import { useQuery } from "@tanstack/react-query";
import { memo } from "react";
import { Link } from "wouter";
import { burstQuery, eventQuery, isFinal } from "../../api/queries";
import type { Sent } from "../../api/types";
import { useAccess } from "../../app/access";
import { explain } from "../../api/client";
import { Button } from "../../ui/Button";
import { clockTime, count, millis } from "../../ui/format";
import { Empty } from "../../ui/Notice";
import { Panel } from "../../ui/Panel";
import { Pill, StatusPill } from "../../ui/Pill";
import { Text } from "../../ui/Text";
import { placeText } from "../events/place";
import { clearSent, useBursts, useSent, type SentBurst, type SentEvent } from "./sent";
import css from "./Followed.module.css";

/** What was sent, and where each of it is now. */
export function Followed() {
  const events = useSent();
  const bursts = useBursts();
  const { session } = useAccess();
  const nothing = events.length === 0 && bursts.length === 0;
  return (
    <Panel title="Followed" flush tools={!nothing && <Button look="quiet" onClick={clearSent}>Clear</Button>}>
      {nothing ? (
        <Empty title="Nothing was sent yet" icon="send">
          <p>Press an action. The event goes through Kafka like any other, and here you see it arrive: sent, read, stored.{session.drills && " A failing one ends as a dead letter and stops nothing."}</p>
        </Empty>
      ) : (
        <>
          {bursts.map((burst) => (
            <BurstLine key={burst.id} burst={burst} />
          ))}
          {events.length > 0 && (
            <ol className={css.list} aria-label="Sent events">
              {events.map((event) => (
                <Line key={event.n} event={event} />
              ))}
            </ol>
          )}
        </>
      )}
    </Panel>
  );
}

const Line = memo(function Line({ event: { what, atMs, place, failed } }: { event: SentEvent }) {
  return (
    <li className={css.line}>
      <span className={css.time}>{clockTime(atMs)}</span>
      <b className={css.what}>{what}</b>
      {failed !== null ? (
        <Pill tone="bad" icon="bad" title={failed}>
          not sent
        </Pill>
      ) : place === null ? (
        <Pill tone="info" icon="send">
          sending
        </Pill>
      ) : (
        <Where place={place} />
      )}
    </li>
  );
});

function Where({ place }: { place: Sent }) {
  const { data, error } = useQuery(eventQuery(place.topic, place.partition, place.offset));
  const status = data?.status;
  const latency = data?.event?.latency_ms;
  return (
    <>
      <span className={css.status} role="status">
        {status ? (
          <StatusPill status={status} />
        ) : error ? (
          <Pill tone="warn" icon="warn" title={explain(error)}>
            cannot ask
          </Pill>
        ) : (
          <Pill tone="info" icon="send">
            in Kafka
          </Pill>
        )}
      </span>
      <Link className={css.place} href={`/events/find?event=${encodeURIComponent(placeText(place))}`}>
        {placeText(place)}
      </Link>
      <span className={css.after}>{latency != null ? `after ${millis(latency)}` : status && isFinal(status) ? "" : "…"}</span>
    </>
  );
}

function BurstLine({ burst: { id, what } }: { burst: SentBurst }) {
  const { data, error } = useQuery(burstQuery(id));
  const done = data ? data.sent + data.failed : 0;
  return (
    <div className={css.burst}>
      <p className={css.head}>
        <b>{what}</b>
        {data?.done ? (
          <Pill tone={data.failed > 0 ? "warn" : "ok"} icon={data.failed > 0 ? "warn" : "ok"}>
            done
          </Pill>
        ) : (
          <Pill tone="info" icon="burst">
            {error ? "lost" : "running"}
          </Pill>
        )}
        <span className={css.numbers}>
          {count(data?.sent ?? 0)} of {count(data?.count ?? 0)} sent{data && data.failed > 0 && `, ${count(data.failed)} failed`}
          {data?.error && (
            <>
              {": "}
              <Text value={data.error} limit={200} />
            </>
          )}
        </span>
      </p>
      <progress className={css.progress} aria-label={what} max={data?.count ?? 1} value={done} />
      {error && <p className={css.problem}>{explain(error)}</p>}
      {data && data.last.length > 0 && (
        <ol className={css.last} aria-label={`Last of ${what}`}>
          {data.last.slice(0, 6).map((one) => (
            <li key={placeText(one)} className={css.line}>
              <span className={css.time}>{one.poison ? "broken" : "good"}</span>
              <Where place={{ ...one, source: null }} />
            </li>
          ))}
        </ol>
      )}
    </div>
  );
}
