import { useSnapshot } from "../../live/store";
import type { ChildState, ChildStatus } from "../../api/types";
import { plural } from "../../ui/format";
import { Icon } from "../../ui/Icon";
import { Since } from "../../ui/Time";
import { ConsumerTable } from "./ConsumerTable";
import { Services } from "./Services";
import css from "./Consumers.module.css";

const NONE: ChildStatus[] = [];

/** The supervision tree: who works, who fell and comes back, and what each does. */
export function Consumers() {
  return (
    <div className={css.tree}>
      <Root />
      <div className={css.branch}>
        <ConsumerTable />
      </div>
      <div className={css.branch}>
        <Services />
      </div>
    </div>
  );
}

const ORDER: readonly ChildState[] = ["failed", "backing_off", "starting", "draining", "rebalancing", "paused", "stopped", "running"];

/** The supervisor: how its children are. */
function Root() {
  const children = useSnapshot((all) => all.children, NONE);
  const started = useSnapshot(({ started_at_ms }) => started_at_ms, null);
  const restarts = useSnapshot(({ totals }) => totals.restarts, null);
  const states = ORDER.map((state) => [state, children.filter((child) => child.state === state).length] as const).filter(([, many]) => many > 0);
  return (
    <div className={css.root}>
      <Icon name="consumers" />
      <b>supervisor</b>
      <span>
        up <Since ms={started} />
      </span>
      <span>{states.map(([state, many]) => `${many} ${state.replace("_", " ")}`).join(", ") || "no children yet"}</span>
      {restarts !== null && <span>{plural(restarts, "restart")}</span>}
    </div>
  );
}
