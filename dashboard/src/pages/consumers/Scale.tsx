import { useId, useState } from "react";
import { useAccess } from "../../app/access";
import { usePending } from "../../app/orders";
import { useSnapshot } from "../../live/store";
import { Button } from "../../ui/Button";
import { SCALE, scale } from "./orders";
import css from "./Scale.module.css";

/** How many consumers and writers there shall be. Nothing happens before "Scale". */
export function Scale() {
  const { operate } = useAccess();
  const consumers = useSnapshot((all) => all.consumers.length, 0);
  const writers = useSnapshot((all) => all.writers.count, 0);
  const known = useSnapshot(() => true, false);
  const pending = usePending(SCALE);
  const [wanted, setWanted] = useState<{ consumers: number; writers: number } | null>(null);
  if (!operate) return null;
  const shown = wanted ?? { consumers, writers };
  const changed = wanted !== null && (wanted.consumers !== consumers || wanted.writers !== writers);
  return (
    <form
      className={css.scale}
      aria-label="Scale"
      onSubmit={(event) => {
        event.preventDefault();
        if (changed) void scale(shown.consumers, shown.writers).then(() => setWanted(null));
      }}
    >
      <Stepper label="Consumers" value={shown.consumers} least={0} onChange={(next) => setWanted({ ...shown, consumers: next })} />
      <Stepper label="Writers" value={shown.writers} least={1} onChange={(next) => setWanted({ ...shown, writers: next })} />
      <Button type="submit" look={changed ? "main" : "plain"} disabled={!known || (!changed && !pending)} busy={pending !== undefined}>
        {pending ? "Scaling…" : "Scale"}
      </Button>
    </form>
  );
}

/** More than any machine; the server has its own limit. */
const MOST = 999;

function Stepper({ label, value, least, onChange }: { label: string; value: number; least: number; onChange: (value: number) => void }) {
  const id = useId();
  const to = (next: number) => onChange(Math.min(MOST, Math.max(least, Number.isFinite(next) ? Math.round(next) : least)));
  return (
    <span className={css.stepper}>
      <label htmlFor={id}>{label}</label>
      <button type="button" aria-label={`Fewer ${label.toLowerCase()}`} disabled={value <= least} onClick={() => to(value - 1)}>
        −
      </button>
      <input id={id} type="number" inputMode="numeric" min={least} max={MOST} value={value} onChange={({ target }) => to(target.valueAsNumber)} />
      <button type="button" aria-label={`More ${label.toLowerCase()}`} onClick={() => to(value + 1)}>
        +
      </button>
    </span>
  );
}
