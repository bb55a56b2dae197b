import { Link } from "wouter";
import { useLive, useSnapshot } from "../../live/store";
import { Icon } from "../../ui/Icon";
import { Text } from "../../ui/Text";
import { Ago, Since } from "../../ui/Time";
import { verdict } from "./verdict";
import css from "./Headline.module.css";

const SAID = { ok: "Everything is well", warn: "Working, with something to know", bad: "Something needs you" } as const;

/** The one line, and what is behind it when it is not good. */
export function Headline() {
  const snapshot = useSnapshot((all) => all, null);
  const started = useSnapshot(({ started_at_ms }) => started_at_ms, null);
  const phase = useLive((state) => state.phase);
  const arrived = useLive(({ arrivedMs }) => arrivedMs);
  if (!snapshot) return <div className={css.headline} aria-busy="true" />;
  const { level, line, reasons } = verdict(snapshot);
  if (phase !== "live" && phase !== "polling") {
    return (
      <section className={`${css.headline ?? ""} ${css.old ?? ""}`} aria-label="Verdict">
        <span className={css.mark}>
          <Icon name="slow" size={18} />
        </span>
        <p className={css.line} role="status">
          What follows is old: there is no connection to drover.
        </p>
        <p className={css.up}>
          last known <Ago ms={arrived} />
        </p>
      </section>
    );
  }
  return (
    <section className={`${css.headline ?? ""} ${css[level] ?? ""}`} aria-label="Verdict">
      <span className={css.mark}>
        <Icon name={level} size={18} />
      </span>
      {/* Read out when it is another verdict, not with each second in it. */}
      <span role="status" className="sr">
        {SAID[level]}
      </span>
      <p className={css.line}>{line}</p>
      <p className={css.up}>
        up <Since ms={started} />
      </p>
      {reasons.length > 0 && (
        <ul className={css.reasons}>
          {reasons.slice(0, 8).map(({ text, todo, link }) => (
            <li key={text}>
              <Text value={text} limit={400} /> {todo && <span className={css.todo}>{todo}</span>} {link && <Link href={link}>Show</Link>}
            </li>
          ))}
          {reasons.length > 8 && <li>and {reasons.length - 8} more</li>}
        </ul>
      )}
    </section>
  );
}
