import { useSnapshot } from "../../live/store";
import type { Stage } from "../../api/types";
import { Icon } from "../../ui/Icon";
import { Panel } from "../../ui/Panel";
import { Pill, type Tone } from "../../ui/Pill";
import css from "./Pipeline.module.css";

const STAGES = [
  ["fetch", "Fetch", "from Kafka"],
  ["decode", "Decode", "and check"],
  ["write", "Write", "rows and position"],
  ["commit", "Commit", "one transaction"],
] as const;

const MEANING: Record<Stage, [Tone, string, string]> = {
  idle: ["ok", "nothing limits", "Every event is stored as soon as it comes."],
  fetch: ["info", "Kafka limits", "The stages behind it wait for records: brokers or network give no more, or there is no more."],
  decode: ["info", "decoding limits", "Records come faster than they are decoded: more consumers on more cores would help."],
  write: ["warn", "writing limits", "The writers are all busy: more writers, or a faster database, would help."],
  commit: ["warn", "committing limits", "Transactions wait for the database's disk: larger batches or a faster disk would help."],
  held: ["idle", "held by order", "Partitions are paused by an operator or by the storm guard."],
  store_away: ["bad", "the store is away", "Nothing can be written. Consumers wait and lose nothing."],
};

/** The stages that an event goes through, and the one that limits the rest. */
export function Pipeline() {
  const limiting = useSnapshot<Stage>(({ limiting_stage }) => limiting_stage, "idle");
  const [tone, word, what] = MEANING[limiting];
  return (
    <Panel title="Limiting stage" tools={<Pill tone={tone}>{word}</Pill>}>
      <div className={css.pipeline}>
        <ol className={css.stages}>
          {STAGES.map(([stage, name, does], at) => (
            <li key={stage} className={css.stage} data-limits={stage === limiting} aria-current={stage === limiting ? "step" : undefined}>
              {at > 0 && (
                <span className={css.arrow}>
                  <Icon name="flat" size={14} />
                </span>
              )}
              <span className={css.name}>{name}</span>
              <span className={css.does}>{does}</span>
            </li>
          ))}
        </ol>
        <p className={css.what}>{what}</p>
      </div>
    </Panel>
  );
}
