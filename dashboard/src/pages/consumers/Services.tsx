import { memo } from "react";
import type { ChildKind, ChildStatus } from "../../api/types";
import { useAccess } from "../../app/access";
import { usePending } from "../../app/orders";
import { useSnapshot } from "../../live/store";
import { Button } from "../../ui/Button";
import { count } from "../../ui/format";
import { Panel } from "../../ui/Panel";
import { Pill, StatePill } from "../../ui/Pill";
import { Text } from "../../ui/Text";
import { Since, Until } from "../../ui/Time";
import { restart } from "./orders";
import css from "./Services.module.css";

const NONE: ChildStatus[] = [];

const DOES: Record<ChildKind, string> = {
  consumer: "reads and decodes",
  db_writer: "writes batches to the store",
  dead_letter: "publishes dead letters",
  metrics: "samples lag and queues",
  audit: "audits the store",
  replica: "keeps the heartbeat of this process",
};

/** The supervised children that are not consumers. */
export function Services() {
  const children = useSnapshot((all) => all.children, NONE);
  const { operate } = useAccess();
  return (
    <Panel title="Writers and services" flush>
      <div role="table" aria-label="Writers and services" className={css.table}>
        <div role="rowgroup">
          <div role="row" className={`${css.grid ?? ""} ${css.head ?? ""}`}>
            <span role="columnheader">Name</span>
            <span role="columnheader">State</span>
            <span role="columnheader">For</span>
            <span role="columnheader">Restarts</span>
            <span role="columnheader">Last end</span>
            <span role="columnheader">
              <span className="sr">Orders</span>
            </span>
          </div>
        </div>
        <div role="rowgroup">
          {children
            .filter(({ kind }) => kind !== "consumer")
            .map((child) => (
              <Child key={child.id} child={child} operate={operate} />
            ))}
        </div>
      </div>
    </Panel>
  );
}

const Child = memo(function Child({ child, operate }: { child: ChildStatus; operate: boolean }) {
  const { id, kind, state, since_ms, restarts, budget_left, next_start_ms, generation, last_exit } = child;
  const pending = usePending(id);
  return (
    <div role="row" className={css.grid} data-child={id}>
      <span role="rowheader" className={css.name}>
        {id} <span className={css.does}>{DOES[kind]}</span>
      </span>
      <span role="cell">
        {pending ? (
          <Pill tone="info" icon="restart">
            {pending}…
          </Pill>
        ) : (
          <StatePill state={state} />
        )}
      </span>
      <span role="cell" className={css.quiet}>
        {state === "backing_off" && next_start_ms !== null ? (
          <>
            starts in <Until ms={next_start_ms} />
          </>
        ) : (
          <Since ms={since_ms} />
        )}
      </span>
      <span role="cell">
        {count(restarts)} <span className={css.quiet}>/ {budget_left} left</span>
      </span>
      <span role="cell" className={css.exit}>
        {last_exit ? (
          <>
            <Pill tone={last_exit.reason === "requested" || last_exit.reason === "finished" ? "idle" : "warn"}>{last_exit.reason}</Pill>{" "}
            <span className={css.message}>
              <Text value={last_exit.message} limit={160} />
            </span>
          </>
        ) : (
          <span className={css.never}>never</span>
        )}
      </span>
      <span role="cell" className={css.orders}>
        {operate && <Button look="quiet" icon="restart" busy={pending !== undefined} aria-label={`Restart ${id}`} onClick={() => void restart(id, generation)} />}
      </span>
    </div>
  );
});
