import { memo } from "react";
import { Link } from "wouter";
import type { ConsumerSnapshot } from "../../api/types";
import { TREND, useDrawn } from "../../live/store";
import { plural, rate, short } from "../../ui/format";
import { Empty } from "../../ui/Notice";
import { Panel } from "../../ui/Panel";
import { StatePill } from "../../ui/Pill";
import { Sparkline } from "../../ui/Sparkline";
import css from "./Herd.module.css";

const NONE: ConsumerSnapshot[] = [];
/** More are on their own page. */
const MOST = 24;

/** Each consumer on a tile. */
export function Herd() {
  const consumers = useDrawn(({ snapshot }) => snapshot?.consumers ?? NONE);
  const known = useDrawn(({ snapshot }) => snapshot !== null);
  const more = consumers.length - MOST;
  return (
    <Panel title="Consumers" tools={<Link href="/consumers">All {plural(consumers.length, "consumer")}</Link>}>
      {known && consumers.length === 0 ? (
        <Empty title="No consumers here" icon="consumers">
          <p>This process was started without consumers. Scale it up on the Consumers page.</p>
        </Empty>
      ) : (
        <ul className={css.herd}>
          {consumers.slice(0, MOST).map((consumer) => (
            <Tile key={consumer.id} consumer={consumer} />
          ))}
        </ul>
      )}
      {more > 0 && (
        <p className={css.more}>
          <Link href="/consumers">and {more} more</Link>
        </p>
      )}
    </Panel>
  );
}

const Tile = memo(function Tile({ consumer: { id, state, stored_per_s, lag } }: { consumer: ConsumerSnapshot }) {
  const trend = useDrawn(({ trends }) => trends[id]);
  return (
    <li>
      <Link href={`/consumers?open=${encodeURIComponent(id)}`} className={css.tile}>
        <span className={css.id}>{id}</span>
        <StatePill state={state} />
        <span className={css.spark}>
          <Sparkline values={trend?.rate ?? []} slots={TREND} />
        </span>
        <span className={css.number}>
          <b>{rate(stored_per_s)}</b> / s
        </span>
        <span className={css.number}>
          lag <b>{short(lag)}</b>
        </span>
      </Link>
    </li>
  );
});
