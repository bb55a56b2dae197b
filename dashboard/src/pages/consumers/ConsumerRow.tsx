import { memo } from "react";
import type { ConsumerSnapshot } from "../../api/types";
import { usePending } from "../../app/orders";
import { TREND, useDrawn } from "../../live/store";
import { behind, count, plural, rate, short } from "../../ui/format";
import { Icon } from "../../ui/Icon";
import { Pill, StatePill } from "../../ui/Pill";
import { Sparkline } from "../../ui/Sparkline";
import { Text } from "../../ui/Text";
import { Since, Until } from "../../ui/Time";
import { Detail } from "./Detail";
import { OrderButtons } from "./OrderButtons";
import { isPaused } from "./orders";
import head from "./ConsumerTable.module.css";
import css from "./ConsumerRow.module.css";

interface Props {
  consumer: ConsumerSnapshot;
  index: number;
  open: boolean;
  onToggle: (id: string, shown: boolean) => void;
}

/** A consumer. Drawn again only when something of it changed. */
export const ConsumerRow = memo(function ConsumerRow({ consumer, index, open, onToggle }: Props) {
  const { id, state, since_ms, restarts, budget_left, next_start_ms, stored, dead_letters, errors, stored_per_s, lag, lag_seconds, partitions, last_exit, held } = consumer;
  const panel = `consumer-${id}`;
  return (
    <>
      <div role="row" aria-rowindex={index + 2} className={`${head.grid ?? ""} ${css.row ?? ""}`} data-consumer={id}>
        <div role="rowheader" className={css.consumer}>
          <button type="button" className={css.toggle} aria-expanded={open} aria-controls={open ? panel : undefined} onClick={() => onToggle(id, open)}>
            <Icon name="more" size={13} />
            <Text value={id} limit={60} />
          </button>
          <span className={css.under}>
            {state === "backing_off" && next_start_ms !== null ? (
              <>
                starts in <Until ms={next_start_ms} />
              </>
            ) : (
              <>
                for <Since ms={since_ms} />
              </>
            )}
          </span>
        </div>
        <div role="cell" className={css.state}>
          <State id={id} state={state} held={held} />
        </div>
        <div role="cell" className={css.rate}>
          <span className={css.spark}>
            <Trend id={id} />
          </span>
          <b>{rate(stored_per_s)}</b>
        </div>
        <Number label="stored" value={short(stored)} exact={count(stored)} />
        <Number label="errors + dead" value={`${short(errors)} + ${short(dead_letters)}`} exact={`${plural(errors, "error")}, ${plural(dead_letters, "dead letter")}`} loud={errors > 0} />
        <Number label="lag" value={short(lag)} exact={count(lag)} />
        <Number label="behind" value={behind(lag_seconds)} />
        <div role="cell" className={css.partitions}>
          <span className={css.label}>partitions</span>
          <span title={partitions.map(({ topic, partition }) => `${topic}/${partition}`).slice(0, 20).join(" ")}>{numbers(partitions)}</span>
        </div>
        <div role="cell" className={css.number} title={budget_left === null ? undefined : `${plural(budget_left, "restart")} left before it is given up`}>
          <span className={css.label}>restarts</span>
          {count(restarts)}
          {budget_left !== null && <span className={css.budget}> / {budget_left} left</span>}
        </div>
        <div role="cell" className={css.orders}>
          <OrderButtons id={id} paused={isPaused(consumer)} generation={consumer.generation} />
        </div>
        {last_exit && (restarts > 0 || state !== "running") && (
          <div role="cell" className={css.exit}>
            <Pill tone={state === "failed" ? "bad" : "idle"}>{last_exit.reason}</Pill>
            <span className={css.message}>
              <Text value={last_exit.message} limit={160} />
            </span>
            <span className={css.when}>
              <Since ms={last_exit.at_ms} /> ago
            </span>
          </div>
        )}
      </div>
      {open && (
        <div role="row" className={css.detail} id={panel}>
          <div role="cell">
            <Detail consumer={consumer} />
          </div>
        </div>
      )}
    </>
  );
});

function State({ id, state, held }: Pick<ConsumerSnapshot, "id" | "state" | "held">) {
  const pending = usePending(id);
  if (pending) {
    return (
      <Pill tone="info" icon="restart">
        {pending}…
      </Pill>
    );
  }
  if (held) {
    return (
      <Pill tone={held.kind === "quarantined" ? "bad" : "idle"} icon={held.kind === "quarantined" ? "quarantined" : "paused"} title={`${held.reason} (by ${held.by})`}>
        {held.kind}
      </Pill>
    );
  }
  return <StatePill state={state} />;
}

function Trend({ id }: { id: string }) {
  const trend = useDrawn(({ trends }) => trends[id]);
  return <Sparkline values={trend?.rate ?? []} slots={TREND} />;
}

function Number({ label, value, exact, loud = false }: { label: string; value: string; exact?: string; loud?: boolean }) {
  return (
    <div role="cell" className={css.number} title={exact} data-loud={loud || undefined}>
      <span className={css.label}>{label}</span>
      {value}
    </div>
  );
}

/** `0, 3, 5`, and how many where there are many. */
function numbers(partitions: ConsumerSnapshot["partitions"]): string {
  if (partitions.length === 0) return "none";
  if (partitions.length > 4) return `${partitions.length}`;
  const topics = new Set(partitions.map(({ topic }) => topic));
  return topics.size > 1 ? String(partitions.length) : `# ${partitions.map(({ partition }) => partition).join(", ")}`;
}
