import { useQuery } from "@tanstack/react-query";
import { exitsQuery } from "../../api/queries";
import type { ConsumerSnapshot, PartitionStatus } from "../../api/types";
import { behind, count, plural } from "../../ui/format";
import { Failure } from "../../ui/Notice";
import { Pill } from "../../ui/Pill";
import { Text } from "../../ui/Text";
import { Ago } from "../../ui/Time";
import css from "./Detail.module.css";

/** What a consumer owns, and how it ended before. */
export function Detail({ consumer }: { consumer: ConsumerSnapshot }) {
  const { id, generation, duplicates, dead_letters, errors, held, partitions } = consumer;
  return (
    <div className={css.detail}>
      <dl className={css.facts}>
        <Fact name="Generation" value={count(generation)} />
        <Fact name="Errors" value={count(errors)} />
        <Fact name="Dead letters" value={count(dead_letters)} />
        <Fact name="Read again, skipped" value={count(duplicates)} />
      </dl>
      {held && (
        <p className={css.held}>
          <Pill tone={held.kind === "quarantined" ? "bad" : "idle"} icon={held.kind === "quarantined" ? "quarantined" : "paused"}>
            {held.kind}
          </Pill>{" "}
          <Text value={held.reason} limit={300} /> by <Text value={held.by} limit={100} />, <Ago ms={held.since_ms} />
          {held.until_ms !== null && (
            <>
              , ends <Ago ms={held.until_ms} />
            </>
          )}
        </p>
      )}
      <div className={css.two}>
        <Partitions partitions={partitions} />
        <Exits id={id} generation={generation} />
      </div>
    </div>
  );
}

function Fact({ name, value }: { name: string; value: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  );
}

function Partitions({ partitions }: { partitions: PartitionStatus[] }) {
  if (partitions.length === 0) {
    return <p className={css.none}>It owns no partition now. Where there are fewer partitions than consumers in the group, some wait in reserve.</p>;
  }
  return (
    <div className={css.scroll} tabIndex={0} role="region" aria-label="Partitions">
      <table className={css.table}>
        <caption className="sr">Partitions</caption>
        <thead>
          <tr>
            <th scope="col">Partition</th>
            <th scope="col">Next offset</th>
            <th scope="col">End</th>
            <th scope="col">Lag</th>
            <th scope="col">Behind</th>
          </tr>
        </thead>
        <tbody>
          {partitions.map((one) => (
            <Partition key={`${one.topic}/${one.partition}`} one={one} />
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Partition({ one: { topic, partition, next_offset, end_offset, lag, lag_seconds, stopped, held } }: { one: PartitionStatus }) {
  return (
    <>
      <tr>
        <th scope="row">
          <Text value={topic} limit={80} />/{partition}{" "}
          {held && (
            <Pill tone={held.kind === "quarantined" ? "bad" : "idle"} icon={held.kind === "quarantined" ? "quarantined" : "paused"} title={held.reason}>
              {held.kind}
            </Pill>
          )}
        </th>
        <td>{count(next_offset)}</td>
        <td title="the end is asked for every few seconds">{count(end_offset === null ? null : Math.max(end_offset, next_offset))}</td>
        <td>{count(lag)}</td>
        <td>{behind(lag_seconds)}</td>
      </tr>
      {stopped && (
        <tr>
          <td colSpan={5} className={css.stopped}>
            <Pill tone="bad" icon="failed">
              {stopped.code}
            </Pill>{" "}
            <Text value={stopped.message} limit={400} />
          </td>
        </tr>
      )}
    </>
  );
}

function Exits({ id, generation }: { id: string; generation: number | null }) {
  const { data, error, refetch } = useQuery(exitsQuery(id, generation));
  if (error) return <Failure what="The last ends could not be read" error={error} onRetry={() => void refetch()} />;
  const exits = data?.exits ?? [];
  return (
    <div>
      <h3 className={css.title}>Last ends</h3>
      {data && exits.length === 0 ? (
        <p className={css.none}>It never ended.</p>
      ) : (
        <ul className={css.exits}>
          {exits.slice(0, 8).map(({ reason, message, location, at_ms, generation: ended }) => (
            <li key={`${ended}-${at_ms}`}>
              <span>
                <Pill tone={reason === "requested" || reason === "finished" ? "idle" : "warn"}>{reason}</Pill> generation {ended}, <Ago ms={at_ms} />
              </span>
              <span className={css.message}>
                <Text value={message} limit={600} />
              </span>
              {location && <code>{location}</code>}
            </li>
          ))}
        </ul>
      )}
      {exits.length > 8 && <p className={css.none}>and {plural(exits.length - 8, "older one")}</p>}
    </div>
  );
}
